"""From scores, sizes and groups to the band that each group keeps: one deterministic pass over the whole pool."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np

from tilth.corpus.chain import Stored
from tilth.corpus.errors import UserError
from tilth.selection.cut import Cut, cut_at
from tilth.selection.keep_bands import Band, Grouping, Place
from tilth.selection.keep_best import id_bytes
from tilth.selection.mixture import Share, plan_mixture

Part = Literal["highest", "middle", "lowest"]


@dataclass(frozen=True)
class Pool:
    """The documents that enter a selection: one value each. ``ids`` V16, ``scores`` float64, ``sizes`` int64 bytes."""

    ids: np.ndarray
    scores: np.ndarray
    sizes: np.ndarray
    sources: np.ndarray
    groups: np.ndarray

    @property
    def bytes(self) -> int:
        """Bytes of all documents."""
        return int(self.sizes.sum(dtype=np.int64))


@dataclass(frozen=True)
class Selection:
    """What each group keeps, and from how much."""

    bands: tuple[Band, ...]
    plan: Mapping[str, Share]


def read_pool(stored: Stored, signal: str, grouping: Grouping) -> Pool:
    """Return the documents that leave ``stored`` with a signal that was measured before. Reads no text."""
    needs = [signal, *((grouping.signal,) if grouping.signal and grouping.signal != signal else ())]
    ids, scores, sizes, sources, groups = [], [], [], [], []
    for part in range(stored.parts):
        for batch in stored.lineage.read(part, grouping.columns, needs):
            ids.append(id_bytes(batch.column("id")))
            scores.append(batch.column(signal).to_numpy(zero_copy_only=False).astype(np.float64))
            sizes.append(batch.column("bytes").to_numpy())
            sources.append(np.asarray(batch.column("source").to_numpy(zero_copy_only=False), str))
            groups.append(grouping.groups(batch))
    if not sum(map(len, ids)):
        raise UserError("selection: found no documents, expected at least one; see what the stages before dropped")
    return Pool(*(np.concatenate(column) for column in (ids, scores, sizes, sources, groups)))


def byte_budget(available: int, keep: float | None, budget: int | None) -> int:
    """Return the bytes to keep of ``available``: the share ``keep`` as it is written, or ``budget``."""
    if keep is None and budget is None:
        raise UserError("selection: expected a share to keep or a budget, found neither")
    return int(Fraction(str(float(keep))) * available) if keep is not None else int(budget or 0)


def choose_bands(
    pool: Pool, budget: int, part: Part, quotas: Mapping[str, float] | None = None, most_epochs: float = 1.0
) -> Selection:
    """Return each group's band for ``budget`` bytes in all. Without ``quotas`` groups share it by their size.

    Raises ``UserError`` as ``plan_mixture`` and ``cut_at`` do.
    """
    names, places = np.unique(pool.groups, return_inverse=True)
    sums = np.bincount(places, pool.sizes).astype(np.int64)
    plan = plan_mixture(dict(zip(names.tolist(), sums.tolist(), strict=True)), budget, quotas or {}, most_epochs)
    bands = []
    for number, name in enumerate(names.tolist()):
        mine = places == number
        share = plan[name]
        if share.bytes:
            bands.append(band_of(name, pool.scores[mine], pool.ids[mine], pool.sizes[mine], share, part))
    if not bands:
        raise UserError(f"selection: a budget of {budget} bytes keeps nothing of any group; raise it")
    return Selection(tuple(bands), plan)


def band_of(group: str, scores: np.ndarray, ids: np.ndarray, sizes: np.ndarray, share: Share, part: Part) -> Band:
    """Return the band that keeps ``share.bytes`` of a group: its best, its middle or, in reverse order, its worst."""

    def place(cut: Cut) -> Place:
        return (cut.score, cut.id)

    if part == "lowest":
        score, name = place(cut_at(-scores, ids, sizes, share.bytes))
        return Band(group, None, (-score, name))
    if part == "highest" or share.bytes >= share.available:
        return Band(group, None, place(cut_at(scores, ids, sizes, share.bytes)))
    skipped = (share.available - share.bytes) // 2
    first = cut_at(scores, ids, sizes, skipped)
    above = place(first) if first.bytes <= skipped else None  # one document may be larger than all that is skipped
    return Band(group, above, place(cut_at(scores, ids, sizes, skipped + share.bytes)))
