"""How often near-deduplication is wrong: measured in every run, on its own pairs, with intervals.

Precision is checked from the texts: a sample of the removals is read again and compared outside of the shuffle that
decided them. Recall cannot be seen, since what was missed is not there; but the curve of the bands says with which
probability a pair of each similarity becomes a candidate, so every pair that was found stands for 1 / p of its kind
(Horvitz and Thompson 1952).
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from tilth.corpus.chain import Stored
from tilth.corpus.store import write_atomically
from tilth.filters.dedup.bands import catch_probability
from tilth.filters.dedup.clusters import MEMBERS, REMOVALS, Pairs, as_bytes, place_in, read_table
from tilth.filters.dedup.compare import Measure
from tilth.filters.dedup.shingles import shingles_of
from tilth.filters.dedup.signatures import Shingling
from tilth.filters.dedup.units import units_of
from tilth.filters.texts import Texts

QUALITY: Final = "quality.json"
SAMPLE: Final = 200  # removals that are read again: 0.99 is told from 0.95 at 95 % confidence
_Z: Final = 1.959963984540054  # of the two-sided 95 % interval of a normal distribution


@dataclass(frozen=True)
class Share:
    """A measured share and its 95 % interval."""

    value: float
    low: float
    high: float
    of: int


def share(successes: int, trials: int) -> Share | None:
    """Return ``successes`` / ``trials`` with Wilson's interval (Wilson 1927); None without a trial."""
    if trials == 0:
        return None
    p = successes / trials
    spread = 1 + _Z**2 / trials
    middle = (p + _Z**2 / (2 * trials)) / spread
    half = _Z * np.sqrt(p * (1 - p) / trials + _Z**2 / (4 * trials**2)) / spread
    # the bounds meet 0 and 1 exactly where they should; rounding may not
    low, high = max(0.0, float(middle - half)), min(1.0, float(middle + half))
    return Share(p, low if successes else 0.0, high if successes < trials else 1.0, trials)


def recall(similarities: npt.NDArray[np.float64], bands: int, rows: int) -> Share | None:
    """Estimate which share of the near pairs the bands found, from the similarities of those that they found."""
    if not len(similarities):
        return None
    caught = catch_probability(similarities, bands, rows)
    total = float((1 / caught).sum())
    # variance of the estimated total (Poisson sampling), carried to the share by its derivative
    deviation = float(np.sqrt(((1 - caught) / caught**2).sum()))
    value = len(similarities) / total
    half = _Z * value * deviation / total
    return Share(value, max(0.0, value - half), min(1.0, value + half), len(similarities))


def write_quality(
    folder: Path,
    head: Stored,
    pairs: Pairs,
    threshold: float,
    bands: int,
    rows: int,
    shingling: Shingling,
    measure: Measure,
    *,
    verified: bool,
    seed: int,
) -> None:
    """Write ``quality.json`` beside the removals of ``find_clusters``, whose ``pairs`` these are.

    ``verified``: they were compared by the measure itself, exactly.
    """
    again = read_again(folder, head, shingling, measure, seed)
    known = pairs.similarity[~np.isnan(pairs.similarity)]
    told: dict[str, Any] = {
        "threshold": threshold,
        "measure": measure,
        "verified": verified,
        "compared": pairs.candidates,
        "near": len(pairs),
        "candidates_that_are_near": _plain(share(len(pairs), pairs.candidates)) if verified else None,
        "precision": _plain(share(int((again >= threshold).sum()), len(again))),
        "sampled_similarities": [round(float(value), 6) for value in np.sort(again)],
        "recall": _plain(recall(known, bands, rows)) if verified and measure == "jaccard" else None,
    }
    write_atomically(folder / QUALITY, orjson.dumps(told, option=orjson.OPT_INDENT_2))


def read_again(
    folder: Path, head: Stored, shingling: Shingling, measure: Measure, seed: int
) -> npt.NDArray[np.float64]:
    """Return the similarity with their survivors of a sample of removals, from both texts."""
    removals = read_table(folder / REMOVALS)
    generator = np.random.Generator(np.random.PCG64(seed))
    chosen = np.sort(generator.permutation(removals.num_rows)[:SAMPLE])
    gone = as_bytes(removals.column("id"))[chosen]
    stays = as_bytes(removals.column("survivor"))[chosen]
    wanted = np.unique(np.concatenate([gone, stays]))
    members = read_table(folder / MEMBERS)
    mask = place_in(wanted, as_bytes(members.column("id"))) >= 0
    parts = pc.unique(members.column("part").filter(pa.array(mask))).to_pylist()
    sets: dict[int, npt.NDArray[np.uint64]] = {}
    for part in sorted(parts):
        for batch in head.lineage.read(part, ("text",)):
            place = place_in(wanted, as_bytes(batch.column("id")))
            found = batch.filter(pa.array(place >= 0))
            shingles = shingles_of(units_of(Texts.of(found.column("text")), shingling.kind), shingling.n)
            sets |= dict(zip(place[place >= 0].tolist(), shingles.sets(), strict=True))
    values = []
    for one, other in zip(place_in(wanted, gone).tolist(), place_in(wanted, stays).tolist(), strict=True):
        common = len(np.intersect1d(sets[one], sets[other], assume_unique=True))
        whole = len(sets[one]) if measure == "containment" else len(sets[one]) + len(sets[other]) - common
        values.append(common / max(1, whole))
    return np.array(values, np.float64)


def _plain(measured: Share | None) -> dict[str, Any] | None:
    return None if measured is None else {key: round(value, 6) for key, value in asdict(measured).items()}
