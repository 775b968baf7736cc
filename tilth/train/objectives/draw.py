"""Random numbers that are a function of (seed, sample, place), without a generator to carry along.

SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators", figure 13): a counter, mixed.
Its numbers are the same on every machine and in every version of NumPy, and a draw costs about a nanosecond.
"""

import numba
import numpy as np

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
FIRST, SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
UNIT = 2.0**-53  # the upper 53 bits of a draw make a float64 from 0 to below 1


@numba.njit(cache=True, nogil=True, inline="always")
def mix(value: np.uint64) -> np.uint64:
    """Return 64 bits that look nothing like ``value``: a bijection."""
    value = (value ^ (value >> np.uint64(30))) * FIRST
    value = (value ^ (value >> np.uint64(27))) * SECOND
    return value ^ (value >> np.uint64(31))


@numba.njit(cache=True, nogil=True, inline="always")
def drawn(state: np.uint64, number: int) -> np.uint64:
    """Return draw ``number`` (from 0) of the generator that begins with ``state``."""
    return mix(state + GOLDEN * np.uint64(number + 1))


@numba.njit(cache=True, nogil=True, inline="always")
def unit(bits: np.uint64) -> float:
    """Turn 64 random bits into a float64 from 0 to below 1."""
    return float(bits >> np.uint64(11)) * UNIT


@numba.njit(cache=True, nogil=True)
def stream(seed: int, sample: int, purpose: int) -> np.uint64:
    """Return the state that begins the draws for one sample and one purpose."""
    state = mix(np.uint64(seed) + GOLDEN)
    state = mix((state ^ np.uint64(purpose)) + GOLDEN)
    return mix((state ^ np.uint64(sample)) + GOLDEN)
