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
import pyarrow.compute as pc

from tilth.corpus.document import ID, halves
from tilth.corpus.stage import Effect, GroupStage, Outcome, drop_rows
from tilth.filters.dedup.survivor import ANY, Preference
from tilth.filters.dedup.units import describe, units_of
from tilth.filters.kernel import kernel
from tilth.filters.texts import Texts


@dataclass(frozen=True)
class SameWords(GroupStage):
    """Drop every document whose words another one has that comes before it in the order of ``preference``."""

    preference: Preference = ANY

    version: ClassVar[int] = 1
    effect: ClassVar[Effect] = Effect.DROPS
    columns: ClassVar[tuple[str, ...]] = ("text", "date")

    @property
    def needs(self) -> tuple[str, ...]:
        """The quality that survivors are chosen by."""
        return self.preference.needs

    def describe(self) -> dict[str, Any]:
        """Add the normalisation and the version of Unicode it follows."""
        return {**super().describe(), **describe()}

    def keys(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Key every document by its words, with its place in the order."""
        units = units_of(Texts.of(batch.column("text")))
        keys = halves(batch.column("digest")).copy() if batch.num_rows else np.zeros((0, 2), np.uint64)
        fold_units(units.hashes, units.rows, keys)
        key = pa.FixedSizeBinaryArray.from_buffers(ID, batch.num_rows, [None, pa.py_buffer(keys.tobytes())])
        arrays = [key, batch.column("id"), self.preference.order(batch)]
        return pa.RecordBatch.from_arrays(arrays, names=["key", "id", "order"])

    def reduce(self, rows: pa.Table) -> pa.Table:
        """Return a row for every document but the best of its group, with the best one's id as ``other``."""
        rows = rows.sort_by([("key", "ascending"), ("order", "ascending"), ("id", "ascending")]).combine_chunks()
        keys = halves(rows.column("key").combine_chunks()) if rows.num_rows else np.zeros((0, 2), np.uint64)
        first = np.ones(rows.num_rows, bool)
        first[1:] = (keys[1:] != keys[:-1]).any(axis=1)
        survivor = np.flatnonzero(first)[np.cumsum(first) - 1]
        rows = rows.append_column("other", rows.column("id").take(pa.array(survivor, pa.int64())))
        return rows.filter(pa.array(~first)).select(["id", "home", "other"])

    def apply(self, batch: pa.RecordBatch, rows: pa.Table) -> Outcome:
        """Drop the documents that ``rows`` speak about, naming who stayed."""
        place = pc.index_in(batch.column("id"), value_set=rows.column("id").combine_chunks().cast(ID))
        mask = pc.is_valid(place).to_numpy(zero_copy_only=False)
        other = rows.column("other").combine_chunks().take(place.drop_null())
        drops = drop_rows(batch, mask, self.name, "same_words", other=other)
        return Outcome(batch.filter(pa.array(~mask)), drops)


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
