"""Parquet to documents: one row group at a time, only the columns that are wanted, texts never as Python strings.

Texts stay in Arrow's buffers from the file to the document; the small columns become Python values, because metadata
is JSON. A row group that cannot be decoded costs its unread rows; the other row groups of the file are read. Arrow
does not check that a file's strings are UTF-8, so every batch is validated here, once.
"""

import itertools
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tilth.corpus.document import documents
from tilth.corpus.errors import UserError
from tilth.corpus.readers.chunk import (
    BOMB,
    CHUNK_BYTES,
    DAMAGED,
    TOO_LARGE,
    UNREADABLE,
    Chunk,
    Lost,
    drops,
    locator,
    no_documents,
)
from tilth.corpus.readers.decompress import BOMB_EXCESS, BOMB_RATIO
from tilth.corpus.readers.fields import Fault, fields, other_columns
from tilth.corpus.remote import is_remote
from tilth.corpus.sources import Source, SourceFile, open_unchanged
from tilth.corpus.splits import Slice

# What Arrow raises for a file that is not what it says. An OSError with a number is the disk's and stops the run.
BROKEN = (pa.ArrowException, OSError, ValueError, MemoryError, LookupError, OverflowError)

# A dictionary page holds a text once and its rows point to it, so few bytes can stand for gigabytes. Arrow's writers
# end a dictionary at 1 MiB: so many rows of the longest text it can hold make 1 GiB, and a bomb is seen by then.
BATCH_ROWS = 1024

SPELLED = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
VIEWED = (pa.types.is_string_view, pa.types.is_binary_view)
TEMPORAL = (pa.types.is_timestamp, pa.types.is_date, pa.types.is_time)


class Damage(Exception):
    """The rest of a row group is lost: by which rule, and why."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(reason)
        self.rule = rule
        self.reason = reason


def read_parquet(source: Source, piece: Slice) -> Iterator[Chunk]:
    """Yield the documents and drops of the row groups whose first byte lies in ``piece``."""
    file = piece.file
    open_unchanged(file).close()
    try:
        opened = open_parquet(file)
    except BROKEN as error:
        reason = failure(file, error)
        if piece.start == 0:
            yield lost_rows(source, file, Lost(0, file.size, DAMAGED, reason))
        return
    with opened:
        row = 0
        extents = group_extents(opened.metadata, file.size)
        for group in range(opened.metadata.num_row_groups):
            start, end = extents[group : group + 2]
            if piece.start <= start < piece.end:
                yield from read_row_group(source, file, opened, group, row, end - start)
            row += max(0, opened.metadata.row_group(group).num_rows)


def read_row_group(
    source: Source, file: SourceFile, opened: pq.ParquetFile, group: int, row: int, stored: int
) -> Iterator[Chunk]:
    """Yield one row group: ``stored`` bytes on disk, whose first row is number ``row`` of the file.

    What cannot be decoded is one drop.
    """
    at, end = row, row + max(0, opened.metadata.row_group(group).num_rows)
    try:
        for batch, text, lengths in decoded(source, file, opened, group, stored):
            if at + len(batch) > end:
                break
            yield from read_batch(source, file.relative, at, batch, text, lengths)
            at += len(batch)
        if at != end:
            raise Damage(DAMAGED, "the row group does not hold as many rows as the file says")
    except Damage as damage:
        size = stored * (end - at) // max(1, end - row)
        yield lost_rows(source, file, Lost(at, size, damage.rule, damage.reason, end - at))


def decoded(
    source: Source, file: SourceFile, opened: pq.ParquetFile, group: int, stored: int
) -> Iterator[tuple[pa.RecordBatch, pa.Array | str, np.ndarray]]:
    """Yield (batch, text column or the reason why there is none, bytes of every text) of one row group.

    Raises ``Damage`` where Arrow cannot go on, or texts add up to a bomb.
    """
    about = opened.metadata.row_group(group)
    excess = -BOMB_RATIO * stored
    bomb = Damage(BOMB, f"expands more than {BOMB_RATIO} times")
    if about.total_byte_size + excess > BOMB_EXCESS:
        raise bomb
    try:
        batches = opened.iter_batches(
            batch_size=max(1, min(BATCH_ROWS, CHUNK_BYTES * about.num_rows // max(1, about.total_byte_size))),
            row_groups=[group],
            columns=wanted(source, opened.schema_arrow),
            use_threads=False,
        )
        with closing(batches):
            for batch in batches:
                text = text_column(source, batch)
                lengths = np.zeros(len(batch), np.int64) if isinstance(text, str) else text_lengths(text)
                excess += int(lengths.sum())
                if excess > BOMB_EXCESS:
                    raise bomb
                yield batch, text, lengths
    except BROKEN as error:
        raise Damage(DAMAGED, failure(file, error)) from error


def read_batch(
    source: Source, relative: str, row: int, batch: pa.RecordBatch, text: pa.Array | str, lengths: np.ndarray
) -> Iterator[Chunk]:
    """Yield the chunks of a batch whose first row is number ``row`` of the file; a bad row becomes a drop."""
    if isinstance(text, str):
        lost = [Lost(row + i, 0, UNREADABLE, text) for i in range(len(batch))]
        yield Chunk(no_documents(), drops(source.name, relative, lost), len(batch))
        return
    cap = source.maximum_bytes
    large = lengths > cap
    null = text.is_null().to_numpy(zero_copy_only=False)
    reached = np.cumsum(np.where(large, 0, lengths))
    first = 0
    while first < len(batch):
        before = reached[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(reached, before + CHUNK_BYTES, "right")))
        lost = []
        for i in (first + np.flatnonzero((large | null)[first:last])).tolist():
            if null[i]:
                lost.append(Lost(row + i, 0, UNREADABLE, f"field {source.text!r} is null, expected a string"))
            else:
                reason = f"is {lengths[i]} bytes long, at most {cap} are read"
                lost.append(Lost(row + i, int(lengths[i]), TOO_LARGE, reason, float(lengths[i]), cap))
        good = first + np.flatnonzero(~(large | null)[first:last])
        kept, bad = sift(source, relative, row + good, batch.take(pa.array(good)), text.take(pa.array(good)))
        rows = pa.concat_batches(kept) if kept else no_documents()
        yield Chunk(rows, drops(source.name, relative, sorted([*lost, *bad])), last - first)
        first = last


def sift(
    source: Source, relative: str, rows: np.ndarray, batch: pa.RecordBatch, text: pa.Array
) -> tuple[list[pa.RecordBatch], list[Lost]]:
    """Return the documents of the rows numbered ``rows``, and the rows that are none: found by halving the batch."""
    try:
        return [row_documents(source, relative, rows, batch, text)], []
    except (Fault, ValueError, pa.ArrowException) as error:
        if len(rows) == 1:
            size = int(text_lengths(text)[0])
            return [], [Lost(int(rows[0]), size, UNREADABLE, one_line(error))]
    half = len(rows) // 2
    kept, lost = sift(source, relative, rows[:half], batch.slice(0, half), text.slice(0, half))
    more_kept, more_lost = sift(source, relative, rows[half:], batch.slice(half), text.slice(half))
    return kept + more_kept, lost + more_lost


def row_documents(
    source: Source, relative: str, rows: np.ndarray, batch: pa.RecordBatch, text: pa.Array
) -> pa.RecordBatch:
    """Turn whole rows into documents; raise where any of them is bad."""
    spelled = text.dictionary_decode() if pa.types.is_dictionary(text.type) else text
    spelled = spelled.cast(pa.string())
    spelled.validate(full=True)  # that it is UTF-8
    others = [name for name in batch.schema.names if name != source.text]
    columns = {}
    for name in others:
        column = batch.column(name)
        column.validate(full=True)
        columns[name] = column.cast(pa.string()) if any(test(column.type) for test in TEMPORAL) else column
    values = [column.to_pylist() for column in columns.values()]
    records: list[dict[str, Any]] = [dict(zip(columns, row, strict=True)) for row in zip(*values, strict=True)]
    if not columns:
        records = [{} for _ in range(len(rows))]
    if source.text not in batch.schema.names:
        fields(records, source.text, keep=False, default=True)  # a nested text is no metadata
    locators = (locator(relative, row) for row in rows.tolist())
    return documents({"text": spelled, **other_columns(source, locators, records)})


def text_column(source: Source, batch: pa.RecordBatch) -> pa.Array | str:
    """Return the text column, spelled out or a dictionary of such, or the reason why there is none."""
    name = source.text
    if name in batch.schema.names:
        column = batch.column(name)
    else:
        first, *rest = name.split(".")
        if first not in batch.schema.names:
            return f"field {name!r} is missing"
        column = batch.column(first)
        for part in rest:
            if not pa.types.is_struct(column.type) or column.type.get_field_index(part) < 0:
                return f"field {name!r} is missing"
            column = pc.struct_field(column, part)
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if any(test(kind) for test in VIEWED):
        column = column.cast(pa.large_binary())
    elif pa.types.is_null(kind):
        column = column.cast(pa.string())
    elif not any(test(kind) for test in SPELLED):
        return f"field {name!r} is of type {kind}, expected a string"
    return column


def text_lengths(text: pa.Array) -> np.ndarray:
    """Return the bytes of every text (int64, 0 for a null) without spelling a dictionary out."""
    if pa.types.is_dictionary(text.type):
        lengths = pc.binary_length(text.dictionary).take(text.indices)
    else:
        lengths = pc.binary_length(text)
    filled: np.ndarray = lengths.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    return filled


def open_parquet(file: SourceFile) -> pq.ParquetFile:
    """Open a file and read its footer; checksums of pages are checked where the writer left any."""
    place = open_unchanged(file) if is_remote(file.path) else file.path
    return pq.ParquetFile(place, buffer_size=1 << 20, page_checksum_verification=True)


def wanted(source: Source, schema: pa.Schema) -> list[str] | None:
    """Return the top-level columns to read, or ``None`` for all of them."""
    if source.metadata is None:
        return None
    names = [name if name in schema.names else name.split(".")[0] for name in source.fields.values()]
    return [name for name in schema.names if name in {*names, *source.metadata}]


def group_extents(metadata: pq.FileMetaData, size: int) -> list[int]:
    """Return where the row groups begin in a file of ``size`` bytes, and where the last one ends.

    Places are in proportion to the groups' uncompressed bytes. The footer knows the true ones, but pyarrow ends the
    whole process where a damaged footer is asked for the details of a column (seen with 25.0: no exception crosses
    ``RowGroupMetaData.column``), and slices need no more than that every row group has one place.
    """
    sizes = [max(1, metadata.row_group(group).total_byte_size) for group in range(metadata.num_row_groups)]
    ends = list(itertools.accumulate(sizes, initial=0))
    return [size * end // max(1, ends[-1]) for end in ends]


def lost_rows(source: Source, file: SourceFile, lost: Lost) -> Chunk:
    """Return the chunk that stands for rows that cannot be decoded."""
    return Chunk(no_documents(), drops(source.name, file.relative, [lost]), 1)


def failure(file: SourceFile, error: BaseException) -> str:
    """Return what Arrow said, on one line; raise ``UserError`` where the disk, not the data, is at fault."""
    if isinstance(error, OSError) and error.errno is not None:
        raise UserError(f"source {file.source!r}: reading {file.path!r} failed: {error.strerror}; run again") from error
    return f"cannot be decoded ({one_line(error)})"


def one_line(error: BaseException) -> str:
    """Return an error's message without line breaks and traces, at most 200 characters."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def first_parquet_records(source: Source, file: SourceFile, count: int) -> tuple[list[dict[str, Any]], str]:
    """Return up to ``count`` rows from the beginning of a file, and the reason where there are none."""
    open_unchanged(file).close()
    try:
        with open_parquet(file) as opened:
            for batch in opened.iter_batches(batch_size=count, use_threads=False):
                return batch.to_pylist(), ""
    except BROKEN as error:
        return [], failure(file, error)
    return [], "it has no rows"
