"""CSV and TSV: the first row names the fields, and every other is a record that costs only itself.

CSV is RFC 4180: a field in quotes may hold delimiters and line breaks. A quote that is never closed would take the rest
of the file with it, so a row of many lines that comes out wrong is given up at its first line, and reading goes on at
the second. TSV is IANA's text/tab-separated-values, without quotes; a quoted one is CSV with a tab as its delimiter.

Rows are read one by one from where the first quote stands wrong; up to there Arrow reads them (``regular``).
"""

import csv
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import chain
from typing import Any

from tilth.corpus.readers.chunk import CHUNK_ROWS, TOO_LARGE, UNREADABLE, Chunk, Lost
from tilth.corpus.readers.decompress import Gap
from tilth.corpus.readers.records import Record, record_chunks
from tilth.corpus.readers.regular import Layout, Rows, regular_rows, rows_chunk
from tilth.corpus.readers.separated import split_blocks
from tilth.corpus.readers.stream import stream
from tilth.corpus.sources import LARGEST_DOCUMENT, Source, SourceFile
from tilth.corpus.splits import Slice

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
Line = tuple[int, bytes]  # offset, bytes without the newline

csv.field_size_limit(LARGEST_DOCUMENT)  # the module's own, 131,072, is below many documents


def read_delimited(source: Source, piece: Slice) -> Iterator[Chunk]:
    """Yield the documents and drops of a CSV or TSV file."""
    with closing(stream(source, piece)) as blocks:
        yield from delimited_chunks(source, piece.file, blocks)


def delimited_chunks(source: Source, file: SourceFile, blocks: Iterator[bytes | Gap]) -> Iterator[Chunk]:
    """Yield the documents and drops of ``blocks``, the whole of a file."""
    layout = layout_of(source, file)
    held = b""  # what follows the last row that was complete
    at = 0  # its offset
    names: list[str] | None = None
    while True:
        block = next(blocks, None)
        data = held if block is None or isinstance(block, Gap) else held + block
        if at == 0 and data.startswith(BYTE_ORDER_MARK):
            data, at = data[len(BYTE_ORDER_MARK) :], len(BYTE_ORDER_MARK)
        final = block is None
        found = None if isinstance(block, Gap) else regular_rows(data, layout, source.maximum_bytes, final=final)
        if found is not None and names is None and len(found.starts):
            first = split(found.row(0), layout.delimiter, layout.quoted)
            names, found = (first, found.part(1, len(found.starts))) if isinstance(first, list) else (None, None)
        for rows in found.parts(CHUNK_ROWS) if found is not None and names is not None else ():
            made = rows_chunk(source, file.relative, layout, names or [], rows, at)
            if made is not None:
                yield made
            elif rows_are_apart(layout, rows):
                records = named_records(source, layout, [data[rows.first : rows.end]], at + rows.first, names)
                yield from record_chunks(source, file.relative, records)
            else:
                found, data, at = None, data[rows.first :], at + rows.first
                break
        if found is None:
            begun: list[bytes | Gap] = [data, block] if isinstance(block, Gap) else [data]
            records = named_records(source, layout, chain(begun, blocks), at, names)
            yield from record_chunks(source, file.relative, records)
            return
        at, held = at + found.end, data[found.end :]
        if final:
            return


def rows_are_apart(layout: Layout, rows: Rows) -> bool:
    """Tell whether none of ``rows`` has several lines and is wrong: the lines of such a one would be read again."""
    return all(
        isinstance(split(row, layout.delimiter, layout.quoted), list)
        for row in map(rows.row, range(len(rows.starts)))
        if b"\n" in row
    )


def layout_of(source: Source, file: SourceFile) -> Layout:
    """Return how the file's rows are written."""
    quoted = file.format == "csv"
    return Layout(source.delimiter or ("," if quoted else "\t"), quoted)


def row_records(source: Source, piece: Slice) -> Iterator[Record | Lost]:
    """Yield every row but the first as a record."""
    return named_records(source, layout_of(source, piece.file), stream(source, piece), 0, None)


def named_records(
    source: Source, layout: Layout, blocks: Iterable[bytes | Gap], at: int, names: list[str] | None
) -> Iterator[Record | Lost]:
    """Yield the rows of ``blocks``, which begin at offset ``at``, as records; the first gives the names if none does.

    An empty cell is an absent field, but for the text.
    """
    for position, size, cells in rows(source, layout, blocks, at):
        if isinstance(cells, Lost):
            yield cells
        elif isinstance(cells, str):
            yield Lost(position, size, UNREADABLE, cells)
        elif names is None:
            names = cells
        elif len(cells) != len(names):
            yield Lost(position, size, UNREADABLE, f"has {len(cells)} fields, expected {len(names)}")
        else:
            row: dict[str, Any] = dict(zip(names, cells, strict=True))
            yield Record(position, size, {k: v if v or k == source.text else None for k, v in row.items()})


def split(row: bytes, delimiter: str, quoted: bool) -> list[str] | str:
    """Return the cells of a row, or the reason why it has none."""
    try:
        text = row.decode()
    except UnicodeDecodeError as error:
        return f"is not UTF-8 (byte {error.start} of the record)"
    if not quoted:
        return text.split(delimiter)
    try:
        return next(csv.reader([text], delimiter=delimiter, strict=True), [])
    except csv.Error as error:
        return f"is not valid CSV ({error})"


def rows(
    source: Source, layout: Layout, blocks: Iterable[bytes | Gap], at: int
) -> Iterator[tuple[int, int, list[str] | str | Lost]]:
    """Yield (offset, bytes, cells) of every row that is not blank; a row in CSV may span lines in quotes.

    In place of the cells stands the reason why a row has none, or ``Lost`` for what is no row.
    """
    mark = layout.delimiter.encode()
    source_lines = split_blocks(blocks, b"\n", at, None, source.maximum_bytes)
    again: deque[Line] = deque()  # lines of a row that was given up
    row: list[Line] = []
    size = 0
    open_quote = False
    while True:
        if again:
            position, line = again.popleft()
        else:
            following = next(source_lines, None)
            if following is None:
                if not row:
                    return
                yield unclosed(row, again)
                row, size, open_quote = [], 0, False
                continue
            position, found = following
            if isinstance(found, Lost):
                yield position, found.size, found
                if row:
                    yield unclosed(row, again)
                row, size, open_quote = [], 0, False
                continue
            line = found.removeprefix(BYTE_ORDER_MARK) if position == 0 else found
            line = line.removesuffix(b"\r")
        if not row and not line.strip():
            continue
        row.append((position, line))
        size += len(line) + 1
        open_quote = layout.quoted and within_quotes(line, mark, open_quote)
        if open_quote and size <= source.maximum_bytes:
            continue
        start = row[0][0]
        if open_quote:
            reason = f"is a row of more than {source.maximum_bytes} bytes"
            yield start, size, Lost(start, size, TOO_LARGE, reason, size, source.maximum_bytes)
        else:
            whole = b"\n".join(part for _, part in row) if len(row) > 1 else line
            cells = split(whole, layout.delimiter, layout.quoted)
            yield unclosed(row, again) if len(row) > 1 and isinstance(cells, str) else (start, len(whole), cells)
        row, size, open_quote = [], 0, False


def unclosed(row: list[Line], again: deque[Line]) -> tuple[int, int, Lost]:
    """Give up the first line of a row; its other lines are read again, each as what may begin a row."""
    again.extendleft(reversed(row[1:]))
    position, line = row[0]
    return position, len(line), Lost(position, len(line), UNREADABLE, "opens a quote that is not closed")


def within_quotes(line: bytes, delimiter: bytes, inside: bool) -> bool:
    """Tell whether a quoted field is still open at the end of ``line``, given whether one was at its beginning."""
    if b'"' not in line:
        return inside
    at = 0
    if not inside and line.startswith(b'"'):
        inside, at = True, 1
    while True:
        if inside:
            at = line.find(b'"', at)
            if at < 0:
                return True
            if line[at + 1 : at + 2] == b'"':  # stands for one quote
                at += 2
                continue
            at += 1
        at = line.find(delimiter, at)
        if at < 0:
            return False
        at += len(delimiter)
        inside = line[at : at + 1] == b'"'
        at += inside
