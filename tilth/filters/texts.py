"""The texts of a batch with their words, lines and paragraphs, split when a rule first asks and then shared by all.

Also by the stages of one pass: what a stage lets through enters the next one in another buffer, and what was found in
it before goes along (``tilth.filters.chosen``). With four sets of rules in a recipe it saves three splittings of four.
"""

import threading
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tilth.corpus.document import utf8_buffers
from tilth.filters.chosen import chosen_lines, chosen_words, found_in
from tilth.filters.chunks import split_chunks
from tilth.filters.lines import Lines, split_feeds, split_lines, strip_texts
from tilth.filters.utf8 import count_characters
from tilth.filters.words import Words, split_words


class Finding(Protocol):
    """What a preset found in the documents of a batch."""

    def chosen(self, rows: npt.NDArray[np.int64], shifts: npt.NDArray[np.int64]) -> Self:
        """Return it for the documents ``rows``, each document's ``shifts`` bytes further in the buffer."""


@dataclass(frozen=True, eq=False)
class Texts:
    """Document ``i`` is the UTF-8 ``data[offsets[i] : offsets[i + 1]]``: ``data`` uint8, ``offsets`` int64."""

    data: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]

    @classmethod
    def of(cls, text: pa.Array) -> "Texts":
        """Read a string array without copying its bytes."""
        return cls(*utf8_buffers(text))

    @classmethod
    def shared(cls, text: pa.Array) -> "Texts":
        """Read a string array as ``of`` does, and keep what was found in the same texts by whoever read them before.

        For the stages of a pass: the texts that this thread read last with ``shared`` are remembered.
        """
        texts = cls.of(text)
        known: Texts | None = getattr(_recent, "texts", None)
        if known is not None and known.has_words:
            if texts._is(known):
                return known
            rows = found_in(texts.data, texts.offsets, known.data, known.offsets)
            if rows is not None:
                texts._take(known, rows)
        _recent.texts = texts
        return texts

    def _is(self, other: "Texts") -> bool:
        """Tell whether both are the same rows of one buffer."""
        return self.data.ctypes.data == other.data.ctypes.data and np.array_equal(self.offsets, other.offsets)

    def _take(self, known: "Texts", rows: npt.NDArray[np.int64]) -> None:
        """Take over what was found in ``known``, of which these are the documents ``rows``."""
        shifts = self.offsets[:-1] - known.offsets[rows]
        self.__dict__["words"] = chosen_words(known.words, rows, shifts)
        if "lines" in known.__dict__:
            self.__dict__["lines"] = chosen_lines(known.lines, rows, shifts)
        for name, finding in known.findings.items():
            self.findings[name] = finding.chosen(rows, shifts)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def findings(self) -> dict[str, Finding]:
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
