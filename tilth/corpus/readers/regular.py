"""Rows of CSV and TSV that stand as they should, a block of them at once: numpy finds them, Arrow reads them.

Where every quote opens or closes a field or is one of two, a line break ends a row if an even number of quotes stands
before it, and any parser sees the same rows. That is checked for each block; what does not stand the check is read row
by row, which says what is wrong and takes five times as long.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import csv

from tilth.corpus.document import documents
from tilth.corpus.readers.chunk import Chunk, drops, locator
from tilth.corpus.readers.fields import Fault, other_columns
from tilth.corpus.sources import Source

QUOTE, NEWLINE, RETURN = b'"\n\r'
WHITESPACE = np.frombuffer(b" \t\n\r\x0b\f", np.uint8)  # what bytes.strip takes off
LONGEST_ROW = 8 << 20  # bytes; the beginning of a row is looked at again with every block that adds to it
NOWHERE = np.zeros(0, np.int64)


class Layout(NamedTuple):
    """How rows are written: what stands between two fields, and whether quotes mean anything."""

    delimiter: str
    quoted: bool


class Rows(NamedTuple):
    """The complete rows of ``data``: row i is ``data[starts[i]:stops[i]]`` (int64) and has ``fields[i]`` fields.

    ``end`` is where what is no complete row begins.
    """

    data: bytes
    starts: np.ndarray
    stops: np.ndarray
    fields: np.ndarray
    end: int

    @property
    def first(self) -> int:
        """Where the first row begins, the end where there is none."""
        return int(self.starts[0]) if len(self.starts) else self.end

    def row(self, number: int) -> bytes:
        """Return one row as the row-by-row reader sees it."""
        return self.data[self.starts[number] : self.stops[number]].replace(b"\r\n", b"\n").removesuffix(b"\r")

    def part(self, first: int, last: int) -> "Rows":
        """Return the rows from number ``first`` on, before number ``last``."""
        end = int(self.starts[last]) if last < len(self.starts) else self.end
        return Rows(self.data, self.starts[first:last], self.stops[first:last], self.fields[first:last], end)

    def parts(self, count: int) -> Iterator["Rows"]:
        """Yield the rows, ``count`` at a time."""
        return (self.part(first, first + count) for first in range(0, len(self.starts), count))


def regular_rows(data: bytes, layout: Layout, cap: int, *, final: bool) -> Rows | None:
    """Return the complete rows at the beginning of ``data``, ``None`` where it must be read row by row.

    A row is complete at its line break, the last one of a file (``final``) at its end. Rows longer than ``cap`` bytes,
    line break included, are not regular.
    """
    if not layout.delimiter.isascii():
        return None
    cap = min(cap, LONGEST_ROW)
    codes = np.frombuffer(data, np.uint8)
    quotes = np.flatnonzero(codes == QUOTE) if layout.quoted else NOWHERE
    breaks = np.flatnonzero(codes == NEWLINE)
    stops = breaks[np.searchsorted(quotes, breaks) % 2 == 0]
    if final and len(data) > (stops[-1] + 1 if len(stops) else 0):
        if len(quotes) % 2:
            return None
        stops = np.append(stops, len(data))
    if not len(stops):
        return None if len(data) > cap else Rows(data, stops, stops, stops, 0)
    starts = np.concatenate([[0], stops[:-1] + 1])
    end = min(len(data), int(stops[-1]) + 1)
    quotes = quotes[quotes < end]
    if (stops - starts).max() >= cap or not in_place(codes[:end], quotes, ord(layout.delimiter)):
        return None
    filled = stops > starts
    suspects = np.flatnonzero(filled & np.isin(codes[np.minimum(starts, end - 1)], WHITESPACE))
    for row in suspects.tolist():
        filled[row] = bool(data[starts[row] : stops[row]].strip())
    marks = np.flatnonzero(codes[:end] == ord(layout.delimiter))
    marks = marks[np.searchsorted(quotes, marks) % 2 == 0]
    starts, stops = starts[filled], stops[filled]
    fields = np.searchsorted(marks, stops) - np.searchsorted(marks, starts) + 1
    return Rows(data, starts, stops, fields, end)


def in_place(codes: np.ndarray, quotes: np.ndarray, delimiter: int) -> bool:
    """Tell whether the quotes at these places (int64, an even number) open and close fields or stand in pairs."""
    opening, closing = quotes[::2], quotes[1::2]
    around = np.concatenate([[NEWLINE], codes, [NEWLINE, NEWLINE]])  # place i of the data is i + 1 here
    before, behind, then = around[opening], around[closing + 2], around[closing + 3]
    opens = (before == delimiter) | (before == NEWLINE) | (before == QUOTE)
    ends = (behind == delimiter) | (behind == NEWLINE) | (behind == QUOTE) | ((behind == RETURN) & (then == NEWLINE))
    return bool(opens.all() and ends.all())


def rows_chunk(source: Source, relative: str, layout: Layout, names: list[str], rows: Rows, at: int) -> Chunk | None:
    """Return the documents of ``rows``, whose data begin at offset ``at``; ``None`` where any row may be none."""
    if (rows.fields != len(names)).any() or len(set(names)) < len(names) or source.text not in names:
        return None
    data = rows.data[rows.first : rows.end]
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").removesuffix(b"\r")
        if b"\r" in data:
            return None
    try:
        table = csv.read_csv(
            pa.BufferReader(data),
            read_options=csv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=names),
            parse_options=csv.ParseOptions(
                delimiter=layout.delimiter,
                quote_char='"' if layout.quoted else False,
                double_quote=layout.quoted,
                newlines_in_values=layout.quoted,
            ),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )
        if table.num_rows != len(rows.starts):
            return None
        columns = {name: table.column(name).combine_chunks() for name in names}
        text = columns.pop(source.text)
        values = [column.to_pylist() for column in columns.values()]
        records = [
            {name: cell or None for name, cell in zip(columns, row, strict=True)} for row in zip(*values, strict=True)
        ] or [{} for _ in range(len(text))]
        places = (locator(relative, offset) for offset in (at + rows.starts).tolist())
        kept = documents({"text": text, **other_columns(source, places, records)})
    except (Fault, pa.ArrowException, UnicodeError, OverflowError):
        return None
    return Chunk(kept, drops(source.name, relative, []), len(rows.starts))
