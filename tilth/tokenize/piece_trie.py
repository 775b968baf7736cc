"""Pieces as a double-array trie in flat arrays: one addition and one comparison for each byte that is followed.

Aoe 1989, "An efficient digital search algorithm by using a double-array structure". A state is a slot: following a byte
leads to the slot at the state's base plus the byte, which must hold that byte as its label. Bases are unique, so the
label alone proves the parent. 32,000 pieces take about 0.6 MB for the units that the search reads, which stays near the
processor, and less than a tenth of a second to build.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np

# A unit (uint32): the base from bit 10 on, bit 9 where a piece ends here, the label below. 256 labels no byte.
BASE_BITS, ENDS, LABELS = 10, 512, 511
MOST_SLOTS = 1 << 22  # what the bits above hold
_NO_BYTE = 256
_CROWDED = 0.95  # share of taken slots beyond which the search for free ones does not begin there again


@dataclass(frozen=True)
class PieceTrie:
    """``units`` (uint32, slots) is followed; ``pieces`` (int32, slots) numbers the piece that ends there, or -1."""

    units: np.ndarray
    pieces: np.ndarray


def build_trie(pieces: Sequence[tuple[bytes, int]]) -> PieceTrie | None:
    """Return the trie of pieces and their numbers, or nothing where they take more than ``MOST_SLOTS``.

    The pieces are distinct, none is empty, and there is at least one.
    """
    ordered = sorted(pieces)
    data = np.frombuffer(b"".join(piece for piece, _ in ordered), np.uint8)
    starts = np.zeros(len(ordered) + 1, np.int64)
    np.cumsum([len(piece) for piece, _ in ordered], out=starts[1:])
    numbers = np.array([number for _, number in ordered], np.int32)
    units, ends, slots = _place(data, starts, numbers)
    return PieceTrie(units[:slots].copy(), ends[:slots].copy()) if slots else None


@numba.njit(cache=True, nogil=True)
def _place(data: np.ndarray, starts: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Return units, the numbers of the pieces that end in them, and how many slots are used: 0 where too many.

    ``data`` (uint8) holds the sorted pieces, piece ``i`` at ``starts[i]:starts[i + 1]``; ``numbers`` is int32.
    """
    room = 1 << 12
    units = np.full(room, _NO_BYTE, np.uint32)
    ends = np.full(room, -1, np.int32)
    taken_base = np.zeros(room, np.bool_)
    # states whose children wait to be placed: their slots, their pieces (first, after the last), their depths
    waiting = [(0, 0, len(numbers), 0)]
    labels = np.empty(256, np.int64)
    firsts = np.empty(257, np.int64)
    begin, used = 1, 1  # slot 0 is the root; a base of 0 means no children
    while waiting:
        slot, first, after, depth = waiting.pop()
        if starts[first + 1] - starts[first] == depth:  # the shortest piece sorts first
            ends[slot] = numbers[first]
            units[slot] |= np.uint32(ENDS)
            first += 1
        if first == after:
            continue
        children = 0
        for piece in range(first, after):
            byte = np.int64(data[starts[piece] + depth])
            if children == 0 or labels[children - 1] != byte:
                labels[children] = byte
                firsts[children] = piece
                children += 1
        firsts[children] = after
        place = max(begin, labels[0] + 1)
        taken = 0
        while True:
            if place + 512 > room:
                room *= 2
                if room > MOST_SLOTS:
                    return units, ends, 0
                more_units = np.full(room, _NO_BYTE, np.uint32)
                more_units[: len(units)] = units
                more_ends = np.full(room, -1, np.int32)
                more_ends[: len(ends)] = ends
                more_taken = np.zeros(room, np.bool_)
                more_taken[: len(taken_base)] = taken_base
                units, ends, taken_base = more_units, more_ends, more_taken
            base = place - labels[0]
            fits = not taken_base[base]
            if (units[place] & np.uint32(LABELS)) != _NO_BYTE or place == 0:
                fits = False
                taken += 1
            child = 1
            while fits and child < children:
                fits = (units[base + labels[child]] & np.uint32(LABELS)) == _NO_BYTE
                child += 1
            if fits:
                break
            place += 1
        if place > begin and taken >= _CROWDED * (place - begin):
            begin = place
        taken_base[base] = True
        units[slot] |= np.uint32(base << BASE_BITS)
        for child in range(children):
            target = base + labels[child]
            units[target] = np.uint32(labels[child])
            used = max(used, target + 1)
            waiting.append((target, firsts[child], firsts[child + 1], depth + 1))
    # any byte may follow any state: what it leads to is read, so it must exist
    return units, ends, used + 256
