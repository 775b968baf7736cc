"""Cuts passages of ``n`` words or more that the corpus holds more than once, whole lines or not.

A suffix array of the corpus finds them in memory of several times its text (over 600 GB for C4, Lee et al. 2022). A row
for every window of n words finds them too, with ten times the text in a shuffle. Here two rounds give the same
guarantee for a fraction: first, winnowing (Schleimer, Wilkerson and Aiken 2003) picks about one in n/4 of the runs of
n/2 words, by their content alone, so that two equal passages of n words always pick the same one; then only windows
around picks that stand twice are keyed. Every pair of equal windows of n words meets, and none meets without 128 equal
bits.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tilth.corpus.document import DOCUMENT
from tilth.corpus.errors import UserError
from tilth.corpus.stage import Effect, GroupStage, Outcome
from tilth.filters.dedup.candidates import lists_of
from tilth.filters.dedup.survivor import ANY, Preference
from tilth.filters.dedup.units import describe, units_of
from tilth.filters.dedup.windows import ROW_BYTES, Spans, cut, keyed_windows, repeated, window_keys
from tilth.filters.kernel import kernel
from tilth.filters.texts import Texts

RULE = "repeated_passage"


@dataclass(frozen=True)
class Anchors(GroupStage):
    """Add the list ``signal``: the words (int64, from 0) where a picked run begins that stands more than once."""

    signal: str
    n: int = 50

    version: ClassVar[int] = 1
    effect: ClassVar[Effect] = Effect.MEASURES

    def __post_init__(self) -> None:
        """Raise ``UserError`` for passages too short to be told from phrases."""
        if self.n < 8:
            raise UserError(f"{self.name}: found n = {self.n}, expected at least 8 words")

    @property
    def measures(self) -> tuple[str, ...]:
        """The one list."""
        return (self.signal,)

    def describe(self) -> dict[str, Any]:
        """Add the normalisation and the version of Unicode it follows."""
        return {**super().describe(), **describe()}

    def keyed_bytes(self, documents: int, size: int) -> int:
        """One row for n/4 words of six bytes."""
        return size * ROW_BYTES * 4 // (self.n * 6) + documents

    def keys(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Key the picked runs of half a passage."""
        units = units_of(Texts.of(batch.column("text")))
        keys, places = window_keys(units.hashes, units.rows, self.n // 2)
        picked = winnow(keys[:, 0], places, self.n - self.n // 2 + 1)
        documents = np.searchsorted(places, picked, side="right") - 1
        zeros = pa.array(np.zeros(batch.num_rows, np.int8))
        return keyed_windows(keys[picked], documents, picked - places[documents], batch.column("id"), zeros).select(
            ["key", "id", "start"]
        )

    def reduce(self, rows: pa.Table) -> pa.Table:
        """Return (id, home, start) of the runs whose key stands more than once."""
        keys = np.frombuffer(rows.column("key").combine_chunks().buffers()[1] if rows.num_rows else b"", np.uint64)
        keys = keys[: rows.num_rows * 2].reshape(-1, 2)
        same = (keys[1:] == keys[:-1]).all(axis=1)
        several = np.append(False, same) | np.append(same, False) if rows.num_rows else np.zeros(0, bool)
        return rows.select(["id", "home", "start"]).filter(pa.array(several))

    def apply(self, batch: pa.RecordBatch, rows: pa.Table) -> Outcome:
        """Gather the places of every document, ascending."""
        (places,) = lists_of(batch.column("id"), rows.sort_by([("id", "ascending"), ("start", "ascending")]), ["start"])
        return Outcome(batch, signals={self.signal: places})


@dataclass(frozen=True)
class RepeatedPassages(GroupStage):
    """Cut every passage of ``n`` words that a better document, or this one before, holds too."""

    anchors: str
    n: int = 50
    preference: Preference = ANY

    version: ClassVar[int] = 2
    effect: ClassVar[Effect] = Effect.EDITS
    columns: ClassVar[tuple[str, ...]] = tuple(DOCUMENT.names)

    @property
    def needs(self) -> tuple[str, ...]:
        """Where to look, and the quality that survivors are chosen by."""
        return (self.anchors, *self.preference.needs)

    def describe(self) -> dict[str, Any]:
        """Add the normalisation and the version of Unicode it follows."""
        return {**super().describe(), **describe()}

    def keyed_bytes(self, documents: int, size: int) -> int:
        """Two rows a word, in the quarter of the words that stand near a repeated run at worst."""
        return size * ROW_BYTES // 12

    def keys(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Key the windows that hold a repeated run."""
        batch = batch.filter(pc.greater(pc.list_value_length(batch.column(self.anchors)), 0))
        units = units_of(Texts.of(batch.column("text")))
        keys, places = window_keys(units.hashes, units.rows, self.n)
        column = batch.column(self.anchors)
        documents = pc.list_parent_indices(column).to_numpy()
        anchors = pc.list_flatten(column).to_numpy()
        wanted = np.zeros(len(keys) + 1, np.int64)
        # the windows that hold the run at word a begin from a + n/2 - n to a
        last = np.diff(places)[documents]
        low = np.clip(anchors + self.n // 2 - self.n, 0, last)
        high = np.clip(anchors + 1, 0, last)
        np.add.at(wanted, places[documents] + low, 1)
        np.add.at(wanted, places[documents] + high, -1)
        chosen = np.flatnonzero(np.cumsum(wanted)[:-1] > 0)
        own = np.searchsorted(places, chosen, side="right") - 1
        order = self.preference.order(batch)
        return keyed_windows(keys[chosen], own, chosen - places[own], batch.column("id"), order)

    def reduce(self, rows: pa.Table) -> pa.Table:
        """Return the windows that stand more than once, and which one stays."""
        return repeated(rows)

    def apply(self, batch: pa.RecordBatch, rows: pa.Table) -> Outcome:
        """Cut those that go."""
        batch = batch.select(DOCUMENT.names)
        units = units_of(Texts.of(batch.column("text")))
        return cut(batch, rows, Spans(units.starts, units.rows), self.n, self.name, RULE)


def winnow(hashes: npt.NDArray[np.uint64], rows: npt.NDArray[np.int64], window: int) -> npt.NDArray[np.int64]:
    """Return the places of the least hash of every run of ``window`` hashes, the last of equals; ascending, each once.

    Document ``i`` has the hashes from ``rows[i]`` to ``rows[i + 1]``; one with fewer than ``window`` picks nothing.
    """
    picked = np.empty(len(hashes), np.int64)
    queue = np.empty(window + 1, np.int64)
    count = _winnow(np.ascontiguousarray(hashes), rows, window, queue, picked)
    return picked[:count]


@kernel
def _winnow(hashes: np.ndarray, rows: np.ndarray, window: int, queue: np.ndarray, picked: np.ndarray) -> int:
    """Keep a queue of places whose hashes ascend; its head is the least of the window."""
    count = 0
    size = len(queue)
    for document in range(len(rows) - 1):
        head = tail = 0
        last = -1
        for place in range(rows[document], rows[document + 1]):
            while tail > head and hashes[queue[(tail - 1) % size]] >= hashes[place]:
                tail -= 1
            queue[tail % size] = place
            tail += 1
            if queue[head % size] <= place - window:
                head += 1
            if place - rows[document] + 1 >= window and queue[head % size] != last:
                last = queue[head % size]
                picked[count] = last
                count += 1
    return count
