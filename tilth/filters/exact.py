"""Exact deduplication: of the documents that have one key (a text's digest), the best stays, by a declared total order.

Every document carries the xxh3-128 digest of its text, so no text is read to group by it. Who stays follows from the
order of survivors alone, never from arrival, thread or shard: domain text that is listed first never loses to a web
copy. Other keys (the words, the address) are subclasses that say what is the same.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from tilth.corpus.document import ID, halves
from tilth.corpus.stage import Effect, GroupStage, Outcome, drop_rows
from tilth.filters.dedup.survivor import ANY, Preference


@dataclass(frozen=True)
class ExactDuplicates(GroupStage):
    """Drop every document whose text another one has that comes before it in the order of ``preference``."""

    preference: Preference = ANY

    version: ClassVar[int] = 2
    effect: ClassVar[Effect] = Effect.DROPS
    columns: ClassVar[tuple[str, ...]] = ("date",)
    rule: ClassVar[str] = "exact_duplicate"

    @property
    def needs(self) -> tuple[str, ...]:
        """The quality that survivors are chosen by."""
        return self.preference.needs

    def same(self, batch: pa.RecordBatch) -> pa.Array:
        """Return 16 bytes a document, equal where documents are the same; null for one that is like no other."""
        return batch.column("digest")

    def keys(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Key every document by what must be equal, with its place in the order."""
        arrays = [self.same(batch), batch.column("id"), self.preference.order(batch)]
        rows = pa.RecordBatch.from_arrays(arrays, names=["key", "id", "order"])
        return rows.filter(pc.is_valid(rows.column("key"))) if rows.column("key").null_count else rows

    def reduce(self, rows: pa.Table) -> pa.Table:
        """Return a row for every document but the best of its group, with the best one's id as ``other``."""
        keys = halves(rows.column("key").combine_chunks()) if rows.num_rows else np.zeros((0, 2), np.uint64)
        new = np.ones(len(keys), bool)
        new[1:] = (keys[1:] != keys[:-1]).any(axis=1)
        several = ~(new & np.append(new[1:], True)) if len(keys) else new
        order = [(name, "ascending") for name in ("key", "order", "id")]
        rows = rows.filter(pa.array(several)).sort_by(order).combine_chunks()
        # rows of one key stand together before and after the sort
        first = new[several]
        survivor = np.flatnonzero(first)[np.cumsum(first) - 1]
        rows = rows.append_column("other", rows.column("id").take(pa.array(survivor, pa.int64())))
        return rows.filter(pa.array(~first)).select(["id", "home", "other"])

    def apply(self, batch: pa.RecordBatch, rows: pa.Table) -> Outcome:
        """Drop the documents that ``rows`` speak about, naming who stayed."""
        place = pc.index_in(batch.column("id"), value_set=rows.column("id").combine_chunks().cast(ID))
        mask = pc.is_valid(place).to_numpy(zero_copy_only=False)
        other = rows.column("other").combine_chunks().take(place.drop_null())
        drops = drop_rows(batch, mask, self.name, self.rule, other=other)
        return Outcome(kept=batch.filter(pa.array(~mask)), drops=drops)


@dataclass(frozen=True)
class SameAddress(ExactDuplicates):
    """Drop every document whose ``url``, to the byte, another one has. Documents without one stay."""

    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]] = ("date", "url")
    rule: ClassVar[str] = "same_url"

    def same(self, batch: pa.RecordBatch) -> pa.Array:
        """Return the xxh3-128 of every address."""
        found = [None if not url else xxhash.xxh3_128_digest(url.encode()) for url in batch.column("url").to_pylist()]
        return pa.array(found, ID)
