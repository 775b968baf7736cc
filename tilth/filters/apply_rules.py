"""Drops the documents that a preset's rules refuse. It reads signals only: a changed limit costs no reading of text."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from tilth.corpus.stage import Effect, MapStage, Outcome, drop_rows, plain
from tilth.filters.rules import Preset, judge, preset


@dataclass(frozen=True)
class ApplyRules(MapStage):
    """Keeps what passes every rule of the preset; with ``inverse``, keeps what breaks at least one.

    ``limits`` replaces limits of rules: (rule, low, high), as ``Preset.read_limits`` gives them. A drop names the first
    rule that failed, the value and the limit it broke. Where the signal was not a number, the rule's name ends in
    ``.undefined``; what an inverse stage drops because it broke no rule has the rule ``gopher.datatrove.passed``.
    Raises ``UserError`` for an unknown preset or rule and for limits that make no sense.
    """

    preset: str
    limits: tuple[tuple[str, float | None, float | None], ...] = ()
    inverse: bool = False

    version: ClassVar[int] = 1
    effect: ClassVar[Effect] = Effect.DROPS
    columns: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        _ = self.rules_in_force

    @cached_property
    def rules_in_force(self) -> Preset:
        """The preset as this stage applies it."""
        chosen = preset(self.preset).with_limits(self.limits)
        return chosen.inverted() if self.inverse else chosen

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the signals that the rules read."""
        return self.rules_in_force.signals

    def describe(self) -> dict[str, Any]:
        """Add the rules with their limits, so that a change of a preset's own limits is seen too."""
        return {**super().describe(), "rules": [plain(rule) for rule in self.rules_in_force.rules]}

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """Judge every document by its signals, which are columns of the batch."""
        verdicts = judge(
            self.rules_in_force, [batch.column(name).to_numpy(zero_copy_only=False) for name in self.needs]
        )
        gone = verdicts.rule >= 0
        reasons = np.array([*self.needs, f"{self.rules_in_force.name}.passed"], object)[verdicts.rule[gone]]
        reasons[verdicts.undefined[gone]] += ".undefined"
        drops = drop_rows(
            batch,
            gone,
            self.name,
            pa.array(reasons, pa.string()),
            value=pa.array(verdicts.value[gone], from_pandas=True),  # NaN becomes null
            limit=pa.array(verdicts.limit[gone], from_pandas=True),
        )
        return Outcome(kept=batch.filter(pa.array(~gone)), drops=drops)
