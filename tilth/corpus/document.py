"""A document is one row of an Arrow table; its identity never depends on rank, worker count or shard.

Two columns are derived and kept beside the text, because every stage needs them and most stages need no text:
``bytes`` (the ledger counts them) and ``digest`` (the set digest sums them, exact deduplication groups by them).
With them a filter that decides from signals never has to load the text again.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
import xxhash

ID = pa.binary(16)

DOCUMENT = pa.schema(
    [
        pa.field("id", ID, nullable=False),  # xxh3-128 of source and locator
        pa.field("text", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),  # the recipe's name for it: the domain
        pa.field("url", pa.string()),
        pa.field("date", pa.string()),
        pa.field("language", pa.string()),
        pa.field("metadata", pa.string()),  # JSON
        pa.field("bytes", pa.int64(), nullable=False),  # UTF-8 bytes of the text
        pa.field("digest", ID, nullable=False),  # xxh3-128 of the text
    ]
)

DROP = pa.schema(
    [
        pa.field("id", ID, nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),  # UTF-8 bytes of the text that left
        pa.field("stage", pa.string(), nullable=False),
        pa.field("rule", pa.string(), nullable=False),
        pa.field("value", pa.float64()),  # what was measured
        pa.field("limit", pa.float64()),  # what was allowed
        pa.field("other", ID),  # the surviving duplicate
        pa.field("detail", pa.string()),  # file, offset and reason of an unreadable record
    ]
)

EDIT = pa.schema(
    [
        pa.field("id", ID, nullable=False),
        pa.field("start", pa.int64(), nullable=False),  # bytes of the text before the edit
        pa.field("end", pa.int64(), nullable=False),  # exclusive
        pa.field("replacement", pa.string(), nullable=False),
        pa.field("original", pa.string(), nullable=False),  # what stood there: originals can be restored
        pa.field("rule", pa.string(), nullable=False),
        pa.field("other", ID),  # the document that keeps what was cut
    ]
)


def document_id(source: str, locator: str) -> bytes:
    """Return the 16-byte identity of the record that ``locator`` names in ``source``.

    The locator is the record's own id where the recipe names such a field, else ``relative/path#position``, where the
    position is the record's byte offset in the decompressed file (JSON lines) or its row number (Parquet). Both stay
    the same however the file is split.
    """
    return xxhash.xxh3_128_digest(source.encode() + b"\0" + locator.encode())


def documents(columns: dict[str, Sequence[object] | pa.Array]) -> pa.RecordBatch:
    """Build a document batch from ``id``, ``text``, ``source`` and any optional columns; derive the rest.

    Raises ``ValueError`` (``pyarrow.ArrowInvalid`` is one) where the columns differ in length or hold the wrong type.
    """
    text = columns["text"]
    if not isinstance(text, pa.Array):
        text = pa.array(text, pa.string())
    rows = len(text)
    given = {**columns, "text": text, "bytes": text_bytes(text), "digest": text_digests(text)}
    arrays = []
    for field in DOCUMENT:
        values = given.get(field.name)
        if values is None:
            arrays.append(pa.nulls(rows, field.type))
        elif isinstance(values, pa.Array):
            arrays.append(values.cast(field.type))
        else:
            arrays.append(pa.array(values, field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=DOCUMENT)


def utf8_buffers(text: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Return the UTF-8 bytes (uint8) and the offsets (int64, rows + 1) of a string array, without copying the bytes."""
    buffers = text.buffers()
    width = np.int64 if pa.types.is_large_string(text.type) else np.int32
    if len(text) == 0 or buffers[1] is None:
        return np.zeros(0, np.uint8), np.zeros(len(text) + 1, np.int64)
    offsets = np.frombuffer(buffers[1], width)[text.offset : text.offset + len(text) + 1].astype(np.int64)
    data = np.frombuffer(buffers[2], np.uint8) if buffers[2] is not None else np.zeros(0, np.uint8)
    return data, offsets


def text_bytes(text: pa.Array) -> pa.Array:
    """Return the UTF-8 length of every text: int64 bytes."""
    _, offsets = utf8_buffers(text)
    return pa.array(np.diff(offsets))


def text_digests(text: pa.Array) -> pa.Array:
    """Return the xxh3-128 of every text: 16 bytes each."""
    data, offsets = utf8_buffers(text)
    view = data.data
    digest = xxhash.xxh3_128_digest
    return pa.array([digest(view[start:end]) for start, end in pairwise(offsets.tolist())], ID)


def halves(column: pa.Array) -> np.ndarray:
    """View a column of 16-byte values (ids or digests) as uint64 of shape (rows, 2), without a copy."""
    data = np.frombuffer(column.buffers()[1], np.uint64)
    return data[column.offset * 2 : (column.offset + len(column)) * 2].reshape(-1, 2)
