"""Drops what the clusters say: every removal with its similarity, the threshold, and the document that stays.

The list is one file for all parts, sorted by id and mapped, so that workers share its pages and a look-up is a search.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import pyarrow as pa

from tilth.corpus.stage import Asset, Effect, MapStage, Outcome, drop_rows
from tilth.filters.dedup.clusters import as_bytes, place_in, read_table

RULE: Final = "near_duplicate"


@dataclass(frozen=True)
class RemoveDuplicates(MapStage):
    """Drop the documents of ``removals``, which ``find_clusters`` wrote; the value is the similarity, if measured."""

    removals: Asset
    threshold: float
    rule: str = RULE

    version: ClassVar[int] = 1
    effect: ClassVar[Effect] = Effect.DROPS
    columns: ClassVar[tuple[str, ...]] = ()

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """Look every document up."""
        removals = _removals(self.removals.path, self.removals.digest)
        place = place_in(as_bytes(removals.column("id")), as_bytes(batch.column("id")))
        mask = place >= 0
        rows = removals.take(pa.array(place[mask]))
        drops = drop_rows(
            batch,
            mask,
            self.name,
            self.rule,
            value=rows.column("similarity").combine_chunks(),
            limit=pa.array(np.full(int(mask.sum()), self.threshold)),
            other=rows.column("survivor").combine_chunks(),
        )
        return Outcome(batch.filter(pa.array(~mask)), drops)


@lru_cache(maxsize=4)
def _removals(path: str, digest: str) -> pa.Table:
    """Map the list once a process and content."""
    return read_table(Path(path))
