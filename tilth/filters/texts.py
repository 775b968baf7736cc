"""The texts of a batch with their words, lines and paragraphs, split when a rule first asks and then shared by all.

Also by the stages of one pass: what a stage lets through enters the next one in another buffer, and its words are those
that were split before, moved. Texts are recognised by their bytes, so nothing has to be said from stage to stage, and
nothing can be said wrongly. With four sets of rules in a recipe it saves three splittings of four.
"""

import threading
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tilth.corpus.document import utf8_buffers
from tilth.filters.chunks import split_chunks
from tilth.filters.kernel import kernel
from tilth.filters.lines import Lines, split_feeds, split_lines, strip_texts
from tilth.filters.repeats import WordHashes, hash_words
from tilth.filters.utf8 import count_characters
from tilth.filters.words import Words, split_words


@dataclass(frozen=True, eq=False)
class Texts:
    """Document ``i`` is the UTF-8 ``data[offsets[i] : offsets[i + 1]]``: ``data`` uint8, ``offsets`` int64."""

    data: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]

    @classmethod
    def of(cls, text: pa.Array) -> "Texts":
        """Read a string array without copying its bytes; what is known of the same texts from just before is kept."""
        texts = cls(*utf8_buffers(text))
        known: Texts | None = getattr(_recent, "texts", None)
        if known is not None and known.has_words:
            if texts._is(known):
                return known
            rows = found_in(texts, known)
            if rows is not None:
                shifts = texts.offsets[:-1] - known.offsets[rows]
                texts.__dict__["words"] = chosen_words(known.words, rows, shifts)
        _recent.texts = texts
        return texts

    def _is(self, other: "Texts") -> bool:
        """Tell whether both are the same rows of one buffer."""
        return self.data.ctypes.data == other.data.ctypes.data and np.array_equal(self.offsets, other.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def findings(self) -> dict[str, Any]:
        """What a preset found and asks for again, by a name of its own: verdicts on lines measure and edit a text."""
        return {}

    @cached_property
    def words(self) -> Words:
        """The words of all documents, split as spaCy does."""
        return split_words(self.data, self.offsets)

    @property
    def has_words(self) -> bool:
        """Whether a rule has asked for the words, so that they cost nothing more."""
        return "words" in self.__dict__

    @cached_property
    def word_hashes(self) -> WordHashes:
        """The hashes of all words."""
        return hash_words(self.data, self.words)

    @cached_property
    def lines(self) -> Lines:
        """The lines of all documents, split as ``str.splitlines`` does."""
        return split_lines(self.data, self.offsets)

    @cached_property
    def chunks(self) -> Words:
        """The words of all documents, split at white space as ``str.split`` does."""
        return split_chunks(self.data, self.offsets)

    @cached_property
    def every_line(self) -> Lines:
        """What stands between line feeds, empty lines too, as ``text.split("\\n")`` gives it."""
        return split_feeds(self.data, self.offsets[:-1], self.offsets[1:], 0)

    @cached_property
    def fed_lines(self) -> Lines:
        """What stands between runs of line feeds, as ``re.split("\\n+", text)`` gives it."""
        return split_feeds(self.data, self.offsets[:-1], self.offsets[1:], 1)

    @cached_property
    def paragraphs(self) -> Lines:
        """What stands between runs of at least two line feeds in the text without its outer white space."""
        return split_feeds(self.data, *strip_texts(self.data, self.offsets[:-1], self.offsets[1:]), 2)

    @cached_property
    def characters(self) -> npt.NDArray[np.int64]:
        """The code points of every document."""
        return count_characters(self.data, self.offsets)


_recent = threading.local()  # the texts that this thread read last: a batch of them at most


def found_in(texts: Texts, known: Texts) -> npt.NDArray[np.int64] | None:
    """Return which rows of ``known`` hold the texts, in the same order, int64; None where one is not among them."""
    rows = np.empty(len(texts), np.int64)
    buffers = [each.data.view() for each in (texts, known)]
    for data in buffers:
        data.flags.writeable = False  # the kernels are compiled for one kind of array only
    return rows if _find(buffers[0], texts.offsets, buffers[1], known.offsets, rows) else None


def chosen_words(words: Words, rows: npt.NDArray[np.int64], shifts: npt.NDArray[np.int64]) -> Words:
    """Return the words of some documents, whose bytes stand ``shifts`` further in their own buffer."""
    firsts, counts = words.rows[rows], words.rows[rows + 1] - words.rows[rows]
    bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    places = np.repeat(firsts - bounds[:-1], counts) + np.arange(bounds[-1])
    moved = np.repeat(shifts, counts)
    return Words(
        words.starts[places] + moved, words.ends[places] + moved, bounds, words.lengths[places], words.classes[places]
    )


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
