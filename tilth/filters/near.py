"""Documents on both sides of a limit: what a rule keeps by a hair, and what it drops by one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tilth.corpus.chain import Stored
from tilth.corpus.errors import UserError
from tilth.filters.entering import read_entering
from tilth.filters.rules import holds
from tilth.filters.what_if import stage_of


@dataclass(frozen=True)
class Neighbour:
    """A document near a limit. ``passes``: the rule lets it through, whatever the others do."""

    id: str  # 32 hex digits
    source: str
    value: float
    passes: bool
    text: str


@dataclass(frozen=True)
class Near:
    """The documents nearest to the limits of a rule, by value, then by id."""

    stage: str
    rule: str
    low: float | None
    high: float | None
    documents: tuple[Neighbour, ...]


def near(chain: Sequence[Stored], rule: str, count: int = 5) -> Near:
    """Find the ``count`` documents nearest to each limit of a rule on each of its sides.

    Every document that entered the stage is looked at, kept or not. Raises ``UserError`` where no stage has the rule or
    the rule has no limit.
    """
    stored, rules = stage_of(chain, [rule])
    pairs = zip(rules.rules, rules.signals, strict=True)
    named = {name: (one, full) for one, full in pairs for name in (one.name, full)}
    if rule not in named:
        raise UserError(f"--rule: no stage of this run has a rule '{rule}'; known: {', '.join(rules.signals)}")
    one, signal = named[rule]
    bounds = [limit for limit in (one.limits.low, one.limits.high) if limit is not None]
    if not bounds:
        raise UserError(f"--rule: {rule} has no limit in this run; give it one in the recipe")
    found: dict[tuple[float, bool], list[tuple[float, float, bytes, str]]] = {}
    for entering in read_entering(stored, [signal], ids=True):
        (values,), ids = entering.signals, entering.ids
        passed = holds(one, values)
        for bound in bounds:
            distance = np.abs(values - bound)
            for side in (True, False):
                places = np.flatnonzero((passed == side) & ~np.isnan(values))
                if len(places) > 4 * count:  # ties are settled by id, so take them all
                    worst = np.partition(distance[places], count - 1)[count - 1]
                    places = places[distance[places] <= worst][: 64 * count]
                rows = found.setdefault((bound, side), [])
                rows += [
                    (float(distance[row]), float(values[row]), ids[row].as_py(), entering.sources[entering.codes[row]])
                    for row in places.tolist()
                ]
                rows.sort(key=lambda row: (row[0], row[2]))
                del rows[count:]
    chosen = {
        identity: (value, side, source) for (_, side), rows in found.items() for _, value, identity, source in rows
    }
    texts = _texts(stored, set(chosen))
    documents = [
        Neighbour(identity.hex(), source, value, side, texts[identity])
        for identity, (value, side, source) in chosen.items()
    ]
    documents.sort(key=lambda document: (document.value, document.id))
    return Near(stored.manifest.name, signal, one.limits.low, one.limits.high, tuple(documents))


def _texts(stored: Stored, wanted: set[bytes]) -> dict[bytes, str]:
    """Return the texts of some documents, as they entered the stage."""
    ids = pa.array(sorted(wanted), pa.binary(16))
    texts: dict[bytes, str] = {}
    for part in range(stored.parts):
        if len(texts) == len(wanted):
            break
        for batch in stored.entering.read(part, ["text"]):
            rows = batch.filter(pc.is_in(batch.column("id"), value_set=ids))
            texts |= dict(zip(rows.column("id").to_pylist(), rows.column("text").to_pylist(), strict=True))
    return texts
