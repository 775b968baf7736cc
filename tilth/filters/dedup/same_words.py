"""Exact deduplication by normalised text: of the documents with the same words in the same order, the best stays.

The normalisation is ``words@1`` (see ``units``): case, punctuation and white space do not count, digits and accents do.
Texts without a word are the same where their bytes are. A key is 128 bits of two independent foldings of the words'
hashes, so that among a billion documents a false match is expected once in 10^20 corpora.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tilth.corpus.document import ID, halves
from tilth.filters.dedup.units import describe, units_of
from tilth.filters.exact import ExactDuplicates
from tilth.filters.kernel import kernel
from tilth.filters.texts import Texts


@dataclass(frozen=True)
class SameWords(ExactDuplicates):
    """Drop every document whose words another one has that comes before it in the order of ``preference``."""

    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]] = ("text", "date")
    rule: ClassVar[str] = "same_words"

    def describe(self) -> dict[str, Any]:
        """Add the normalisation and the version of Unicode it follows."""
        return {**super().describe(), **describe()}

    def same(self, batch: pa.RecordBatch) -> pa.Array:
        """Return a folding of every document's words; the digest of a text without any."""
        units = units_of(Texts.of(batch.column("text")))
        keys = halves(batch.column("digest")).copy() if batch.num_rows else np.zeros((0, 2), np.uint64)
        fold_units(units.hashes, units.rows, keys)
        return pa.FixedSizeBinaryArray.from_buffers(ID, batch.num_rows, [None, pa.py_buffer(keys.tobytes())])


@kernel
def fold_units(hashes: npt.NDArray[np.uint64], rows: npt.NDArray[np.int64], keys: npt.NDArray[np.uint64]) -> None:
    """Overwrite the key (two uint64) of every document that has units with a folding of these, in their order."""
    for document in range(len(rows) - 1):
        if rows[document] == rows[document + 1]:
            continue
        low, high = np.uint64(0), np.uint64(1)
        for unit in range(rows[document], rows[document + 1]):
            low = np.uint64((low ^ hashes[unit]) * np.uint64(0xBF58476D1CE4E5B9))
            low ^= low >> np.uint64(31)
            high = np.uint64((high + hashes[unit]) * np.uint64(0x94D049BB133111EB))
            high ^= high >> np.uint64(29)
        keys[document, 0], keys[document, 1] = low, high
