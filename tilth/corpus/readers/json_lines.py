"""JSON lines, plain or compressed, to documents: a bad record costs itself, a broken file costs its rest, never more.

A block of some MiB is split at its newlines, parsed by orjson line by line and turned into columns at once; a line
that spans blocks is pieced together, and one beyond the cap is counted, not held. Newlines are found by numpy, so that
blank lines, of which a gigabyte compresses to a megabyte, cost no object each. Python's own text layer is not used:
it decodes ahead in buffers, so one bad byte takes good lines with it, which is how datatrove loses the rest of a file.
"""

from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from tilth.corpus.document import documents
from tilth.corpus.readers.chunk import (
    CHUNK_BYTES,
    CHUNK_ROWS,
    TOO_LARGE,
    UNREADABLE,
    Chunk,
    Lost,
    drops,
    locator,
    no_documents,
)
from tilth.corpus.readers.decompress import Gap
from tilth.corpus.readers.fields import Fault, kind, other_columns, texts
from tilth.corpus.readers.stream import stream
from tilth.corpus.sources import Source, SourceFile
from tilth.corpus.splits import Slice

BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # some editors of Windows put it before the first line; it is no part of the record
NEWLINE = ord("\n")
BLANK = b" \t\r\n"  # JSON's whitespace, RFC 8259

Lines = tuple[list[int], list[bytes]]  # offsets in the decompressed file, and the lines without their newlines


def read_json_lines(source: Source, piece: Slice) -> Iterator[Chunk]:
    """Yield the documents and drops of the lines whose first byte lies in ``piece``."""
    relative = piece.file.relative
    for group in file_lines(source, piece):
        if isinstance(group, Lost):
            yield Chunk(no_documents(), drops(source.name, relative, [group]), 1)
        else:
            chunk = read_lines(source, relative, *group)
            if chunk.records:
                yield chunk


def file_lines(source: Source, piece: Slice) -> Iterator[Lines | Lost]:
    """Yield the lines of ``piece`` in groups, and as ``Lost`` what is longer than the source's cap or damaged."""
    first, end = piece.bounds(1)
    with closing(stream(source, piece, before=1)) as blocks:
        yield from lines(blocks, first, end, source.maximum_bytes, foreign=piece.start > 0)


def read_lines(source: Source, relative: str, offsets: list[int], lines: list[bytes]) -> Chunk:
    """Turn lines into documents; where one of them is bad, find out which, and make it a drop."""
    try:
        return Chunk(line_documents(source, relative, offsets, lines), drops(source.name, relative, []), len(lines))
    except (Fault, orjson.JSONDecodeError):
        good: list[int] = []
        lost: list[Lost] = []
        for i, line in enumerate(lines):
            reason = fault(source, line)
            if reason is None:
                good.append(i)
            elif line.strip(BLANK):
                lost.append(Lost(offsets[i], len(line), UNREADABLE, reason))
        kept = line_documents(source, relative, [offsets[i] for i in good], [lines[i] for i in good])
        return Chunk(kept, drops(source.name, relative, lost), len(good) + len(lost))


def line_documents(source: Source, relative: str, offsets: list[int], lines: list[bytes]) -> pa.RecordBatch:
    """Turn lines into documents; raise ``Fault`` or ``JSONDecodeError`` where any of them is bad."""
    records = list(map(orjson.loads, lines))
    text = texts(source, records)
    locators = (locator(relative, offset) for offset in offsets)
    return documents({"text": text, **other_columns(source, locators, records)})


def fault(source: Source, line: bytes) -> str | None:
    """Say why a line is no document, or ``None`` where it is one."""
    try:
        record = orjson.loads(line)
        texts(source, [record])
        other_columns(source, [""], [record])
    except orjson.JSONDecodeError as error:
        try:
            line.decode()
        except UnicodeDecodeError as bad:
            return f"is not UTF-8 (byte {bad.start} of the record)"
        return f"is not valid JSON ({error})"
    except Fault as error:
        return str(error)
    return None


def lines(
    blocks: Iterable[bytes | Gap], first: int, end: int | None, cap: int, *, foreign: bool = False
) -> Iterator[Lines | Lost]:
    """Split ``blocks``, which begin at offset ``first``, into the lines that begin before ``end``, in groups.

    The first line is left out where it is ``foreign``: the slice before this one reads it. Lines without content are
    left out. A line longer than ``cap`` bytes is given as ``Lost``, and so is what is missing where the stream is
    damaged, with the line that was cut by it. Offsets behind a gap count the bytes that were not read.
    """
    at = first  # offset of the line that is being pieced together
    begun: list[bytes] = []
    size = 0  # of the line so far; beyond the cap nothing of it is held
    for block in blocks:
        if isinstance(block, Gap):
            yield Lost(at, block.unread, block.rule, block.reason)
            at, begun, size = at + size + max(1, block.unread), [], 0
            continue
        found = block.find(b"\n")
        if found < 0:
            size += len(block)
            begun = [] if foreign or size > cap else [*begun, block]
            if foreign and end is not None and at + size >= end:
                return
            continue
        if foreign or size > cap:
            if not foreign:
                yield overlong(at, size + found, cap)
            at, data = at + size + found + 1, block[found + 1 :]
            foreign = False
        else:
            data = b"".join([*begun, block])
        if data.isspace() and not data.strip(BLANK):
            rest = data.rfind(b"\n") + 1
        else:
            stops = np.flatnonzero(np.frombuffer(data, np.uint8) == NEWLINE)
            starts = np.concatenate([[0], stops + 1])
            last = len(stops) if end is None else min(len(stops), int(np.searchsorted(starts, end - at)))
            yield from groups(data, at, starts[:last], stops[:last], cap)
            rest = int(starts[-1])
        at, begun, size = at + rest, [data[rest:]], len(data) - rest
        if end is not None and at >= end:
            return
    if size > cap and not foreign:
        yield overlong(at, size, cap)
    elif size and not foreign:
        yield from groups(b"".join(begun), at, np.array([0]), np.array([size]), cap)


def groups(data: bytes, at: int, starts: np.ndarray, stops: np.ndarray, cap: int) -> Iterator[Lines | Lost]:
    """Cut lines into groups of at most ``CHUNK_ROWS`` and ``CHUNK_BYTES``; leave out what is blank or too long.

    Line i is ``data[starts[i]:stops[i]]`` (int64), and ``data`` begins at offset ``at`` of the decompressed file.
    """
    offsets = at + starts
    if at == 0 and data.startswith(BYTE_ORDER_MARK) and len(starts):
        starts = np.concatenate([starts[:1] + len(BYTE_ORDER_MARK), starts[1:]])
    sizes = stops - starts
    if len(sizes) and sizes.min() < 2:  # longer blank lines are rare, and found when they turn out to be no JSON
        first_bytes = np.frombuffer(data, np.uint8)[np.minimum(starts, len(data) - 1)]
        filled = (sizes > 1) | ((sizes == 1) & ~np.isin(first_bytes, np.frombuffer(BLANK, np.uint8)))
        offsets, starts, stops, sizes = offsets[filled], starts[filled], stops[filled], sizes[filled]
    first = 0
    for stop in [*np.flatnonzero(sizes > cap).tolist(), len(sizes)]:
        while first < stop:
            fits = int(np.searchsorted(offsets, offsets[first] + CHUNK_BYTES))
            last = min(first + CHUNK_ROWS, max(first + 1, fits), stop)
            bounds = zip(starts[first:last].tolist(), stops[first:last].tolist(), strict=True)
            yield offsets[first:last].tolist(), [data[begin:end] for begin, end in bounds]
            first = last
        if stop < len(sizes):
            yield overlong(int(offsets[stop]), int(sizes[stop]), cap)
        first = stop + 1


def overlong(offset: int, size: int, cap: int) -> Lost:
    """Return what a line of ``size`` bytes, more than ``cap``, becomes."""
    return Lost(offset, size, TOO_LARGE, f"is {size} bytes long, at most {cap} are read", size, cap)


def first_json_records(source: Source, file: SourceFile, count: int) -> tuple[list[dict[str, Any]], str]:
    """Return up to ``count`` readable records of the first group of lines that has any, and what the last fault was."""
    reason = "it is empty"
    records: list[dict[str, Any]] = []
    for group in file_lines(source, Slice(file, 0, file.size)):
        if isinstance(group, Lost):
            reason = f"byte {group.position} {group.reason}"
            continue
        for offset, line in zip(*group, strict=True):
            try:
                record = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                reason = f"byte {offset} is not valid JSON ({error})"
                continue
            if isinstance(record, dict):
                records.append(record)
                if len(records) == count:
                    break
            else:
                reason = f"byte {offset} is {kind(record)}, not an object"
        break
    return records, reason
