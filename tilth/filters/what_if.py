"""What another limit would keep: counted from stored signals, without reading a text.

The answer is about the documents that entered the stage of the rules, and about that stage alone: what later stages
would make of a document that was never given to them is not known, and is not guessed.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tilth.corpus.chain import Stored
from tilth.corpus.errors import UserError
from tilth.filters.apply_limits import ApplyLimits
from tilth.filters.apply_rules import ApplyRules
from tilth.filters.entering import Entering, read_entering
from tilth.filters.rules import Limits, Preset, Rule, breaks, holds, preset


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
    given = dict(_parsed(item) for item in asked)
    stored, now = stage_of(chain, given)
    short = {name.removeprefix(f"{now.name}."): value for name, value in given.items()}
    limits = now.read_limits(short)
    return WhatIf(stored.manifest.name, limits, _count(stored, now, now.with_limits(limits)))


@dataclass(frozen=True)
class Sweep:
    """What each of several limits of one rule would keep: documents and bytes of text by source, limit by limit."""

    stage: str
    rule: str
    now: tuple[float | None, float | None]
    limits: tuple[tuple[float | None, float | None], ...]
    entered: dict[str, tuple[int, int]]
    kept: tuple[dict[str, tuple[int, int]], ...]

    def to_json(self) -> dict[str, Any]:
        """Return JSON's types."""
        return {"ok": True, **asdict(self)}

    def share(self, place: int, source: str | None = None) -> float:
        """Return the share of documents that a limit keeps, of a source or of all."""
        names = list(self.entered) if source is None else [source]
        entered = sum(self.entered[name][0] for name in names)
        return sum(self.kept[place][name][0] for name in names) / max(1, entered)


def sweep(chain: Sequence[Stored], rule: str, asked: Sequence[str]) -> Sweep:
    """Answer for several limits of one rule at once: ``words`` with ``10..`` and ``20..``, or ``0.1`` and ``0.2``.

    The signals are read once. Raises ``UserError`` as ``what_if`` does.
    """
    given = [_parsed(f"{rule}={value}") for value in asked]
    stored, now = stage_of(chain, dict(given))
    short = rule.removeprefix(f"{now.name}.")
    limits = [now.read_limits({short: value})[0] for _, value in given]
    others = [now.with_limits([limit]) for limit in limits]
    entered: dict[str, tuple[int, int]] = {}
    totals: list[dict[str, tuple[int, int]]] = [{} for _ in limits]
    for entering in read_entering(stored, now.signals):
        _, *masks = kept(entering, now, others)
        for place, mask in enumerate(masks):
            for name, (documents, sizes) in by_source(entering, mask, mask).items():
                _add(totals[place], name, int(documents[3]), int(sizes[3]))
                if place == 0:
                    _add(entered, name, int(documents.sum()), int(sizes.sum()))
    bounds = next(one.limits for one in now.rules if one.name == short)
    return Sweep(
        stored.manifest.name,
        f"{now.name}.{short}" if now.name else short,
        (bounds.low, bounds.high),
        tuple((low, high) for _, low, high in limits),
        dict(sorted(entered.items())),
        tuple(dict(sorted(total.items())) for total in totals),
    )


def _add(totals: dict[str, tuple[int, int]], name: str, documents: int, size: int) -> None:
    before = totals.get(name, (0, 0))
    totals[name] = before[0] + documents, before[1] + size


def stage_of(chain: Sequence[Stored], names: Iterable[str]) -> tuple[Stored, Preset]:
    """Return the stage that applied rules of these names, and the rules as it did; the first one where none has them.

    Raises ``UserError`` where the run applied no rules.
    """
    kinds = (ApplyRules.__name__, ApplyLimits.__name__)
    stages = [stored for stored in chain if stored.manifest.description.get("stage") in kinds]
    if not stages:
        raise UserError("this run applied no rules: its recipe has no stage 'use: rules' or 'use: limits'")
    return next(
        ((stage, rules) for stage in stages if _knows(rules := _in_force(stage), names)),
        (stages[0], _in_force(stages[0])),
    )


def _in_force(stored: Stored) -> Preset:
    """Return the preset as a stored stage applied it."""
    description = stored.manifest.description
    if description["stage"] == ApplyLimits.__name__:
        rules = tuple(Rule(str(signal), Limits(low, high)) for signal, low, high in description["limits"])
        return Preset("", 0, "", rules, lambda texts: {}, bool(description["inverse"]))
    limits = [(str(rule), low, high) for rule, low, high in description["limits"]]
    chosen = preset(str(description["preset"])).with_limits(limits)
    return chosen.inverted() if description["inverse"] else chosen


def _knows(rules: Preset, names: Iterable[str]) -> bool:
    return set(names) <= {rule.name for rule in rules.rules} | set(rules.signals)


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
    for entering in read_entering(stored, now.signals):
        kept_now, kept_then = kept(entering, now, [then])
        for name, (documents, sizes) in by_source(entering, kept_now, kept_then).items():
            # the groups: neither, only now, only then, both
            counts = Counts(
                int(documents.sum()),
                int(documents[1] + documents[3]),
                int(documents[2] + documents[3]),
                int(sizes.sum()),
                int(sizes[1] + sizes[3]),
                int(sizes[2] + sizes[3]),
            )
            totals[name] = totals.get(name, Counts()) + counts
    return dict(sorted(totals.items()))


def kept(entering: Entering, now: Preset, others: Sequence[Preset]) -> Iterator[npt.NDArray[np.bool_]]:
    """Yield which documents a preset keeps, then which it keeps with other limits. Rules that stay are judged once."""
    judged = breaks if now.inverse else holds
    join = np.logical_or if now.inverse else np.logical_and
    single = [judged(rule, signal) for rule, signal in zip(now.rules, entering.signals, strict=True)]
    yield join.reduce(single)
    moved = {place for other in others for place, rule in enumerate(other.rules) if rule != now.rules[place]}
    rest = [found for place, found in enumerate(single) if place not in moved]
    common = join.reduce(rest) if rest else None
    for other in others:
        found = [judged(other.rules[place], entering.signals[place]) for place in sorted(moved)]
        yield join.reduce(found if common is None else [common, *found])


def by_source(
    entering: Entering, first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]
) -> dict[str, tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Return documents and bytes of each source in four groups: in neither mask, the first, the second, both."""
    groups = entering.codes * 4 + first + 2 * second
    most = 4 * len(entering.sources)
    documents = np.bincount(groups, minlength=most).reshape(-1, 4)
    sizes = np.bincount(groups, weights=entering.sizes, minlength=most).astype(np.int64).reshape(-1, 4)
    return {name: (documents[place], sizes[place]) for place, name in enumerate(entering.sources)}
