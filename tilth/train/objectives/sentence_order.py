"""Masked language modelling and, of two neighbouring stretches of text, which came first.

ALBERT's objective (Lan et al. 2020, section 3.1): it cannot be solved by topic, as next-sentence prediction can. A row
is class token, first segment, separator, second segment, separator; the text is cut inside a document, in the middle
half of the row, and exchanged for every second sample.
"""

from dataclasses import dataclass

import numba
import numpy as np

from tilth.train.objectives.batch import Batch
from tilth.train.objectives.draw import drawn, stream, unit
from tilth.train.objectives.masked import Masking
from tilth.train.objectives.vocabulary import Vocabulary

ORDER = 2  # the purpose of these draws, as ``stream`` has it
ADDED = 3  # tokens of a row that are not text: class, separator, separator
LEAST = 16  # positions: enough for a cut with text on both sides


@dataclass(frozen=True, eq=False)
class SentenceOrder:
    """Pairs of segments in their order or exchanged, some of their tokens hidden."""

    masking: Masking
    vocabulary: Vocabulary

    def collate(self, rows: np.ndarray, first: int) -> Batch:
        """Return the batch of samples ``first`` on."""
        positions = rows.shape[1] - 1
        labels = np.empty((len(rows), positions), np.int64)
        types = np.empty_like(labels)
        order = np.empty(len(rows), np.int64)
        vocabulary = self.vocabulary
        text = np.ascontiguousarray(rows, np.int64)
        arrange(text, first, self.masking.seed, vocabulary.separator, vocabulary.first, labels, types, order)
        tokens, chosen = self.masking.apply(labels, first, vocabulary)
        asked = np.full_like(labels, -1)
        asked[:, 0] = order
        return Batch(tokens, labels, chosen, types=types, order=asked)


@numba.njit(cache=True, nogil=True)
def arrange(
    rows: np.ndarray,
    first: int,
    seed: int,
    separator: int,
    begin: int,
    out: np.ndarray,
    types: np.ndarray,
    order: np.ndarray,
) -> None:
    """Write every row as two segments. ``rows``: int64 (rows, positions + 1), of which the last four are not used.

    ``out`` and ``types`` (int64 (rows, positions)) and ``order`` (int64 (rows,)) are written.
    """
    positions = out.shape[1]
    text = positions - ADDED
    for row in range(len(rows)):
        state = stream(seed, first + row, ORDER)
        # as long before the cut as after it: lengths must not tell the order
        low, high = text // 4, text - text // 4 + 1
        start = low + np.int64(drawn(state, 0) % np.uint64(high - low))
        cut = start
        # not beside a separator: what follows it is another text, in no order with what precedes it
        for step in range(high - low):
            cut = low + (start - low + step) % (high - low)
            if rows[row, cut - 1] != separator and rows[row, cut] != separator:
                break
        exchanged = unit(drawn(state, 1)) < 0.5
        order[row] = 1 if exchanged else 0
        place = 1
        out[row, 0], types[row, 0] = begin, 0
        for segment in range(2):
            later = (segment == 0) == exchanged
            for each in range(cut if later else 0, text if later else cut):
                out[row, place], types[row, place] = rows[row, each], segment
                place += 1
            out[row, place], types[row, place] = separator, segment
            place += 1
