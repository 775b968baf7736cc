"""Selections side by side: what they agree on, whom they favour, and what one takes and another refuses.

Every method keeps the same share of the same pool, so that agreement can be read against chance: two selections of a
fifth drawn at random share a ninth of their union.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from tilth.corpus.chain import Stored
from tilth.corpus.document import ID
from tilth.corpus.errors import UserError
from tilth.corpus.store import write_atomically
from tilth.selection.bands import Part, Pool, byte_budget, choose_bands, read_pool
from tilth.selection.gains import Gain, gains_of, kept_by
from tilth.selection.keep_bands import UNDATED, Grouping
from tilth.selection.strength import ranks

QUANTILES = (0.1, 0.5, 0.9)
EXAMPLES = 3  # of every pair and direction


@dataclass(frozen=True)
class Method:
    """What one method keeps. Lengths are bytes at ``QUANTILES``, years likewise, None where no document has one."""

    name: str
    part: Part
    documents: int
    bytes: int
    sources: tuple[Gain, ...]
    lengths: tuple[float, ...]
    years: tuple[float, ...] | None


@dataclass(frozen=True)
class Agreement:
    """Two methods: shared bytes over bytes of either, what chance would give, and the correlation of their scores."""

    first: str
    second: str
    shared: float
    by_chance: float
    spearman: float
    only_first: tuple[str, ...]  # ids that the first likes best of those that only it takes
    only_second: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """All of it; ``pool`` tells what all documents are like."""

    keep: float
    pool: Method
    methods: tuple[Method, ...]
    agreements: tuple[Agreement, ...]


def compare_selections(stored: Stored, signals: Sequence[str], keep: float, parts: Mapping[str, Part]) -> Comparison:
    """Return what becomes of the documents that leave ``stored`` if each signal alone kept a share ``keep`` of them.

    ``parts``: signal -> highest (where it is not named), middle or lowest. Reads no text. Raises ``UserError`` for
    fewer than two signals, one that was not measured, and a share outside (0, 1].
    """
    if len(set(signals)) < 2:
        raise UserError(f"compare: found {', '.join(signals) or 'no signal'}, expected two different ones or more")
    if not 0 < keep <= 1:
        raise UserError(f"compare: keep: found {keep}, expected more than 0 and at most 1; correct it")
    for name in parts:
        if name not in signals:
            raise UserError(f"compare: signal '{name}' is not compared; there are {', '.join(signals)}")
    pools = {name: read_pool(stored, name, Grouping()) for name in dict.fromkeys(signals)}
    first = next(iter(pools.values()))
    years = read_years(stored)
    kept: dict[str, np.ndarray] = {}
    for name, pool in pools.items():
        part = parts.get(name, "highest")
        chosen = choose_bands(pool, byte_budget(pool.bytes, keep, None), part)
        kept[name] = kept_by(pool, chosen.bands, part)
    methods = tuple(method(name, parts.get(name, "highest"), pools[name], mask, years) for name, mask in kept.items())
    everything = method("pool", "highest", first, np.ones(len(first.ids), bool), years)
    agreements = tuple(agreement(a, b, pools, kept, parts) for a, b in combinations(pools, 2))
    return Comparison(keep, everything, methods, agreements)


def read_years(stored: Stored) -> np.ndarray:
    """Return the year of every document that leaves ``stored``: float64, NaN where it has none."""
    grouping = Grouping("year")
    found = [
        grouping.groups(batch) for part in range(stored.parts) for batch in stored.lineage.read(part, grouping.columns)
    ]
    names = np.concatenate(found)
    return np.where(names == UNDATED, np.nan, np.where(names == UNDATED, "0", names).astype(np.float64))


def method(name: str, part: Part, pool: Pool, kept: np.ndarray, years: np.ndarray) -> Method:
    """Return what a selection looks like."""
    dated = years[kept & ~np.isnan(years)]
    return Method(
        name=name,
        part=part,
        documents=int(kept.sum()),
        bytes=int(pool.sizes[kept].sum()),
        sources=tuple(gains_of(pool.sources, pool.sizes, kept)),
        lengths=tuple(np.quantile(pool.sizes[kept], QUANTILES).tolist()) if kept.any() else (0.0,) * len(QUANTILES),
        years=tuple(np.quantile(dated, QUANTILES).tolist()) if len(dated) else None,
    )


def agreement(
    first: str, second: str, pools: Mapping[str, Pool], kept: Mapping[str, np.ndarray], parts: Mapping[str, Part]
) -> Agreement:
    """Return how two selections of one pool agree."""
    a, b, sizes = kept[first], kept[second], pools[first].sizes
    either = int(sizes[a | b].sum())
    share_a, share_b = (sizes[mask].sum() / max(sizes.sum(), 1) for mask in (a, b))
    both = share_a * share_b
    scores = [signed(pools[name].scores, parts.get(name, "highest")) for name in (first, second)]
    placed = [ranks(score[None, :], "average")[0] for score in scores]
    correlation = float(np.corrcoef(placed)[0, 1]) if all(np.ptp(place) > 0 for place in placed) else 0.0
    return Agreement(
        first=first,
        second=second,
        shared=float(sizes[a & b].sum() / either) if either else 1.0,
        by_chance=float(both / (share_a + share_b - both)) if share_a + share_b > both else 1.0,
        spearman=correlation,
        only_first=best(pools[first], a & ~b, scores[0]),
        only_second=best(pools[second], b & ~a, scores[1]),
    )


def signed(scores: np.ndarray, part: Part) -> np.ndarray:
    """Return scores of which higher ones are preferred: as they are, in reverse, or by nearness to the middle."""
    if part == "lowest":
        return -scores
    return scores if part == "highest" else -np.abs(ranks(scores[None, :], "average")[0] - (len(scores) - 1) / 2)


def best(pool: Pool, mask: np.ndarray, scores: np.ndarray) -> tuple[str, ...]:
    """Return the ids (hex) of the ``EXAMPLES`` documents of ``mask`` with the highest scores."""
    rows = np.flatnonzero(mask)
    order = rows[np.argsort(-scores[rows], kind="stable")[:EXAMPLES]]
    return tuple(pool.ids[row].tobytes().hex() for row in order)


def comparison_text(found: Comparison) -> str:
    """Return a comparison for a terminal: agreement, then the sources' shares, lengths and years."""
    wide = max(12, *(len(each.name) for each in found.methods))
    lines = [f"{found.keep:.0%} of {found.pool.documents:,} documents, {found.pool.bytes / 1e6:,.1f} MB", ""]
    lines.append(f"{'agreement':<{2 * wide + 3}} {'shared':>8} {'chance':>8} {'spearman':>9}")
    for pair in found.agreements:
        lines.append(
            f"{pair.first + ' / ' + pair.second:<{2 * wide + 3}} {pair.shared:>8.1%} {pair.by_chance:>8.1%} "
            f"{pair.spearman:>+9.2f}"
        )
    names = [row.source for row in found.pool.sources]
    lines += ["", f"{'share of bytes':<{wide}} " + " ".join(f"{name[:14]:>14}" for name in names)]
    for each in (found.pool, *found.methods):
        shares = {row.source: row.kept_share for row in each.sources}
        lines.append(f"{each.name:<{wide}} " + " ".join(f"{shares[name]:>14.1%}" for name in names))
    lines += ["", f"{'10, 50, 90 %':<{wide}} {'bytes of a document':>28} {'year':>22}"]
    for each in (found.pool, *found.methods):
        lengths = " ".join(f"{value:,.0f}" for value in each.lengths)
        dated = "-" if each.years is None else " ".join(f"{value:.0f}" for value in each.years)
        lines.append(f"{each.name:<{wide}} {lengths:>28} {dated:>22}")
    return "\n".join(lines)


@dataclass(frozen=True)
class Example:
    """The beginning of a document that one method takes and another refuses."""

    id: str
    source: str
    text: str


def beginnings_of(stored: Stored, ids: Sequence[str], characters: int = 300) -> dict[str, Example]:
    """Return the beginnings of documents that leave ``stored``, by id (hex); texts are read where these are."""
    wanted = pa.array([bytes.fromhex(name) for name in dict.fromkeys(ids)], ID)
    found = {}
    for part in range(stored.parts):
        there = any(pc.any(pc.is_in(b.column("id"), value_set=wanted)).as_py() for b in stored.lineage.read(part))
        for batch in stored.lineage.read(part, ["text"]) if there else ():
            for row in batch.filter(pc.is_in(batch.column("id"), value_set=wanted)).to_pylist():
                name = row["id"].hex()
                found[name] = Example(name, row["source"], row["text"][:characters])
    return found


def write_comparison(path: Path, found: Comparison, examples: Mapping[str, Example]) -> None:
    """Write a comparison with its examples as JSON, whole or not at all."""
    data = {"comparison": found, "examples": list(examples.values())}
    write_atomically(path, orjson.dumps(data, option=orjson.OPT_INDENT_2))


def read_comparison(path: Path) -> tuple[Comparison, dict[str, Example]]:
    """Read what ``write_comparison`` wrote. Raises ``UserError`` where the file is damaged."""
    try:
        data = orjson.loads(path.read_bytes())
        told = data["comparison"]
        found = Comparison(
            keep=float(told["keep"]),
            pool=parse_method(told["pool"]),
            methods=tuple(parse_method(each) for each in told["methods"]),
            agreements=tuple(
                Agreement(**{**each, **{key: tuple(each[key]) for key in ("only_first", "only_second")}})
                for each in told["agreements"]
            ),
        )
        return found, {each["id"]: Example(**each) for each in data["examples"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a comparison ({error}); run 'tilth compare-selections' again") from error


def parse_method(data: Mapping[str, Any]) -> Method:
    """Return a method from JSON's types."""
    years = None if data["years"] is None else tuple(data["years"])
    sources = tuple(Gain(**row) for row in data["sources"])
    return Method(**{**data, "sources": sources, "lengths": tuple(data["lengths"]), "years": years})
