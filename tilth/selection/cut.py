"""Where to cut a corpus so that the best documents fill a share of its bytes.

PreSelect's code estimates its threshold from the first shards and keeps whatever lies above it, so ties and the order
of the shards decide how much is kept. Here a cut is a place in a total order, score first and id second: it keeps the
same documents whichever way they were read, and never more than was asked for.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from tilth.corpus.errors import UserError


@dataclass(frozen=True)
class Cut:
    """The last document that is kept; with it go all that stand before it, by score descending, then id ascending."""

    score: float
    id: str  # 32 hex digits
    documents: int  # kept
    bytes: int  # kept


def choose_cut(scores: np.ndarray, ids: np.ndarray, sizes: np.ndarray, fraction: float) -> Cut:
    """Return the cut that keeps the longest run of best documents that fits ``fraction`` of all bytes.

    The fraction is taken as it is written: 0.3 of 10 bytes is 3. Arguments, memory and errors are those of ``cut_at``;
    raises ``UserError`` also for a fraction outside (0, 1].
    """
    if not 0 < fraction <= 1:
        raise UserError(f"selection: fraction: found {fraction}, expected more than 0 and at most 1; correct it")
    check(scores, ids, sizes)
    return cut_at(scores, ids, sizes, int(Fraction(str(float(fraction))) * int(sizes.sum(dtype=np.int64))))


def check(scores: np.ndarray, ids: np.ndarray, sizes: np.ndarray) -> None:
    """Raise ``UserError`` for what no cut can be chosen from."""
    if not len(scores) == len(ids) == len(sizes):
        raise ValueError(f"{len(scores)} scores, {len(ids)} ids and {len(sizes)} sizes: one of each a document")
    if len(scores) == 0:
        raise UserError("selection: found no documents, expected at least one; see what the stages before dropped")
    strange = len(scores) - int(np.isfinite(scores).sum())
    if strange:
        raise UserError(f"selection: {strange} of {len(scores)} scores are not finite; check the model that scored")
    if sizes.min() < 0:
        raise UserError(
            f"selection: found a document of {sizes.min()} bytes, expected 0 or more; read the corpus again"
        )


def cut_at(scores: np.ndarray, ids: np.ndarray, sizes: np.ndarray, budget: int) -> Cut:
    """Return the cut that keeps the longest run of best documents that fits ``budget`` bytes.

    ``scores`` (float), ``ids`` (16 bytes each: S16, V16 or uint8 with 16 columns) and ``sizes`` (bytes, int64) hold one
    value a document. The best document is kept even where it alone is too large. Uses 40 bytes a document beyond its
    input, and sorts ids only among documents that share the score at the cut.

    Raises ``UserError`` for scores that are not finite, sizes below zero, no documents, or two documents of one id at
    the cut.
    """
    check(scores, ids, sizes)
    descending = -np.asarray(scores, np.float64)
    order = np.argsort(descending)
    descending = descending[order]
    filled = np.cumsum(sizes[order], dtype=np.int64)

    def equals_of(place: int) -> tuple[int, np.ndarray, np.ndarray]:
        """Return where the documents with the score of ``place`` begin, and these, with their ids, by id."""
        first, last = (int(np.searchsorted(descending, descending[place], side=side)) for side in ("left", "right"))
        names = id_numbers(ids[order[first:last]])
        by_id = np.lexsort((names[:, 1], names[:, 0]))
        return first, order[first:last][by_id], names[by_id]

    # The first document that does not fit has, in any order of its equals, the first score that does not fit wholly.
    first, tied, names = equals_of(min(int(np.searchsorted(filled, budget, side="right")), len(order) - 1))
    room = budget - (int(filled[first - 1]) if first else 0)
    kept = int(np.searchsorted(np.cumsum(sizes[tied], dtype=np.int64), room, side="right"))
    if kept == 0 and first:
        first, tied, names = equals_of(first - 1)
        kept = len(tied)
    kept = max(kept, 1)
    if kept < len(tied) and (names[kept] == names[kept - 1]).all():
        raise UserError(f"selection: two documents have the id {hex_id(names[kept])}, expected one; find the source")
    total = (int(filled[first - 1]) if first else 0) + int(sizes[tied[:kept]].sum(dtype=np.int64))
    return Cut(float(scores[tied[kept - 1]]), hex_id(names[kept - 1]), first + kept, total)


def at_or_above(scores: np.ndarray, ids: np.ndarray, score: float, cut_id: str) -> np.ndarray:
    """Say which documents (bool, one each) a cut keeps: a higher score, or the same and an id not above ``cut_id``."""
    scores = np.asarray(scores, np.float64)
    names = id_numbers(ids)
    high, low = id_numbers(np.frombuffer(bytes.fromhex(cut_id), "V16"))[0]
    not_after = (names[:, 0] < high) | ((names[:, 0] == high) & (names[:, 1] <= low))
    return np.asarray((scores > score) | ((scores == score) & not_after))


def id_numbers(ids: np.ndarray) -> np.ndarray:
    """Return ids as pairs of numbers that order like their bytes: uint64, documents x 2.

    numpy's own S16 drops trailing zero bytes when it compares, and V16 has no order at all.
    """
    if ids.dtype.itemsize * (ids.shape[1] if ids.ndim == 2 else 1) != 16:
        raise ValueError(f"ids are {ids.dtype} of shape {ids.shape}, expected 16 bytes each")
    return np.ascontiguousarray(ids).view(np.uint8).reshape(-1, 16).view(">u8").astype(np.uint64)


def hex_id(name: np.ndarray) -> str:
    """Return a pair of numbers as the 32 hex digits of its id."""
    return f"{int(name[0]):016x}{int(name[1]):016x}"
