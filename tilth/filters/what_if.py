"""What another limit would keep: counted from stored signals, without reading a text.

The answer is about the documents that entered the stage of the rules, and about that stage alone: what later stages
would make of a document that was never given to them is not known, and is not guessed.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from tilth.corpus.chain import Stored
from tilth.corpus.errors import UserError
from tilth.filters.apply_rules import ApplyRules
from tilth.filters.rules import Preset, judge, preset


@dataclass(frozen=True)
class Counts:
    """Documents and bytes of text that entered the stage, that its limits keep now, and that the others would keep."""

    documents: int = 0
    documents_now: int = 0
    documents_then: int = 0
    bytes: int = 0
    bytes_now: int = 0
    bytes_then: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        pairs = zip(asdict(self).items(), asdict(other).values(), strict=True)
        return Counts(**{name: one + two for (name, one), two in pairs})


@dataclass(frozen=True)
class WhatIf:
    """The answer for one stage of rules."""

    stage: str
    limits: tuple[tuple[str, float | None, float | None], ...]
    sources: dict[str, Counts]

    @property
    def total(self) -> Counts:
        """The sum over sources."""
        return sum(self.sources.values(), Counts())

    def to_json(self) -> dict[str, Any]:
        """Return JSON's types."""
        sources = {name: asdict(counts) for name, counts in self.sources.items()}
        limits = {rule: [low, high] for rule, low, high in self.limits}
        return {"ok": True, "stage": self.stage, "limits": limits, "sources": sources, "total": asdict(self.total)}


def what_if(chain: Sequence[Stored], asked: Sequence[str]) -> WhatIf:
    """Answer for limits such as ``words=40`` or ``mean_word_length=3..12``; a rule's full name works too.

    Raises ``UserError`` where the run applied no rules, where no stage has the rule, or where a limit makes no sense.
    """
    stages = [stored for stored in chain if stored.manifest.description.get("stage") == ApplyRules.__name__]
    if not stages:
        raise UserError("this run applied no rules: its recipe has no stage 'use: rules'")
    given = dict(_parsed(item) for item in asked)
    stored, now = next(
        ((stage, rules) for stage in stages if _knows(rules := _in_force(stage), given)),
        (stages[0], _in_force(stages[0])),
    )
    short = {name.removeprefix(f"{now.name}."): value for name, value in given.items()}
    limits = now.read_limits(short)
    return WhatIf(stored.manifest.name, limits, _count(stored, now, now.with_limits(limits)))


def _in_force(stored: Stored) -> Preset:
    """Return the preset as a stored stage applied it."""
    description = stored.manifest.description
    limits = [(str(rule), low, high) for rule, low, high in description["limits"]]
    chosen = preset(str(description["preset"])).with_limits(limits)
    return chosen.inverted() if description["inverse"] else chosen


def _knows(rules: Preset, given: dict[str, object]) -> bool:
    names = {rule.name for rule in rules.rules} | set(rules.signals)
    return set(given) <= names


def _parsed(item: str) -> tuple[str, object]:
    """Read ``rule=limit`` or ``rule=low..high``, where either end may be empty."""
    name, equals, value = item.partition("=")
    try:
        if not equals:
            raise ValueError
        if ".." in value:
            low, _, high = value.partition("..")
            return name, [float(low) if low else None, float(high) if high else None]
        return name, float(value)
    except ValueError as error:
        raise UserError(f"'{item}': expected RULE=LIMIT or RULE=LOW..HIGH, such as words=40 or words=40..") from error


def _count(stored: Stored, now: Preset, then: Preset) -> dict[str, Counts]:
    totals: dict[str, Counts] = {}
    for part in range(stored.parts):
        for batch in stored.entering.read(part, needs=now.signals):
            signals = [batch.column(name).to_numpy(zero_copy_only=False) for name in now.signals]
            kept = [judge(rules, signals).rule < 0 for rules in (now, then)]
            for name, counts in _by_source(batch, *kept).items():
                totals[name] = totals.get(name, Counts()) + counts
    return dict(sorted(totals.items()))


def _by_source(batch: pa.RecordBatch, now: np.ndarray, then: np.ndarray) -> dict[str, Counts]:
    codes = batch.column("source").dictionary_encode()
    names, places = codes.dictionary.to_pylist(), codes.indices.to_numpy()
    sizes = batch.column("bytes").to_numpy()

    def total(weights: np.ndarray) -> list[int]:
        return [int(value) for value in np.bincount(places, weights=weights, minlength=len(names))]

    columns = [total(weights) for weights in (np.ones(len(sizes)), now, then, sizes, sizes * now, sizes * then)]
    return {name: Counts(*(column[place] for column in columns)) for place, name in enumerate(names)}
