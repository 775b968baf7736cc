"""The corpus as of a day, and without a source: the two cuts that data-age and leave-one-out studies make.

A date may be a year, a month, a day or a time of day (ISO 8601). What is known only to be of a year counts as its last
day, so that a corpus as of a day never holds what may have been written after it.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tilth.corpus.errors import UserError
from tilth.corpus.stage import Effect, MapStage, Outcome, drop_rows

ISO = r"^[0-9]{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12][0-9]|3[01])([T ].*)?)?)?$"


@dataclass(frozen=True)
class AsOf(MapStage):
    """Keep what was written up to ``until`` and from ``since`` on (both included, a day or empty), by ``date``.

    ``undated`` documents are dropped or kept; drops are ``too_new``, ``too_old``, ``undated`` or ``not_a_date``, which
    is treated as undated. With ``inverse`` exactly what would be dropped is kept.
    """

    until: str = ""
    since: str = ""
    undated: Literal["drop", "keep"] = "drop"
    inverse: bool = False

    effect: ClassVar[Effect] = Effect.DROPS
    columns: ClassVar[tuple[str, ...]] = ("date",)

    def __post_init__(self) -> None:
        """Raise ``UserError`` for days that are none."""
        for name, day in (("until", self.until), ("since", self.since)):
            if day and not pc.match_substring_regex(pa.scalar(day), ISO).as_py():
                raise UserError(f"{self.name}: {name}: found {day!r}, expected a date such as 2019-08-31")
        if not self.until and not self.since:
            raise UserError(f"{self.name}: expected 'until' or 'since', found neither")

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """Judge every document by its date."""
        dates = batch.column("date")
        given = pc.fill_null(dates, "").to_numpy(zero_copy_only=False).astype(str)
        known = pc.fill_null(pc.match_substring_regex(dates, ISO), False).to_numpy(zero_copy_only=False)
        rules = np.full(len(given), "", object)
        last = np.array([latest(day) for day in given]) if len(given) else given
        if self.until:
            rules[last > latest(self.until)] = "too_new"
        if self.since:
            rules[last < self.since] = "too_old"
        rules[~known] = "" if self.undated == "keep" else "not_a_date"
        if self.undated == "drop":
            rules[given == ""] = "undated"
        gone = rules != ""
        if self.inverse:
            gone = ~gone
            rules[gone] = "in_time"
        years = np.array([float(day[:4]) if fine else np.nan for day, fine in zip(given, known, strict=True)], float)
        value = pa.array(years[gone], from_pandas=True)
        drops = drop_rows(batch, gone, self.name, pa.array(rules[gone], pa.string()), value=value)
        return Outcome(batch.filter(pa.array(~gone)), drops)


@dataclass(frozen=True)
class LeaveOut(MapStage):
    """Drop every document of the named sources; with ``inverse`` every other. Drops have the rule ``left_out``."""

    sources: tuple[str, ...]
    inverse: bool = False

    effect: ClassVar[Effect] = Effect.DROPS
    columns: ClassVar[tuple[str, ...]] = ()

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """Judge every document by its source."""
        named = pc.is_in(batch.column("source"), value_set=pa.array(self.sources, pa.string()))
        gone = named.to_numpy(zero_copy_only=False) != self.inverse
        return Outcome(batch.filter(pa.array(~gone)), drop_rows(batch, gone, self.name, "left_out"))


def latest(day: str) -> str:
    """Return the last day that a year, a month or a day may mean, as a text that orders by time."""
    return f"{day[:10]}-12-31"[:10] if len(day) < 5 else f"{day[:7]}-31" if len(day) < 8 else day[:10]
