"""How much of a document a fastText model reads: all of it, its first bytes, or one paragraph at a time.

The mean over a long document blurs what a reader sees in its first screen; a page that is half menu scores as its
average. Which view is right is the user's to say, so it is a value that travels with the model, and training reads what
scoring reads.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numba import njit

from tilth.corpus.document import utf8_buffers
from tilth.corpus.errors import UserError


@dataclass(frozen=True)
class Reading:
    """``first_bytes``: at most so many, to the end of the last whole word, 0 for all. ``paragraphs``: one by one.

    Paragraphs are parted by empty lines; a document's score is the mean of theirs, weighted by bytes.
    """

    first_bytes: int = 0
    paragraphs: bool = False

    def __post_init__(self) -> None:
        """Raise ``UserError`` for a number of bytes that makes no sense."""
        if self.first_bytes < 0:
            raise UserError(f"scorer: first_bytes: found {self.first_bytes}, expected 0 (all) or more; correct it")


WHOLE = Reading()


def beginnings(text: pa.Array, first_bytes: int) -> pa.Array:
    """Return the first ``first_bytes`` bytes of every text, cut before the word that would be broken."""
    if first_bytes == 0:
        return text
    data, offsets = utf8_buffers(text)
    stops = np.empty(len(text), np.int64)
    cut_words(data, offsets, first_bytes, stops)
    return gathered(data, offsets[:-1], stops)


def paragraphs(text: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """Return all paragraphs of all texts, and the row of the text (int64) that each is from; an empty text has one."""
    data, offsets = utf8_buffers(text)
    most = int(offsets[-1] - offsets[0]) // 3 + len(text) + 1
    starts, stops, rows = (np.empty(most, np.int64) for _ in range(3))
    count = int(split_paragraphs(data, offsets, starts, stops, rows))
    return gathered(data, starts[:count], stops[:count]), rows[:count]


def mean_by_row(values: np.ndarray, weights: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """Return the weighted mean (float64) of the values of each of ``count`` rows, none of which is without one."""
    weights = np.maximum(weights, 1)  # of an empty text, so that its one paragraph counts
    return np.asarray(np.bincount(rows, values * weights, count) / np.bincount(rows, weights, count))


def gathered(data: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> pa.Array:
    """Return the pieces ``data[start:stop]`` as one large string array."""
    offsets = np.concatenate([[0], np.cumsum(stops - starts)]).astype(np.int64)
    pieces = np.empty(int(offsets[-1]), np.uint8)
    copy_pieces(data, starts, offsets, pieces)
    return pa.LargeStringArray.from_buffers(len(starts), pa.py_buffer(offsets), pa.py_buffer(pieces))


@njit(cache=True, nogil=True)
def copy_pieces(data: np.ndarray, starts: np.ndarray, offsets: np.ndarray, pieces: np.ndarray) -> None:
    """Copy every piece to its place."""
    for piece in range(len(starts)):
        shift = starts[piece] - offsets[piece]
        for place in range(offsets[piece], offsets[piece + 1]):
            pieces[place] = data[place + shift]


@njit(cache=True, nogil=True)
def cut_words(data: np.ndarray, offsets: np.ndarray, first_bytes: int, stops: np.ndarray) -> None:
    """Write where the beginning of every text ends: after its last whole word, or inside a word that fills it all."""
    for text in range(len(stops)):
        start, end = offsets[text], offsets[text + 1]
        stop = start + first_bytes
        if stop >= end:
            stops[text] = end
            continue
        while stop > start and data[stop] & 0xC0 == 0x80:  # inside a character
            stop -= 1
        place = stop
        while place > start and data[place] > 32:
            place -= 1
        stops[text] = place if place > start else stop


@njit(cache=True, nogil=True)
def split_paragraphs(
    data: np.ndarray, offsets: np.ndarray, starts: np.ndarray, stops: np.ndarray, rows: np.ndarray
) -> int:
    """Write start, stop and text of every paragraph; return their number. Blank lines of spaces count as empty."""
    count = 0
    for text in range(len(offsets) - 1):
        first = count
        end = offsets[text + 1]
        start = place = offsets[text]
        filled = False  # the paragraph has a byte above a space
        blank = True  # the line so far has none
        last = place  # after the last such byte
        while place < end:
            byte = data[place]
            if byte == 10:
                if blank and filled:
                    starts[count], stops[count], rows[count] = start, last, text
                    count += 1
                    filled = False
                if not filled:
                    start = place + 1
                blank = True
            elif byte > 32:
                blank = False
                filled = True
                last = place + 1
            place += 1
        if filled or count == first:
            starts[count], stops[count], rows[count] = start, last if filled else end, text
            count += 1
    return count
