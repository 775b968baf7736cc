"""A document's rank by a score, as a signal: with it the ledger says how near a document was to being kept.

The order is that of the cuts: score descending, then id ascending; the best is 1. The whole order is written once, 24
bytes a document, and read by every worker through a memory map.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa

from tilth.corpus.errors import UserError
from tilth.corpus.stage import Asset, Effect, MapStage, Outcome
from tilth.selection.cut import id_numbers
from tilth.selection.keep_best import id_bytes

PLACE = np.dtype([("score", "<f8"), ("id", "V16")])


@dataclass(frozen=True)
class Rank(MapStage):
    """Measure ``name``, the rank (float64, from 1) by ``signal`` among all documents of ``ranking``."""

    signal: str
    ranking: Asset

    effect: ClassVar[Effect] = Effect.MEASURES
    columns: ClassVar[tuple[str, ...]] = ()

    @property
    def needs(self) -> tuple[str, ...]:
        """The signal."""
        return (self.signal,)

    @property
    def measures(self) -> tuple[str, ...]:
        """The rank is named like the stage."""
        return (self.name,)

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """Look every document up. Raises ``UserError`` where the ranking does not hold one of them."""
        scores = batch.column(self.signal).to_numpy(zero_copy_only=False).astype(np.float64)
        found = ranks_of(opened(self.ranking.path), scores, id_bytes(batch.column("id")))
        if (found < 0).any():
            raise UserError(f"{self.ranking.path}: a document of {self.name} is not in it; run the same command again")
        return Outcome(batch, signals={self.name: pa.array(found + 1.0)})


def write_ranking(path: Path, scores: np.ndarray, ids: np.ndarray) -> None:
    """Write all documents in their order: ``scores`` float64, ``ids`` V16."""
    names = id_numbers(ids)
    order = np.lexsort((names[:, 1], names[:, 0], -scores))
    ranking = np.empty(len(order), PLACE)
    ranking["score"], ranking["id"] = scores[order], ids[order]
    np.save(path, ranking, allow_pickle=False)


def ranks_of(ranking: np.ndarray, scores: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Return the place of every document in a ranking: int64 from 0, -1 where it is not there."""
    order = -ranking["score"]
    low = np.searchsorted(order, -scores, "left")
    high = np.searchsorted(order, -scores, "right")
    end = high.copy()
    wanted = id_numbers(ids)
    while (open_ := low < high).any():  # a binary search among equals, for all documents at a time
        middle = (low + high) // 2
        found = id_numbers(np.ascontiguousarray(ranking["id"][np.minimum(middle, len(ranking) - 1)]))
        before = (found[:, 0] < wanted[:, 0]) | ((found[:, 0] == wanted[:, 0]) & (found[:, 1] < wanted[:, 1]))
        low = np.where(open_ & before, middle + 1, low)
        high = np.where(open_ & ~before, middle, high)
    there = low < end
    there[there] = (id_numbers(np.ascontiguousarray(ranking["id"][low[there]])) == wanted[there]).all(axis=1)
    return np.asarray(np.where(there, low, -1))


@lru_cache(maxsize=4)
def opened(path: str) -> np.ndarray:
    """Return a ranking through a memory map."""
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: not a ranking ({error}); run the same command again") from error
    if found.dtype != PLACE:
        raise UserError(f"{path}: not a ranking ({found.dtype}); run the same command again")
    return np.asarray(found)
