"""Shingles: every run of ``n`` units of a text as one 64-bit hash, rolled along the text in constant time a unit.

A document with fewer than ``n`` units, but any, is one shingle of all it has: a short text is compared as a whole
instead of being lost or never compared. A document without units has no shingle and is like nothing else.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from tilth.filters.dedup.units import Units
from tilth.filters.kernel import kernel

# odd, without pattern in its bits: 2**64 divided by the golden ratio
_BASE: Final = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Shingles:
    """The shingles of a batch in the order of the text, repeated ones too: ``hashes`` uint64, ``rows`` int64.

    Document ``i`` has those from ``rows[i]`` to ``rows[i + 1]``; its shingle ``k`` begins at its unit ``k``.
    """

    hashes: npt.NDArray[np.uint64]
    rows: npt.NDArray[np.int64]

    def sets(self) -> list[npt.NDArray[np.uint64]]:
        """Return the shingles of every document as a set: sorted, each once."""
        bounds = self.rows.tolist()
        return [_distinct(self.hashes[start:end]) for start, end in pairwise(bounds)]


def _distinct(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return values ascending, each once: np.unique, whose hash table takes four times as long as sorting here."""
    ordered = np.sort(values)
    first = np.ones(len(ordered), bool)
    first[1:] = ordered[1:] != ordered[:-1]
    return ordered[first]


def shingles_of(units: Units, n: int, *, whole_short: bool = True) -> Shingles:
    """Return the shingles of ``n`` >= 1 units; with ``whole_short`` a shorter document is one shingle, else none."""
    counts = np.diff(units.rows)
    sizes = np.maximum(counts - n + 1, ((counts > 0) & whole_short).astype(np.int64))
    rows = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    hashes = np.empty(int(rows[-1]), np.uint64)
    _roll(units.hashes, units.rows, n, rows, hashes)
    return Shingles(hashes, rows)


@kernel
def _mix(x: np.uint64) -> np.uint64:
    """Mix the bits of a hash: the finaliser of splitmix64 (Steele, Lea and Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.uint64(x ^ (x >> np.uint64(31)))


@kernel
def _roll(units: np.ndarray, unit_rows: np.ndarray, n: int, rows: np.ndarray, hashes: np.ndarray) -> None:
    """Hash the run of ``n`` units at every place: a polynomial in ``_BASE`` modulo 2**64, then mixed."""
    power = np.uint64(1)
    for _ in range(n - 1):
        power = np.uint64(power * _BASE)
    for document in range(len(rows) - 1):
        place, end = rows[document], rows[document + 1]
        if place == end:
            continue
        first = unit_rows[document]
        width = min(n, unit_rows[document + 1] - first)
        value = np.uint64(0)
        for unit in range(first, first + width):
            value = np.uint64(value * _BASE + units[unit])
        # a shorter text must not be the end of a longer run of units whose first hashes to nothing
        hashes[place] = _mix(np.uint64(value ^ np.uint64(width)))
        for step in range(end - place - 1):
            value = np.uint64((value - units[first + step] * power) * _BASE + units[first + step + width])
            hashes[place + step + 1] = _mix(np.uint64(value ^ np.uint64(width)))
