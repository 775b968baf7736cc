"""Arrow IPC files (Feather is one since version 2) and streams to documents: one record batch at a time.

Rows follow the same rules as Parquet's. A file has a table of contents, so its batches are cut among workers, each at
its place in proportion to their number, and a damaged batch costs no other; a stream ends where it breaks. Arrow
believes what a batch says about its own buffers, so every column is checked before it is used.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from tilth.corpus.readers.chunk import BOMB, CHUNK_BYTES, DAMAGED, Chunk, Lost
from tilth.corpus.readers.decompress import BOMB_EXCESS, BOMB_RATIO
from tilth.corpus.readers.parquet import BATCH_ROWS, BROKEN, failure, lost_rows, read_batch, text_column, text_lengths
from tilth.corpus.sources import Source, SourceFile, open_unchanged
from tilth.corpus.splits import Slice

MAGIC = b"ARROW1"  # of a file; a stream has none (Arrow columnar format, IPC)


def read_arrow_ipc(source: Source, piece: Slice) -> Iterator[Chunk]:
    """Yield the documents and drops of the record batches whose place lies in ``piece``."""
    file = piece.file
    row = 0
    try:
        for row, found in batches(file, piece):
            if isinstance(found, Lost):
                yield lost_rows(source, file, found)
            else:
                yield from rows(source, file, row, found)
                row += found.num_rows
    except BROKEN as error:
        if piece.start == 0:
            yield lost_rows(source, file, Lost(row, file.size, DAMAGED, failure(file, error)))


def batches(file: SourceFile, piece: Slice) -> Iterator[tuple[int, pa.RecordBatch | Lost]]:
    """Yield (number of its first row, record batch) for the batches of ``piece``, ``Lost`` for a damaged one."""
    with open_unchanged(file) as handle:
        is_file = handle.read(len(MAGIC)) == MAGIC
        handle.seek(0)
        row = 0
        if not is_file:
            if piece.start == 0:  # a stream cannot be entered in its middle
                for batch in pa.ipc.open_stream(handle):
                    yield row, batch
                    row += batch.num_rows
            return
        reader = pa.ipc.open_file(handle)
        count = reader.num_record_batches
        sizes = row_counts(file, count)
        for number in range(count):
            place = file.size * number // count
            if piece.start <= place < piece.end:
                try:
                    batch = reader.get_batch(number)
                    batch.validate(full=True)
                    if sizes[number] is not None and batch.num_rows != sizes[number]:
                        raise ValueError("the batch does not hold as many rows as it says")
                    yield row, batch
                except BROKEN as error:
                    missing = sizes[number] or 0
                    yield row, Lost(row, file.size // count, DAMAGED, failure(file, error), missing)
            row += max(1, sizes[number] or 0)


def row_counts(file: SourceFile, count: int) -> list[int | None]:
    """Return the rows of every batch, ``None`` for one that cannot be read: of the narrowest column, not the texts."""
    with open_unchanged(file) as handle:
        schema = pa.ipc.open_file(handle).schema
        narrow = [i for i, field in enumerate(schema) if pa.types.is_primitive(field.type)] or [0]
        options = pa.ipc.IpcReadOptions(included_fields=narrow[:1], use_threads=False)
        handle.seek(0)
        reader = pa.ipc.open_file(handle, options=options)
        counts: list[int | None] = []
        for number in range(count):
            try:
                counts.append(max(0, reader.get_batch(number).num_rows))
            except BROKEN as error:
                failure(file, error)
                counts.append(None)
        return counts


def rows(source: Source, file: SourceFile, row: int, batch: pa.RecordBatch) -> Iterator[Chunk]:
    """Yield the chunks of a batch whose first row is number ``row`` of the file."""
    try:
        batch.validate(full=True)
    except BROKEN as error:
        yield lost_rows(source, file, Lost(row, batch.nbytes, DAMAGED, failure(file, error), batch.num_rows))
        return
    if source.metadata is not None:
        named = {name if name in batch.schema.names else name.split(".")[0] for name in source.fields.values()}
        batch = batch.select([name for name in batch.schema.names if name in {*named, *source.metadata}])
    excess = -BOMB_RATIO * file.size
    step = max(1, min(BATCH_ROWS, CHUNK_BYTES * batch.num_rows // max(1, batch.nbytes)))
    for first in range(0, batch.num_rows, step):
        part = batch.slice(first, step)
        text = text_column(source, part)
        lengths = np.zeros(len(part), np.int64) if isinstance(text, str) else text_lengths(text)
        excess += int(lengths.sum())
        if excess > BOMB_EXCESS:
            missing = batch.num_rows - first
            reason = f"expands more than {BOMB_RATIO} times"
            yield lost_rows(source, file, Lost(row + first, batch.nbytes, BOMB, reason, missing))
            return
        yield from read_batch(source, file.relative, row + first, part, text, lengths)


def first_arrow_records(source: Source, file: SourceFile, count: int) -> tuple[list[dict[str, Any]], str]:
    """Return up to ``count`` rows from the beginning of a file, and the reason where there are none."""
    try:
        for _, found in batches(file, Slice(file, 0, file.size)):
            if isinstance(found, Lost):
                return [], found.reason
            if found.num_rows:
                found.validate(full=True)
                rows: list[dict[str, Any]] = found.slice(0, count).to_pylist()
                return rows, ""
    except BROKEN as error:
        return [], failure(file, error)
    return [], "it has no rows"
