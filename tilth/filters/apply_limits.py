"""Drops documents by limits on any signals: scores, counts of lists, finds, what other stages measured."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import pyarrow as pa

from tilth.corpus.errors import UserError
from tilth.corpus.stage import Effect, MapStage, Outcome, drop_rows
from tilth.filters.rules import Limits, Rule, breaks, holds


@dataclass(frozen=True)
class ApplyLimits(MapStage):
    """Keeps the documents whose signals lie within ``limits``; with ``inverse``, those that break one of them.

    ``limits`` are (signal, low, high), ``None`` for no limit. A drop names the first signal that lies outside; where it
    is not a number its name ends in ``.undefined``, and what an inverse stage drops has the rule ``NAME.passed``.
    """

    limits: tuple[tuple[str, float | None, float | None], ...]
    inverse: bool = False

    version: ClassVar[int] = 1
    effect: ClassVar[Effect] = Effect.DROPS
    columns: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for signal, low, high in self.limits:
            if low is not None and high is not None and low > high:
                raise UserError(f"{self.name}: limits: {signal}: found [{low}, {high}], expected the lower limit first")
        if not self.limits:
            raise UserError(f"{self.name}: limits: found none, expected a signal such as quality: [0.5, null]")

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        """A rule for each signal."""
        return tuple(Rule(signal, Limits(low, high)) for signal, low, high in self.limits)

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the signals that have limits."""
        return tuple(signal for signal, _, _ in self.limits)

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """Judge every document by its signals, which are columns of the batch."""
        columns = [batch.column(name).to_numpy(zero_copy_only=False).astype(np.float64) for name in self.needs]
        held = np.array([holds(rule, column) for rule, column in zip(self.rules, columns, strict=True)])
        broken = np.array([breaks(rule, column) for rule, column in zip(self.rules, columns, strict=True)])
        gone = np.asarray(~broken.any(axis=0) if self.inverse else ~held.all(axis=0))
        undefined = ~held & ~broken
        reasons: list[str] = []
        values: list[float | None] = []
        limits: list[float | None] = []
        for row in np.flatnonzero(gone).tolist():
            failed = np.flatnonzero(undefined[:, row] if self.inverse else ~held[:, row])
            if not len(failed):
                reasons.append(f"{self.name}.passed")
                values.append(None)
                limits.append(None)
                continue
            place = int(failed[0])
            value = float(columns[place][row])
            _, low, high = self.limits[place]
            nothing = bool(undefined[place, row])
            reasons.append(f"{self.needs[place]}.undefined" if nothing else self.needs[place])
            values.append(None if nothing else value)
            limits.append(None if nothing else low if low is not None and value < low else high)
        drops = drop_rows(
            batch,
            gone,
            self.name,
            pa.array(reasons, pa.string()),
            value=pa.array(values, pa.float64()),
            limit=pa.array(limits, pa.float64()),
        )
        return Outcome(kept=batch.filter(pa.array(~gone)), drops=drops)
