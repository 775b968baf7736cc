"""A rule is a signal and its limits; a preset is a named, versioned list of rules and the function that measures them.

Peers mean different things by "gopher" or "c4", so a preset says whose rules it holds. Rules are data: they are
shown, changed by a recipe, turned round for a study, and evaluated over whole columns in one place, ``judge``, without
any text.
"""

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeGuard

import numpy as np
import numpy.typing as npt

from tilth.corpus.errors import UserError
from tilth.filters.spans import Spans
from tilth.filters.texts import Texts

Signals = dict[str, npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Limits:
    """What a signal may be: from ``low`` to ``high``, ``None`` for no limit; a ``strict`` limit is itself refused."""

    low: float | None
    high: float | None
    strict: bool = False


def between(low: float, high: float) -> Limits:
    """Allow ``low`` <= value <= ``high``."""
    return Limits(low, high)


def at_least(low: float) -> Limits:
    """Allow ``low`` <= value."""
    return Limits(low, None)


def at_most(high: float) -> Limits:
    """Allow value <= ``high``."""
    return Limits(None, high)


def more_than(low: float) -> Limits:
    """Allow ``low`` < value."""
    return Limits(low, None, strict=True)


def less_than(high: float) -> Limits:
    """Allow value < ``high``."""
    return Limits(None, high, strict=True)


@dataclass(frozen=True)
class Rule:
    """A document passes where the signal of this name lies within the limits."""

    name: str
    limits: Limits


@dataclass(frozen=True)
class Preset:
    """Rules of one origin. Signals and drops bear the preset's name before the rule's: ``gopher.datatrove.words``;
    limits that a recipe sets to other signals are a preset without a name.

    ``splitting`` says how words are found; ``measure`` returns one float64 array a rule, by the rule's name, with one
    value a document. With ``inverse`` exactly those documents are kept that break at least one rule. ``edits`` finds
    what the preset changes in the texts it lets through, where it does.
    """

    name: str
    version: int
    splitting: str
    rules: tuple[Rule, ...]
    measure: Callable[[Texts], Signals]
    inverse: bool = False
    edits: Callable[[Texts], Spans] | None = None

    @property
    def reference(self) -> str:
        """What a recipe calls it: ``gopher.datatrove@1``."""
        return f"{self.name}@{self.version}"

    @property
    def signals(self) -> tuple[str, ...]:
        """The full names of the signals, in the order of the rules."""
        return tuple(f"{self.name}.{rule.name}" if self.name else rule.name for rule in self.rules)

    def inverted(self) -> "Preset":
        """Return the preset that keeps the documents that this one drops."""
        return replace(self, inverse=not self.inverse)

    def with_limits(self, limits: Sequence[tuple[str, float | None, float | None]]) -> "Preset":
        """Return the preset with other limits for the named rules. Raises ``UserError`` where one makes no sense."""
        changed = {rule.name: rule for rule in self.rules}
        for name, low, high in limits:
            rule = self._rule(name)
            changed[name] = replace(rule, limits=Limits(*self._checked(name, low, high), rule.limits.strict))
        return replace(self, rules=tuple(changed.values()))

    def read_limits(self, given: Mapping[str, object]) -> tuple[tuple[str, float | None, float | None], ...]:
        """Read a recipe's limits: ``{"words": [40, null], "stop_words": 1}``, in the order of the rules.

        A single number replaces the one limit of a one-sided rule. Raises ``UserError`` that names the rule, what was
        found and what is expected.
        """
        read = {}
        for name, value in given.items():
            limits = self._rule(name).limits
            if _is_number(value) and (limits.low is None) != (limits.high is None):
                low, high = (value, None) if limits.high is None else (None, value)
            elif isinstance(value, list | tuple) and len(value) == 2:
                low, high = value
            else:
                expected = (
                    "two limits such as [1, null], null for none"
                    if (limits.low is None) == (limits.high is None)
                    else "a number, or two limits such as [1, null]"
                )
                raise UserError(f"limits: {self.name}.{name}: found {value!r}, expected {expected}")
            read[name] = self._checked(name, low, high)
        return tuple((rule.name, *read[rule.name]) for rule in self.rules if rule.name in read)

    def _rule(self, name: str) -> Rule:
        rules = {rule.name: rule for rule in self.rules}
        if name not in rules:
            raise UserError(f"limits: {self.reference} has no rule {name!r}; {_nearest(name, list(rules))}")
        return rules[name]

    def _checked(self, name: str, low: object, high: object) -> tuple[float | None, float | None]:
        """Return the limits as floats, or say what is wrong with them."""
        bounds: list[float | None] = []
        for value in (low, high):
            if value is not None and not (_is_number(value) and math.isfinite(value) and value >= 0):
                raise UserError(
                    f"limits: {self.name}.{name}: found {value!r}, expected a number from 0, or null for no limit"
                )
            bounds.append(None if value is None else float(value))
        if bounds[0] is not None and bounds[1] is not None and bounds[0] > bounds[1]:
            raise UserError(f"limits: {self.name}.{name}: found {[low, high]}, expected the lower limit first")
        return bounds[0], bounds[1]


@dataclass(frozen=True)
class Verdicts:
    """What a preset says of every document.

    ``rule`` is -1 where it is kept, else the index of the first rule that it failed, or the number of rules where an
    inverse preset refuses it because it passed them all (int64). ``undefined`` is true where that rule's signal is not
    a number. ``value`` is the signal and ``limit`` the limit that it broke (float64, NaN where there is none).
    """

    rule: npt.NDArray[np.int64]
    undefined: npt.NDArray[np.bool_]
    value: npt.NDArray[np.float64]
    limit: npt.NDArray[np.float64]


def judge(preset: Preset, signals: Sequence[npt.NDArray[np.float64]]) -> Verdicts:
    """Evaluate the rules in their order. ``signals`` holds one float64 array a rule, with one value a document.

    A signal that is not a number speaks neither for a document nor against it, so nobody keeps that document: the rules
    refuse it, and so does their inverse unless another rule is broken.
    """
    documents = len(signals[0]) if signals else 0
    first = np.full(documents, -1, np.int64)
    undefined, broken = np.zeros(documents, np.bool_), np.zeros(documents, np.bool_)
    value, limit = np.full(documents, np.nan), np.full(documents, np.nan)
    for index, (rule, signal) in enumerate(zip(preset.rules, signals, strict=True)):
        below, above = _outside(rule.limits, signal)
        nothing = np.isnan(signal)
        broken |= below | above
        new = (below | above | nothing) & (first < 0)
        first[new] = index
        undefined[new] = nothing[new]
        value[new] = signal[new]
        if rule.limits.low is not None:
            limit[new & below] = rule.limits.low
        if rule.limits.high is not None:
            limit[new & above] = rule.limits.high
    if preset.inverse:
        first[first < 0] = len(preset.rules)
        first[broken] = -1
    kept = first < 0
    undefined[kept], value[kept], limit[kept] = False, np.nan, np.nan
    return Verdicts(first, undefined, value, limit)


def holds(rule: Rule, signal: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Return where one rule lets a document through; a signal that is not a number never does."""
    low, high, strict = rule.limits.low, rule.limits.high, rule.limits.strict
    found = ~np.isnan(signal) if low is None and high is None else np.ones(len(signal), np.bool_)
    if low is not None:
        found &= signal > low if strict else signal >= low
    if high is not None:
        found &= signal < high if strict else signal <= high
    return found


def breaks(rule: Rule, signal: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Return where a document lies outside the limits of one rule; a signal that is not a number never does."""
    below, above = _outside(rule.limits, signal)
    return below | above


def preset(reference: str) -> Preset:
    """Return the preset that is called, say, ``gopher.datatrove@1``. Raises ``UserError`` where there is none."""
    from tilth.filters.presets import PRESETS

    known = {preset.reference: preset for preset in PRESETS}
    if reference not in known:
        raise UserError(f"preset: there is no {reference!r}; {_nearest(reference, list(known))}")
    return known[reference]


def _outside(limits: Limits, signal: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return where the signal is under the lower limit and where it is over the upper one; NaN is neither."""
    nowhere = np.zeros(len(signal), np.bool_)
    low, high, strict = limits.low, limits.high, limits.strict
    below = nowhere if low is None else signal <= low if strict else signal < low
    above = nowhere if high is None else signal >= high if strict else signal > high
    return below, above


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _nearest(name: str, known: Sequence[str]) -> str:
    """Say which known name is meant, or list them all."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
