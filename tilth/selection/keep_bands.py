"""Keeping a band of every group by a score: the highest, the middle or the lowest of each source, year or bin.

``KeepBest`` knows one cut through the whole pool. Here every group has a cut at its upper end, at its lower end or at
both; a group without a band loses everything. It reads stored signals and no text.
"""

import re
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tilth.corpus.errors import UserError
from tilth.corpus.stage import Effect, MapStage, Outcome, drop_rows
from tilth.selection.cut import at_or_above
from tilth.selection.keep_best import id_bytes

UNDATED = "undated"
Place = tuple[float, str]  # a score and an id of 32 hex digits, as a ``Cut`` has them


@dataclass(frozen=True)
class Grouping:
    """How documents fall into groups: ``all`` in one, by ``source``, by ``year``, or by a signal cut at ``edges``."""

    by: str = "all"
    edges: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Raise ``UserError`` where a signal has no edges, or edges that do not rise."""
        if self.signal and (not self.edges or list(self.edges) != sorted(set(self.edges))):
            raise UserError(f"selection: edges of '{self.by}': found {list(self.edges)}, expected rising numbers")

    @property
    def signal(self) -> str | None:
        """The signal that is cut, or None."""
        return None if self.by in ("all", "source", "year") else self.by

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of documents that it reads beyond those that are always there."""
        return ("date",) if self.by == "year" else ()

    def groups(self, batch: pa.RecordBatch) -> np.ndarray:
        """Return the name of every document's group: an array of strings."""
        if self.by == "source":
            return np.asarray(batch.column("source").to_numpy(zero_copy_only=False), str)
        if self.by == "year":
            years = pc.utf8_slice_codeunits(batch.column("date"), 0, 4)
            known = pc.fill_null(pc.match_substring_regex(years, "^[0-9]{4}$"), False)
            return np.asarray(pc.if_else(known, years, UNDATED).to_numpy(zero_copy_only=False), str)
        if self.signal:
            values = batch.column(self.signal).to_numpy(zero_copy_only=False)
            names = np.array([f"below {self.edges[0]:g}", *(f"from {edge:g}" for edge in self.edges)])
            return np.asarray(names[np.searchsorted(self.edges, values, side="right")])
        return np.full(batch.num_rows, "all")


@dataclass(frozen=True)
class Band:
    """What a group keeps: documents after ``above`` and up to ``until`` in the order; None: from or to the very end."""

    group: str
    above: Place | None
    until: Place | None


@dataclass(frozen=True)
class KeepBands(MapStage):
    """Drop what lies outside its group's band by ``signal``; with ``inverse`` what lies inside.

    Documents are ordered by score descending, with ``lowest`` ascending, then by id ascending. A drop's value is the
    score. Its limit and rule name the end of the band that it missed: ``below_cut`` or ``above_cut``, ``no_quota``
    where its group keeps nothing, ``within_band`` in an inverse selection.
    """

    signal: str
    grouping: Grouping
    bands: tuple[Band, ...]
    order: Literal["highest", "lowest"] = "highest"
    inverse: bool = False

    effect: ClassVar[Effect] = Effect.DROPS

    def __post_init__(self) -> None:
        """Raise ``UserError`` for an id that is none."""
        for band in self.bands:
            for place in (band.above, band.until):
                if place is not None and not re.fullmatch("[0-9a-fA-F]{32}", place[1]):
                    raise UserError(
                        f"{self.name}: id: found {place[1]!r}, expected 32 hex digits; copy it from the cut"
                    )

    @property
    def columns(self) -> tuple[str, ...]:  # type: ignore[override]
        """What the groups are made of."""
        return self.grouping.columns

    @property
    def needs(self) -> tuple[str, ...]:
        """The signal that the bands were chosen by, and the one that makes the groups."""
        return tuple(dict.fromkeys((self.signal, *((self.grouping.signal,) if self.grouping.signal else ()))))

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """Keep each group's band. Raises ``UserError`` where the signal is missing or not a number for a document."""
        scores = pc.cast(batch.column(self.signal), pa.float64()).to_numpy(zero_copy_only=False)
        strange = np.flatnonzero(np.isnan(scores))
        if len(strange):
            name = batch.column("id")[int(strange[0])].as_py().hex()
            raise UserError(
                f"{self.name}: signal {self.signal} of document {name} is missing, expected a number; run the stage "
                "that measures it again"
            )
        sign = -1.0 if self.order == "lowest" else 1.0
        ids, groups = id_bytes(batch.column("id")), self.grouping.groups(batch)
        rules = np.full(len(scores), "no_quota", object)
        limits = np.full(len(scores), np.nan)
        for band in self.bands:
            mine = np.flatnonzero(groups == band.group)
            rules[mine] = ""
            for place, missed, rule in ((band.above, True, "above_cut"), (band.until, False, "below_cut")):
                if place is not None:
                    reached = at_or_above(sign * scores[mine], ids[mine], sign * place[0], place[1])
                    out = mine[reached == missed]
                    rules[out] = rule
                    limits[out] = place[0]
        gone = rules != ""
        if self.inverse:
            gone = ~gone
            rules[gone] = "within_band"
        drops = drop_rows(
            batch,
            gone,
            self.name,
            pa.array(rules[gone], pa.string()),
            value=pa.array(scores[gone]),
            limit=pa.array(limits[gone], from_pandas=True),
        )
        return Outcome(batch.filter(pa.array(~gone)), drops)
