"""The texts of a batch with their words and lines, split when a rule first asks and then shared by all rules."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tilth.corpus.document import utf8_buffers
from tilth.filters.lines import Lines, split_lines
from tilth.filters.words import Words, split_words


@dataclass(frozen=True, eq=False)
class Texts:
    """Document ``i`` is the UTF-8 ``data[offsets[i] : offsets[i + 1]]``: ``data`` uint8, ``offsets`` int64."""

    data: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]

    @classmethod
    def of(cls, text: pa.Array) -> "Texts":
        """Read a string array without copying its bytes."""
        return cls(*utf8_buffers(text))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def words(self) -> Words:
        """The words of all documents, split as spaCy does."""
        return split_words(self.data, self.offsets)

    @cached_property
    def lines(self) -> Lines:
        """The lines of all documents, split as ``str.splitlines`` does."""
        return split_lines(self.data, self.offsets)
