"""Histograms of signals, in two passes over the columns of their files: the first finds an axis, the second counts.

No column is ever held whole: an axis comes from a sample of at most 4,096 values a part, and counts are added up batch
by batch. How many documents lie outside the limits is counted from the values, not from the bins.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tilth.corpus.chain import Stored
from tilth.corpus.store import SIGNALS, part_name, read_arrow
from tilth.report.limits import Limited
from tilth.report.model import Distribution, Scale
from tilth.report.sampling import within_bytes

MOST_BYTES = 300_000_000  # of signal files, compressed: some 30 million values
SAMPLE = 4096  # values a part
BINS = 40
# A count whose largest values are this many times the median (numbers of words are) is told on a logarithmic axis.
LONG_TAIL = 20
FAR = 20  # a limit more than so many widths of the data away is told in words, not drawn


@dataclass(frozen=True)
class Axis:
    """Edges of the bins, ascending, and how the axis is drawn."""

    edges: np.ndarray
    scale: Scale


def distributions(chain: Sequence[Stored], asked: Sequence[Limited]) -> tuple[list[Distribution], tuple[int, int]]:
    """Return a histogram for every limited signal, and from how many parts of how many they come."""
    measured = {signal: Path(folder) for stored in chain for signal, folder in stored.lineage.signals.items()}
    together: dict[Path, list[str]] = defaultdict(list)
    for limited in asked:
        if limited.signal in measured and limited.signal not in together[measured[limited.signal]]:
            together[measured[limited.signal]].append(limited.signal)
    found: dict[Limited, Distribution] = {}
    read, parts = 0, chain[0].parts if chain else 0
    for folder, signals in together.items():
        chosen = within_bytes(_sizes(folder, parts), MOST_BYTES // len(together))
        read = min(read, len(chosen)) if found else len(chosen)
        samples = _sample(folder, chosen, signals)
        here = [limited for limited in asked if limited.signal in signals]
        tallies = [_Tally(limited, axis(samples[limited.signal], limited.low, limited.high)) for limited in here]
        for batch in _batches(folder, chosen, signals):
            for tally in tallies:
                tally.add(batch[tally.limited.signal])
        found |= {tally.limited: tally.result() for tally in tallies}
    return [found[limited] for limited in asked if limited in found], (read, parts)


class _Tally:
    """The growing histogram of one signal."""

    def __init__(self, limited: Limited, bins: Axis) -> None:
        self.limited = limited
        self.bins = bins
        self.counts = np.zeros(len(bins.edges) - 1, np.int64)
        self.documents = self.outside = self.unmeasured = 0

    def add(self, values: np.ndarray) -> None:
        """Count the values (float64) of a batch."""
        known = values[~np.isnan(values)]
        edges = self.bins.edges
        places = np.searchsorted(edges[1:-1], known, side="right")
        self.counts += np.bincount(places, minlength=len(self.counts))
        self.documents += len(values)
        self.unmeasured += len(values) - len(known)
        self.outside += int((~self.limited.holds(known)).sum())

    def result(self) -> Distribution:
        """Return what was counted."""
        limited = self.limited
        return Distribution(
            signal=limited.signal,
            stage=limited.stage,
            rule=limited.rule,
            edges=tuple(self.bins.edges.tolist()),
            counts=tuple(self.counts.tolist()),
            scale=self.bins.scale,
            low=limited.low,
            high=limited.high,
            strict=limited.strict,
            inverted=limited.inverted,
            documents=self.documents,
            outside=self.outside,
            unmeasured=self.unmeasured,
        )


def axis(sample: np.ndarray, low: float | None = None, high: float | None = None) -> Axis:
    """Choose bins for values like ``sample`` (float64) and limits: shares, whole numbers, counts with a long tail."""
    known = np.sort(sample[np.isfinite(sample)])
    limits = [limit for limit in (low, high) if limit is not None]
    if len(known) == 0:
        known = np.asarray(limits or [0.0, 1.0])
    first, middle, last = np.quantile(known, [0.002, 0.5, 0.998]).tolist()
    if known[0] >= 0 and last > LONG_TAIL * max(1.0, middle):
        return Axis(_decades(max(1.0, first), last, [limit for limit in limits if limit >= 1]), "logarithmic")
    reach = FAR * max(last - first, abs(first), abs(last)) or math.inf  # of zeros alone, the limit is all there is
    near = [limit for limit in limits if first - reach <= limit <= last + reach]
    start, end = min([first, *near]), max([last, *near])
    if known[0] >= 0 and known[-1] <= 1 and end - start > 0.4:
        return Axis(np.linspace(0, 1, BINS + 1), "linear")
    if 0 <= start < 0.25 * end:
        start = 0.0
    if (known == np.round(known)).all() and end - start < BINS:
        return Axis(np.arange(np.floor(start), np.ceil(end) + 2) - 0.5, "whole")
    if end - start <= 1e-9 * max(abs(start), abs(end), 1e-9):
        end = start + 0.1 * max(abs(start), 1.0)
    # a limit at the very end of the axis would hide behind its frame
    margin = 0.05 * (end - start)
    return Axis(np.linspace(start - margin if start else 0.0, end + margin, BINS + 1), "linear")


def _decades(first: float, last: float, limits: Sequence[float]) -> np.ndarray:
    start, end = min([first, *limits]), max([last, *limits])
    return np.geomspace(start / 1.3, end * 1.3, BINS + 1)


def _sizes(folder: Path, parts: int) -> list[int]:
    paths = [folder / SIGNALS / part_name(part) for part in range(parts)]
    return [path.stat().st_size if path.is_file() else 0 for path in paths]


def _batches(folder: Path, parts: Sequence[int], signals: Sequence[str]) -> Iterator[Mapping[str, np.ndarray]]:
    """Yield the columns of every batch of the chosen parts as float64; what was not measured is NaN."""
    for part in parts:
        for batch in read_arrow(folder / SIGNALS / part_name(part), signals):
            yield {name: batch.column(name).to_numpy(zero_copy_only=False).astype(np.float64) for name in signals}


def _sample(folder: Path, parts: Sequence[int], signals: Sequence[str]) -> dict[str, np.ndarray]:
    """Return values of every signal: those of the first batch of every part, thinned evenly."""
    samples: dict[str, list[np.ndarray]] = {name: [np.zeros(0)] for name in signals}
    for part in parts:
        batch = next(_batches(folder, [part], signals), None)
        if batch is not None:
            for name, values in batch.items():
                samples[name].append(values[:: max(1, len(values) // SAMPLE)])
    return {name: np.concatenate(arrays) for name, arrays in samples.items()}
