"""Measures the signals of presets, all in one pass: words and lines are split once for all of them."""

import unicodedata
from collections import Counter
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from tilth.corpus.errors import UserError
from tilth.corpus.stage import Effect, MapStage, Outcome
from tilth.filters.rules import Preset, preset
from tilth.filters.texts import Texts


@dataclass(frozen=True)
class Measure(MapStage):
    """Adds every signal of the named presets, such as ``("gopher.datatrove@1",)``, and drops nothing.

    Raises ``UserError`` for a preset that is not known and for two that would give the same signal.
    """

    presets: tuple[str, ...]

    version: ClassVar[int] = 1
    effect: ClassVar[Effect] = Effect.MEASURES

    def __post_init__(self) -> None:
        twice = [signal for signal, times in Counter(self.measures).items() if times > 1]
        if twice:
            raise UserError(
                f"{self.name}: presets: found {twice[0]!r} twice, expected presets with signals of their own"
            )

    @property
    def measures(self) -> tuple[str, ...]:
        """Names of the signals that this stage adds."""
        return tuple(signal for chosen in self._chosen() for signal in chosen.signals)

    def describe(self) -> dict[str, Any]:
        """Add the version of Unicode, since the classes of characters follow it."""
        return {**super().describe(), "unicode": unicodedata.unidata_version}

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """Return the batch with its signals: float64, NaN where a signal is undefined."""
        texts = Texts.shared(batch.column("text"))
        signals = {}
        for chosen in self._chosen():
            measured = chosen.measure(texts)
            for rule, signal in zip(chosen.rules, chosen.signals, strict=True):
                signals[signal] = pa.array(measured[rule.name], pa.float64())
        return Outcome(kept=batch, signals=signals)

    def _chosen(self) -> tuple[Preset, ...]:
        return tuple(preset(reference) for reference in self.presets)
