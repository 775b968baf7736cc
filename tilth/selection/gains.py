"""What every source gains and loses by a selection: documents, bytes, and its share of the corpus before and after."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tilth.selection.bands import Part, Pool, Selection
from tilth.selection.cut import at_or_above
from tilth.selection.keep_bands import Band


@dataclass(frozen=True)
class Gain:
    """A source before and after. Shares are of the bytes of all sources, 0 to 1."""

    source: str
    documents: int
    bytes: int
    kept_documents: int
    kept_bytes: int
    share: float
    kept_share: float


def gains(pool: Pool, selection: Selection, part: Part, *, inverse: bool = False) -> list[Gain]:
    """Return what becomes of every source of a pool, sorted by name."""
    return gains_of(pool.sources, pool.sizes, kept_by(pool, selection.bands, part) != inverse)


def gains_of(sources: np.ndarray, sizes: np.ndarray, kept: np.ndarray) -> list[Gain]:
    """Return what becomes of every source where ``kept`` (bool, one a document) stays."""
    names, places = np.unique(sources, return_inverse=True)
    count, size = np.bincount(places), np.bincount(places, sizes)
    kept_count, kept_size = np.bincount(places, kept), np.bincount(places, sizes * kept)
    total, kept_total = max(size.sum(), 1), max(kept_size.sum(), 1)
    return [
        Gain(
            source=str(name),
            documents=int(count[row]),
            bytes=int(size[row]),
            kept_documents=int(kept_count[row]),
            kept_bytes=int(kept_size[row]),
            share=float(size[row] / total),
            kept_share=float(kept_size[row] / kept_total),
        )
        for row, name in enumerate(names)
    ]


def kept_by(pool: Pool, bands: Sequence[Band], part: Part) -> np.ndarray:
    """Say which documents of a pool (bool) lie in their group's band."""
    sign = -1.0 if part == "lowest" else 1.0
    kept = np.zeros(len(pool.ids), bool)
    for band in bands:
        mine = np.flatnonzero(pool.groups == band.group)
        scores, ids = sign * pool.scores[mine], pool.ids[mine]
        inside = np.ones(len(mine), bool)
        if band.until is not None:
            inside &= at_or_above(scores, ids, sign * band.until[0], band.until[1])
        if band.above is not None:
            inside &= ~at_or_above(scores, ids, sign * band.above[0], band.above[1])
        kept[mine] = inside
    return kept


def gains_text(rows: Sequence[Gain]) -> str:
    """Return a table for a terminal."""
    lines = [
        f"{'source':<20} {'documents':>11} {'kept':>9} {'MB':>9} {'kept':>9} {'share':>8} {'then':>8} {'change':>8}"
    ]
    total = Gain(
        "all",
        sum(row.documents for row in rows),
        sum(row.bytes for row in rows),
        sum(row.kept_documents for row in rows),
        sum(row.kept_bytes for row in rows),
        1.0,
        1.0,
    )
    for row in [*rows, total]:
        lines.append(
            f"{row.source:<20} {row.documents:>11,} {row.kept_documents:>9,} {row.bytes / 1e6:>9,.2f} "
            f"{row.kept_bytes / 1e6:>9,.2f} {row.share:>8.1%} {row.kept_share:>8.1%} "
            f"{row.kept_share - row.share:>+8.1%}"
        )
    return "\n".join(lines)
