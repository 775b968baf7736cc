"""From named fields to chunks of documents: what every format shares that is read record by record.

A reader of such a format says where a record stands and what its fields are; identity, columns, caps and drops follow
the same rules as for JSON lines. One bad record sends its whole batch through once more, one by one, which is rare.
"""

import copy
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import pyarrow as pa

from tilth.corpus.document import documents
from tilth.corpus.readers.chunk import CHUNK_BYTES, CHUNK_ROWS, TOO_LARGE, UNREADABLE, Chunk, Lost, drops, locator
from tilth.corpus.readers.fields import Fault, other_columns, texts
from tilth.corpus.sources import Source

# What pyarrow and orjson raise for a value that is no UTF-8 or no number of theirs.
BAD_VALUES = (Fault, UnicodeEncodeError, pa.ArrowException, OverflowError)


class Record(NamedTuple):
    """A record that was found: where, how large it was, and its fields."""

    position: int  # byte offset in the decompressed file
    size: int  # bytes of the raw record
    fields: dict[str, Any]


def record_chunks(source: Source, relative: str, records: Iterable[Record | Lost]) -> Iterator[Chunk]:
    """Turn records into chunks that hold at most ``CHUNK_ROWS`` records and, but for one, ``CHUNK_BYTES`` of them."""
    batch: list[Record | Lost] = []
    size = 0
    for record in records:
        added = record.size if isinstance(record, Record) else 0
        if batch and (len(batch) == CHUNK_ROWS or size + added > CHUNK_BYTES):
            yield chunk(source, relative, batch)
            batch, size = [], 0
        batch.append(record)
        size += added
    if batch:
        yield chunk(source, relative, batch)


def chunk(source: Source, relative: str, batch: list[Record | Lost]) -> Chunk:
    """Turn a batch of records into documents, and those that cannot become one into drops."""
    found = [record for record in batch if isinstance(record, Record)]
    lost = [record for record in batch if isinstance(record, Lost)]
    try:
        kept = record_documents(source, relative, found)
    except BAD_VALUES:
        good = []
        for record in found:
            try:
                record_documents(source, relative, [record])
                good.append(record)
            except BAD_VALUES as error:
                lost.append(Lost(record.position, record.size, UNREADABLE, " ".join(str(error).split())[:200]))
        kept = record_documents(source, relative, good)
    return Chunk(kept, drops(source.name, relative, sorted(lost, key=lambda row: row.position)), len(batch))


def record_documents(source: Source, relative: str, records: list[Record]) -> pa.RecordBatch:
    """Turn records into documents; raise where any of them is bad. The records' fields are left as they are."""
    nested = any("." in field for field in source.fields.values())  # such a field is taken out of an inner object
    rows = [copy.deepcopy(record.fields) if nested else dict(record.fields) for record in records]
    text = texts(source, rows)
    places = (locator(relative, record.position) for record in records)
    return documents({"text": text, **other_columns(source, places, rows)})


def too_large(position: int, size: int, cap: int) -> Lost:
    """Return what a record of ``size`` bytes, more than ``cap``, becomes."""
    return Lost(position, size, TOO_LARGE, f"is {size} bytes long, at most {cap} are read", size, cap)


def first_fields(records: Iterable[Record | Lost], count: int) -> tuple[list[dict[str, Any]], str]:
    """Return the fields of up to ``count`` records, and what the last fault was where there are none."""
    found: list[dict[str, Any]] = []
    reason = "it is empty"
    for record in records:
        if isinstance(record, Lost):
            reason = f"byte {record.position} {record.reason}"
            if found or record.rule in ("damaged", "decompression_bomb"):
                break
            continue
        found.append(record.fields)
        if len(found) == count:
            break
    return found, reason
