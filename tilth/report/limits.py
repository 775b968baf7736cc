"""Which signals a run set limits to: rules with their limits, cuts of scores; read from the stages' descriptions."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from tilth.corpus.chain import Stored


@dataclass(frozen=True)
class Limited:
    """A signal and what was allowed of it. Without limits it is a score that nothing was cut by."""

    signal: str
    stage: str
    rule: str
    low: float | None = None
    high: float | None = None
    strict: bool = False  # a limit is itself too much
    inverted: bool = False  # documents that break the limits are kept instead

    def holds(self, values: np.ndarray) -> np.ndarray:
        """Tell which of ``values`` (float64, no NaN) keep to the limits: bool."""
        within = np.ones(len(values), bool)
        if self.low is not None:
            within &= values > self.low if self.strict else values >= self.low
        if self.high is not None:
            within &= values < self.high if self.strict else values <= self.high
        return within


def rule_limits(chain: Iterable[Stored]) -> Iterator[Limited]:
    """Yield every rule that a run applied, with the limits that were in force then, whatever a preset says today."""
    for stored in chain:
        config = stored.manifest.description
        if config["stage"] == "ApplyRules":
            preset, _, _ = config["preset"].rpartition("@")
            for rule in config["rules"]:
                limits, name = rule["limits"], f"{preset}.{rule['name']}"
                yield Limited(
                    name,
                    stored.manifest.name,
                    name,
                    limits["low"],
                    limits["high"],
                    limits["strict"],
                    config["inverse"],
                )
        elif config["stage"] == "ApplyLimits":
            for signal, low, high in config["limits"]:
                yield Limited(signal, stored.manifest.name, signal, low, high, inverted=config["inverse"])


def score_cuts(chain: Iterable[Stored]) -> Iterator[Limited]:
    """Yield every score of a run with the cut that was made by it, or with none."""
    chain = list(chain)
    cut = set()
    for stored in chain:
        config = stored.manifest.description
        if config["stage"] == "KeepBest":
            cut.add(config["signal"])
            yield Limited(
                config["signal"],
                stored.manifest.name,
                "below_cut",
                low=float(config["score"]),
                inverted=config["inverse"],
            )
    for stored in chain:
        if stored.manifest.description["stage"] == "Score":
            for signal in stored.manifest.measures:
                if signal not in cut:
                    yield Limited(signal, stored.manifest.name, "")
