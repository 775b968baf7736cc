"""MinHash signatures: the least value that each of some random orders gives to a document's shingles (Broder 1997).

Two documents agree in a share of their values whose expectation is the Jaccard similarity of their shingle sets. The
kernel is one multiplication, addition and comparison a shingle and hash, eight shingles at a time, so that the running
minima are loaded and stored an eighth as often, over the words of the machine's vector registers: 32 bits a value is
twice the speed and half the disk of 64, and two different shingles share a minimum by chance once in 43,000 hashes for
a document of 100,000 words, where a band of eight must agree.
"""

from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from tilth.filters.dedup.shingles import Shingles
from tilth.filters.kernel import kernel

Bits = Literal[32, 64]
_BLOCK: Final = 8  # shingles taken together


def signatures(shingles: Shingles, hashes: int, bits: Bits = 32, seed: int = 1) -> npt.NDArray[np.unsignedinteger]:
    """Return the signatures: uint32 or uint64 of shape (documents, hashes); all ones for one without shingles."""
    multipliers, offsets = orders(hashes, bits, seed)
    kind = multipliers.dtype.type
    values = np.full((len(shingles.rows) - 1, hashes), np.iinfo(kind).max, kind)
    taken = (shingles.hashes >> np.uint64(64 - bits)).astype(kind)
    minima = _minima_32 if bits == 32 else _minima_64
    minima(taken, shingles.rows, multipliers, offsets, values)
    return values


def orders(hashes: int, bits: Bits, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the multipliers (odd) and offsets of the random orders x -> a x + b modulo 2**bits."""
    generator = np.random.Generator(np.random.PCG64(seed))
    kind = np.uint32 if bits == 32 else np.uint64
    drawn = generator.integers(0, 2**64, (2, hashes), np.uint64) >> np.uint64(64 - bits)
    return (drawn[0] | np.uint64(1)).astype(kind), drawn[1].astype(kind)


@kernel
def _minima_32(
    shingles: np.ndarray, rows: np.ndarray, multipliers: np.ndarray, offsets: np.ndarray, values: np.ndarray
) -> None:
    """Write the minima of every document's shingles (uint32)."""
    hashes = len(multipliers)
    for document in range(len(rows) - 1):
        place, end = rows[document], rows[document + 1]
        row = values[document]
        while place + _BLOCK <= end:
            s0, s1, s2, s3 = shingles[place], shingles[place + 1], shingles[place + 2], shingles[place + 3]
            s4, s5, s6, s7 = shingles[place + 4], shingles[place + 5], shingles[place + 6], shingles[place + 7]
            for k in range(hashes):
                a, b = multipliers[k], offsets[k]
                low = min(np.uint32(a * s0 + b), np.uint32(a * s1 + b))
                low = min(low, min(np.uint32(a * s2 + b), np.uint32(a * s3 + b)))
                low = min(low, min(np.uint32(a * s4 + b), np.uint32(a * s5 + b)))
                low = min(low, min(np.uint32(a * s6 + b), np.uint32(a * s7 + b)))
                row[k] = min(row[k], low)
            place += _BLOCK
        while place < end:
            one = shingles[place]
            for k in range(hashes):
                row[k] = min(row[k], np.uint32(multipliers[k] * one + offsets[k]))
            place += 1


@kernel
def _minima_64(
    shingles: np.ndarray, rows: np.ndarray, multipliers: np.ndarray, offsets: np.ndarray, values: np.ndarray
) -> None:
    """Write the minima of every document's shingles (uint64)."""
    hashes = len(multipliers)
    for document in range(len(rows) - 1):
        row = values[document]
        for place in range(rows[document], rows[document + 1]):
            one = shingles[place]
            for k in range(hashes):
                row[k] = min(row[k], np.uint64(multipliers[k] * one + offsets[k]))
