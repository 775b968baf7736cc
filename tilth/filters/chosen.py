"""What is left of a batch: words and lines of some of its documents, moved to where their bytes stand now.

Documents are recognised by their bytes, in their order. So nothing has to be said from stage to stage about who stayed,
and nothing can be said wrongly; comparing takes a fiftieth of splitting.
"""

import numpy as np
import numpy.typing as npt

from tilth.filters.kernel import kernel
from tilth.filters.lines import Lines
from tilth.filters.words import Words


def found_in(
    data: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    known: npt.NDArray[np.uint8],
    known_offsets: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64] | None:
    """Return which of the known documents the others are, ascending, int64; None where one is not among them.

    Document ``i`` is ``data[offsets[i] : offsets[i + 1]]``, and of the known ones likewise.
    """
    rows = np.empty(len(offsets) - 1, np.int64)
    data, known = data.view(), known.view()
    data.flags.writeable = known.flags.writeable = False  # the kernels are compiled for one kind of array only
    return rows if _find(data, offsets, known, known_offsets, rows) else None


def pieces_of(
    bounds: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the places of the pieces of documents ``rows`` (int64), and where each document's begin among them.

    Document ``i`` has the pieces from ``bounds[i]`` to ``bounds[i + 1]``.
    """
    firsts, counts = bounds[rows], bounds[rows + 1] - bounds[rows]
    begins = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    return np.repeat(firsts - begins[:-1], counts) + np.arange(begins[-1]), begins


def chosen_words(words: Words, rows: npt.NDArray[np.int64], shifts: npt.NDArray[np.int64]) -> Words:
    """Return the words of documents ``rows``, each document's ``shifts`` bytes further in the buffer."""
    places, begins = pieces_of(words.rows, rows)
    moved = np.repeat(shifts, np.diff(begins))
    return Words(
        words.starts[places] + moved, words.ends[places] + moved, begins, words.lengths[places], words.classes[places]
    )


def chosen_lines(lines: Lines, rows: npt.NDArray[np.int64], shifts: npt.NDArray[np.int64]) -> Lines:
    """Return the lines of documents ``rows``, each document's ``shifts`` bytes further in the buffer."""
    places, begins = pieces_of(lines.rows, rows)
    moved = np.repeat(shifts, np.diff(begins))
    return Lines(lines.starts[places] + moved, lines.ends[places] + moved, begins)


@kernel
def _find(
    data: np.ndarray, offsets: np.ndarray, known: np.ndarray, known_offsets: np.ndarray, rows: np.ndarray
) -> bool:
    """Fill in where each text stands among the known ones, from the first to the last; False where one does not."""
    row = 0
    for text in range(len(offsets) - 1):
        start, size = offsets[text], offsets[text + 1] - offsets[text]
        while row < len(known_offsets) - 1:
            other = known_offsets[row]
            if known_offsets[row + 1] - other == size:
                differs = np.uint8(0)
                for at in range(size):  # to the end, so that it takes many bytes at a time
                    differs |= data[start + at] ^ known[other + at]
                if differs == 0:
                    break
            row += 1
        if row == len(known_offsets) - 1:
            return False
        rows[text] = row
        row += 1
    return True
