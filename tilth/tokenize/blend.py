"""Which source the next sample comes from: a schedule whose beginning never depends on its end.

After any number of samples, every source has had its share to within one sample. Taking the source with the largest
deficit does not hold that promise (1.30 samples off in 3,000 random mixtures of 2 to 39 sources); Tijdeman's rule does,
and is proven: off by at most 1 - 1 / (2n - 2). R. Tijdeman, The chairman assignment problem, Discrete Mathematics 32
(1980), 323-330. Shares are whole numbers, so the schedule is the same on every machine.
"""

from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache

import numba
import numpy as np

from tilth.corpus.errors import UserError

# Samples between two remembered states: what a random jump replays, about 0.3 ms for ten sources.
BLOCK = 2**12

ENDLESS = np.iinfo(np.int64).max  # samples of a source that never ends

# User's weights become whole numbers that sum to about this: the rounding moves no sample within 10**11.
WEIGHT_UNITS = 2**40


@numba.njit(cache=True, nogil=True)
def _schedule(shares: np.ndarray, deficits: np.ndarray, counts: np.ndarray, out: np.ndarray) -> None:
    """Write the next ``len(out)`` sources (int64), and move ``deficits`` and ``counts`` (int64, a source) along.

    Deficits are in units of 1 / sum(shares) samples: what a source should have had, less what it had.
    """
    sources = len(shares)
    total = shares.sum()
    twice = max(2 * sources - 2, 1)
    for index in range(len(out)):
        chosen = -1
        nearest = np.inf
        for source in range(sources):
            deficits[source] += shares[source]
            # eligible: behind by 1 / (2n - 2) samples (one is: they sum to 1); among these, the nearest deadline
            if twice * deficits[source] >= total or sources == 1:
                deadline = float((twice - 1) * total - twice * deficits[source]) / float(shares[source])
                if deadline < nearest:
                    nearest = deadline
                    chosen = source
        deficits[chosen] -= total
        counts[chosen] += 1
        out[index] = chosen


class Blend:
    """The schedule of sources with ``shares`` (whole numbers above zero). Memory: two numbers a source and block."""

    def __init__(self, shares: np.ndarray) -> None:
        self.shares = np.asarray(shares, np.int64)
        nothing = np.zeros(len(self.shares), np.int64)
        self._states = [(nothing, nothing)]  # deficits and counts at the start of every block
        self._block = lru_cache(maxsize=4)(self._replay)

    def _replay(self, number: int) -> np.ndarray:
        """Return the sources of a block: int64 (BLOCK,)."""
        out = np.empty(BLOCK, np.int64)
        for block in range(min(number, len(self._states) - 1), number + 1):
            deficits, counts = (state.copy() for state in self._states[block])
            _schedule(self.shares, deficits, counts, out)
            if block + 1 == len(self._states):
                self._states.append((deficits, counts))
        return out

    def counts(self, samples: int) -> np.ndarray:
        """Return how many of the first ``samples`` come from each source: int64 (sources,)."""
        block, rest = divmod(samples, BLOCK)
        sources = self._block(block)[:rest]
        return np.asarray(self._states[block][1] + np.bincount(sources, minlength=len(self.shares)))

    def sources(self, first: int, count: int) -> np.ndarray:
        """Return the sources of ``count`` samples from ``first`` on: int64 (count,)."""
        blocks = range(first // BLOCK, (first + count - 1) // BLOCK + 1) if count else range(0)
        pieces = [self._block(block) for block in blocks]
        offset = first % BLOCK
        return np.concatenate([np.empty(0, np.int64), *pieces])[offset : offset + count]


class CappedBlend:
    """A schedule in which sources end: where one has had its ``most`` samples, the others begin a schedule without it.

    ``most``: int64, a source; -1 where it never ends. ``total`` is the end of all, None where one never ends.
    """

    def __init__(self, shares: np.ndarray, most: np.ndarray) -> None:
        self.sources_count = len(shares)
        left = np.where(most < 0, ENDLESS, most)
        counts = np.zeros(len(shares), np.int64)
        self.total: int | None = 0
        self._phases: list[tuple[int, np.ndarray, Blend, np.ndarray]] = []  # start, sources, schedule, counts before
        while True:
            active = np.flatnonzero(left > 0)
            if not len(active):
                return
            blend = Blend(shares[active])
            start = int(counts.sum())
            self._phases.append((start, active, blend, counts.copy()))
            length = _until_one_ends(blend, left[active])
            if length is None:
                self.total = None
                return
            had = blend.counts(length)
            counts[active] += had
            left[active] -= np.where(left[active] < ENDLESS, had, 0)
            self.total = start + length

    def counts(self, samples: int) -> np.ndarray:
        """Return how many of the first ``samples`` come from each source: int64 (sources,)."""
        found = np.zeros(self.sources_count, np.int64)
        for start, active, blend, before in reversed(self._phases):
            if samples >= start:
                found += before
                found[active] += blend.counts(samples - start)
                return found
        return found

    def sources(self, first: int, count: int) -> np.ndarray:
        """Return the sources of ``count`` samples from ``first`` on: int64 (count,)."""
        pieces = [np.empty(0, np.int64)]
        for number, (start, active, blend, _) in enumerate(self._phases):
            end = self._phases[number + 1][0] if number + 1 < len(self._phases) else first + count
            low, high = max(first, start), min(first + count, end)
            if low < high:
                pieces.append(active[blend.sources(low - start, high - low)])
        return np.concatenate(pieces)


def _until_one_ends(blend: Blend, left: np.ndarray) -> int | None:
    """Return after how many samples the first source has had all it may have; None where none ends."""
    ends = left < ENDLESS
    if not ends.any():
        return None
    total = int(blend.shares.sum())
    # a source is never more than one sample behind its share
    high = min(
        -(-(int(most) + 1) * total // int(share)) for most, share in zip(left[ends], blend.shares[ends], strict=True)
    )
    low = 0
    while low < high:
        middle = (low + high) // 2
        if (blend.counts(middle) >= left).any():
            high = middle
        else:
            low = middle + 1
    return low


def whole_shares(weights: Mapping[str, float]) -> dict[str, int]:
    """Return weights as whole numbers that sum to about ``WEIGHT_UNITS``, without those that are zero.

    Raises ``UserError`` where a weight is negative or no number, or where none is above zero.
    """
    for name, weight in weights.items():
        if not 0 <= weight < float("inf"):
            raise UserError(f"weights: source '{name}' has {weight}, expected a number of at least 0; correct it")
    total = sum(map(Fraction, weights.values()))
    if total == 0:
        raise UserError("weights: all are 0, expected one above 0; give a source a weight")
    shares = {name: round(Fraction(weight) * WEIGHT_UNITS / total) for name, weight in weights.items()}
    return {name: share for name, share in shares.items() if share > 0}
