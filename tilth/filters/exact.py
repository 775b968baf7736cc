"""Exact deduplication: of the documents with one text, the best stays, by a declared total order.

Groups are formed by the text's xxh3-128 digest, which every document carries, so no text is read. Survivors are chosen
by the priority of their source, then by the smallest id: never by arrival, thread or shard. Domain text that is listed
first never loses to a web copy.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tilth.corpus.document import ID, halves
from tilth.corpus.stage import Effect, GroupStage, Outcome, drop_rows


@dataclass(frozen=True)
class ExactDuplicates(GroupStage):
    """Drop every document whose text another one has. ``priority`` names sources, best first; others come after."""

    priority: tuple[str, ...] = ()

    version: ClassVar[int] = 1
    effect: ClassVar[Effect] = Effect.DROPS
    columns: ClassVar[tuple[str, ...]] = ()

    def keys(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Key every document by the digest of its text, with the rank of its source (int32, lower is better)."""
        rank = pc.index_in(batch.column("source"), value_set=pa.array(self.priority, pa.string()))
        rank = pc.fill_null(rank, len(self.priority)).cast(pa.int32())
        arrays = [batch.column("digest"), batch.column("id"), rank]
        return pa.RecordBatch.from_arrays(arrays, names=["key", "id", "rank"])

    def reduce(self, rows: pa.Table) -> pa.Table:
        """Return a row for every document but the best of its group, with the best one's id as ``other``."""
        rows = rows.sort_by([("key", "ascending"), ("rank", "ascending"), ("id", "ascending")]).combine_chunks()
        keys = halves(rows.column("key").combine_chunks())
        first = np.ones(rows.num_rows, bool)
        first[1:] = (keys[1:] != keys[:-1]).any(axis=1)
        survivor = np.flatnonzero(first)[np.cumsum(first) - 1]
        rows = rows.append_column("other", rows.column("id").take(pa.array(survivor)))
        return rows.filter(pa.array(~first)).select(["id", "home", "other"])

    def apply(self, batch: pa.RecordBatch, rows: pa.Table) -> Outcome:
        """Drop the documents that ``rows`` speak about, naming who stayed."""
        ids = rows.column("id").combine_chunks().cast(ID)
        place = pc.index_in(batch.column("id"), value_set=ids)
        mask = pc.is_valid(place).to_numpy(zero_copy_only=False)
        other = rows.column("other").combine_chunks().take(place.drop_null())
        return Outcome(
            kept=batch.filter(pa.array(~mask)),
            drops=drop_rows(batch, mask, self.name, "exact_duplicate", other=other),
        )
