"""Whole documents packed into rows of one length: best fit, longest first, nothing cut that fits into a row.

Concatenating and cutting fills every row and cuts a document at each row's end; best fit cuts only what is longer than
a row (Ding et al. 2024, Fewer Truncations Improve Language Modeling). A piece goes into the fullest row that still has
room for it, found in about the square root of a row's length, so a million documents take a second.
"""

from dataclasses import dataclass

import numba
import numpy as np


@dataclass(frozen=True)
class Rows:
    """Pieces of a stream in rows. Row ``i`` has pieces ``firsts[i]`` to ``firsts[i + 1]``, in the stream's order."""

    firsts: np.ndarray  # int64 (rows + 1,)
    starts: np.ndarray  # int64 (pieces,): place in the stream
    lengths: np.ndarray  # int64 (pieces,): tokens

    @property
    def count(self) -> int:
        """Number of rows."""
        return len(self.firsts) - 1

    def used(self, overhead: int = 0) -> np.ndarray:
        """Return what every row holds, ``overhead`` more for each piece: int64 (rows,)."""
        sums = np.concatenate([np.zeros(1, np.int64), np.cumsum(self.lengths + overhead)])
        return np.asarray(np.diff(sums[self.firsts]))


def cut_long(starts: np.ndarray, lengths: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut documents into pieces of at most ``most`` tokens: starts and lengths, int64; empty ones have no piece."""
    counts = -(-lengths // most)
    within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    first = np.repeat(starts, counts) + within * most
    return first, np.minimum(np.repeat(starts + lengths, counts) - first, most)


def pack_whole(starts: np.ndarray, lengths: np.ndarray, capacity: int, overhead: int = 0) -> Rows:
    """Pack pieces (int64; each at most ``capacity - overhead``) into rows of ``capacity``, none of them cut.

    ``overhead`` tokens are added to each. The rows depend on the pieces alone.
    """
    sizes = lengths + overhead
    order = np.argsort(-sizes, kind="stable")
    row_of = np.empty(len(sizes), np.int64)
    row_of[order] = _best_fit(sizes[order], capacity)
    return _gathered(row_of, starts, lengths)


def pack_full(starts: np.ndarray, lengths: np.ndarray, capacity: int, overhead: int, fill: float) -> Rows:
    """Pack as ``pack_whole`` does, then pour the pieces of rows filled below ``fill`` into rows again, cutting them.

    So every row is filled to ``fill`` or within one piece's overhead and a token, but for the last.
    """
    rows = pack_whole(starts, lengths, capacity, overhead)
    poor = rows.used(overhead) < fill * capacity
    of_piece = np.repeat(poor, np.diff(rows.firsts))
    row_of = np.repeat(np.arange(rows.count), np.diff(rows.firsts))
    poured = _pour(rows.starts[of_piece], rows.lengths[of_piece], capacity, overhead)
    return _gathered(
        np.concatenate([row_of[~of_piece], poured[0] + rows.count]),
        np.concatenate([rows.starts[~of_piece], poured[1]]),
        np.concatenate([rows.lengths[~of_piece], poured[2]]),
    )


def _gathered(row_of: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> Rows:
    """Put pieces in the order of their rows, and rows in the order of their first pieces."""
    numbers, row_of = np.unique(row_of, return_inverse=True)
    first_start = np.full(len(numbers), np.iinfo(np.int64).max)
    np.minimum.at(first_start, row_of, starts)
    rank = np.empty(len(numbers), np.int64)
    rank[np.argsort(first_start, kind="stable")] = np.arange(len(numbers))
    order = np.lexsort((starts, rank[row_of]))
    counts = np.bincount(rank[row_of], minlength=len(numbers))
    return Rows(np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]), starts[order], lengths[order])


@numba.njit(cache=True, nogil=True)
def _best_fit(sizes: np.ndarray, capacity: int) -> np.ndarray:
    """Return the row (int64) of every piece, given their sizes (int64) with the largest first.

    Rows stand in stacks by the room they have left; a count for every ``width`` stacks lets a search skip empty ones.
    """
    width = int(np.sqrt(capacity)) + 1
    heads = np.full(capacity + 1, -1, np.int64)
    filled = np.zeros(capacity // width + 1, np.int64)
    following = np.empty(len(sizes), np.int64)
    row_of = np.empty(len(sizes), np.int64)
    rows = 0
    for piece in range(len(sizes)):
        size = sizes[piece]
        room = size
        while room <= capacity and heads[room] < 0:
            if room % width == 0 and filled[room // width] == 0:
                room += width
            else:
                room += 1
        if room <= capacity:
            row = heads[room]
            heads[room] = following[row]
            filled[room // width] -= 1
        else:
            row = rows
            rows += 1
            room = capacity
        row_of[piece] = row
        left = room - size
        following[row] = heads[left]
        heads[left] = row
        filled[left // width] += 1
    return row_of


@numba.njit(cache=True, nogil=True)
def _pour(
    starts: np.ndarray, lengths: np.ndarray, capacity: int, overhead: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fill rows one after the other, cutting pieces where a row ends: row, start and length of every new piece."""
    # every new piece ends a row or an old piece, and a row lacks at most ``overhead``
    most = len(lengths) + (lengths.sum() + overhead * len(lengths)) // (capacity - 2 * overhead) + 2
    row_of, first, size = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.int64)
    count = 0
    row = 0
    room = capacity
    for piece in range(len(lengths)):
        start, left = starts[piece], lengths[piece]
        while left > 0:
            if room <= overhead:
                row += 1
                room = capacity
            take = min(left, room - overhead)
            row_of[count], first[count], size[count] = row, start, take
            count += 1
            start += take
            left -= take
            room -= take + overhead
    return row_of[:count], first[:count], size[:count]
