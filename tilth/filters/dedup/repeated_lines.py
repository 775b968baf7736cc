"""Cuts lines or paragraphs that the corpus holds more than once: C4's rule of three, and its variants of n.

C4 removed all but one of any three sentences in a row that occurred twice (Raffel et al. 2020, section 2.2); here the
unit is a line or a paragraph, the run is ``n`` of them, and the cut is a recorded edit. Lines are compared lower-cased,
trimmed, every run of white space as one space; blank ones are not counted. A run of fewer than ``minimum_words`` words
is not compared: a closing brace or a heading is no duplicate.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa

from tilth.corpus.document import DOCUMENT
from tilth.corpus.errors import UserError
from tilth.corpus.stage import Effect, GroupStage, Outcome
from tilth.filters.characters import SPACE, character_classes
from tilth.filters.dedup.survivor import ANY, Preference
from tilth.filters.dedup.units import describe, lower_case
from tilth.filters.dedup.windows import ROW_BYTES, Spans, cut, keyed_windows, repeated, window_keys
from tilth.filters.kernel import kernel
from tilth.filters.texts import Texts
from tilth.filters.utf8 import decode

Unit = Literal["lines", "paragraphs"]


@dataclass(frozen=True)
class RepeatedLines(GroupStage):
    """Cut every run of ``n`` ``unit`` that a better document, or this one before, holds too."""

    unit: Unit = "lines"
    n: int = 3
    minimum_words: int = 10
    preference: Preference = ANY

    version: ClassVar[int] = 2
    effect: ClassVar[Effect] = Effect.EDITS
    columns: ClassVar[tuple[str, ...]] = tuple(DOCUMENT.names)

    def __post_init__(self) -> None:
        """Raise ``UserError`` for a run of nothing."""
        if self.n < 1 or self.minimum_words < 0:
            raise UserError(
                f"{self.name}: found n = {self.n}, minimum_words = {self.minimum_words}; "
                "expected n of at least 1 and minimum_words of at least 0"
            )

    @property
    def needs(self) -> tuple[str, ...]:
        """The quality that survivors are chosen by."""
        return self.preference.needs

    def describe(self) -> dict[str, Any]:
        """Add the version of Unicode that lower case follows."""
        return {**super().describe(), "unicode": describe()["unicode"]}

    def keyed_bytes(self, documents: int, size: int) -> int:
        """One row a line of 40 bytes."""
        return size * ROW_BYTES // 40

    def keys(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Key every run of lines that is long enough."""
        hashes, words, spans = line_units(Texts.of(batch.column("text")), self.unit)
        keys, places = window_keys(hashes, spans.rows, self.n)
        documents = np.repeat(np.arange(batch.num_rows), np.diff(places))
        starts = np.arange(len(keys)) - places[documents]
        total = np.concatenate([[0], np.cumsum(words)])
        first = spans.rows[documents] + starts
        long = total[first + self.n] - total[first] >= self.minimum_words
        order = self.preference.order(batch)
        return keyed_windows(keys[long], documents[long], starts[long], batch.column("id"), order)

    def reduce(self, rows: pa.Table) -> pa.Table:
        """Return the runs that stand more than once, and which one stays."""
        return repeated(rows)

    def apply(self, batch: pa.RecordBatch, rows: pa.Table) -> Outcome:
        """Cut those that go."""
        _, _, spans = line_units(Texts.of(batch.column("text")), self.unit)
        return cut(batch.select(DOCUMENT.names), rows, spans, self.n, self.name, f"repeated_{self.unit}")


def line_units(texts: Texts, unit: Unit) -> tuple[np.ndarray, np.ndarray, Spans]:
    """Return the hash (uint64) and the words (int64) of every line or paragraph that is not blank, and where it begins.

    A unit begins where its first line does, indentation and all. Paragraphs are lines with a blank one between.
    """
    lines = texts.lines
    most = len(lines.starts)
    hashes, words, starts = np.empty(most, np.uint64), np.empty(most, np.int64), np.empty(most, np.int64)
    rows = np.zeros(len(lines.rows), np.int64)
    data = texts.data.view()
    data.flags.writeable = False  # the kernels are compiled for one kind of array only
    _hash_lines(
        data,
        lines.starts,
        lines.ends,
        lines.rows,
        character_classes(),
        lower_case(),
        unit == "paragraphs",
        hashes,
        words,
        starts,
        rows,
    )
    count = int(rows[-1])
    return hashes[:count], words[:count], Spans(starts[:count], rows)


@kernel
def _hash_lines(
    data: np.ndarray,
    line_starts: np.ndarray,
    line_ends: np.ndarray,
    line_rows: np.ndarray,
    classes: np.ndarray,
    lower: np.ndarray,
    paragraphs: bool,
    hashes: np.ndarray,
    words: np.ndarray,
    starts: np.ndarray,
    rows: np.ndarray,
) -> None:
    """Hash the words of every unit with one space between (FNV-1a, then splitmix64's finaliser)."""
    count = 0
    for document in range(len(line_rows) - 1):
        opened = False
        value = np.uint64(0)
        found = 0
        for line in range(line_rows[document], line_rows[document + 1]):
            at, end = line_starts[line], line_ends[line]
            inside = False
            blank = True
            while at < end:
                code, width = decode(data, at, end)
                at += width
                if classes[code] & SPACE:
                    inside = False
                    continue
                if blank and not opened:
                    opened = True
                    starts[count] = line_starts[line]
                    value, found = np.uint64(0xCBF29CE484222325), 0
                blank = False
                if not inside:
                    inside = True
                    if found:
                        value = np.uint64((value ^ np.uint64(32)) * np.uint64(0x100000001B3))
                    found += 1
                value = np.uint64((value ^ np.uint64(lower[code])) * np.uint64(0x100000001B3))
            last = line + 1 == line_rows[document + 1]
            if opened and (blank or last or not paragraphs):
                x = value
                x = np.uint64((x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9))
                x = np.uint64((x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB))
                hashes[count] = x ^ (x >> np.uint64(31))
                words[count] = found
                count += 1
                opened = False
        rows[document + 1] = count
