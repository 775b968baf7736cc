"""Readers turn files into documents and drops: nothing that was in a file leaves it without one or the other.

A reader never raises on what it finds in a file. Damage is data: a drop that names file, place and reason. What does
raise is a file that is gone, closed to us or changed since the run began, as a ``UserError``.
"""

import dataclasses
import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tilth.corpus.errors import UserError
from tilth.corpus.readers.arrow import first_arrow_records, read_arrow_ipc
from tilth.corpus.readers.choose import chosen
from tilth.corpus.readers.chunk import Chunk, Lost
from tilth.corpus.readers.delimited import read_delimited, row_records
from tilth.corpus.readers.json_lines import first_json_records, read_json_lines
from tilth.corpus.readers.mediawiki import page_records, read_mediawiki
from tilth.corpus.readers.parquet import first_parquet_records, read_parquet
from tilth.corpus.readers.records import Record, first_fields
from tilth.corpus.readers.trees import read_tree, tree_records
from tilth.corpus.readers.warc import read_warc, warc_records
from tilth.corpus.sources import Format, Source, SourceFile
from tilth.corpus.splits import Part, Slice

__all__ = ["Chunk", "check_fields", "field_names", "first_record", "first_record_of", "read_part"]

READERS: dict[Format, Callable[[Source, Slice], Iterator[Chunk]]] = {
    "jsonl": read_json_lines,
    "parquet": read_parquet,
    "arrow": read_arrow_ipc,
    "csv": read_delimited,
    "tsv": read_delimited,
    "text": read_tree,
    "markdown": read_tree,
    "html": read_tree,
    "warc": read_warc,
    "mediawiki": read_mediawiki,
}
# Formats whose readers hand out records one by one.
RECORDS: dict[Format, Callable[[Source, Slice], Iterator[Record | Lost]]] = {
    "csv": row_records,
    "tsv": row_records,
    "text": tree_records,
    "markdown": tree_records,
    "html": tree_records,
    "warc": warc_records,
    "mediawiki": page_records,
}
EXPECTED: dict[Format, str] = {
    "jsonl": "one JSON object a line",
    "parquet": "a Parquet file",
    "arrow": "an Arrow IPC file or stream",
    "csv": "rows of comma-separated values under a row of names",
    "tsv": "rows of tab-separated values under a row of names",
    "text": "plain text",
    "markdown": "Markdown",
    "html": "a page with text",
    "warc": "an archive with a page or a text",
    "mediawiki": "a MediaWiki XML dump with an article",
}
LOOKED_INTO = 32  # files of a source
LOOKED_AT = 100  # records in which a field must occur once: a date or url that few records have is a field all the same


def read_part(sources: Mapping[str, Source], part: Part, repeated: frozenset[bytes] = frozenset()) -> Iterator[Chunk]:
    """Yield every record of ``part`` as a document or a drop, in the order of its slices, in bounded memory.

    Records whose id is one of ``repeated`` are known by their id and their place. Behind the source's limit of
    documents nothing is read.
    """
    source = dataclasses.replace(sources[part.source], repeated=repeated)
    left = source.limit
    for piece in part.slices:
        for chunk in READERS[piece.file.format](source, piece):
            kept = chosen(source, piece.file.relative, chunk)
            if left is not None:
                kept = kept.first(left)
                left -= kept.documents.num_rows
            yield kept
            if left == 0:
                return


def first_of(source: Source, file: SourceFile, count: int) -> tuple[list[dict[str, Any]], str]:
    """Return up to ``count`` records from the beginning of ``file``, and the last fault where there are none."""
    if file.format == "jsonl":
        return first_json_records(source, file, count)
    if file.format == "parquet":
        return first_parquet_records(source, file, count)
    if file.format == "arrow":
        return first_arrow_records(source, file, count)
    return first_fields(RECORDS[file.format](source, Slice(file, 0, file.size)), count)


def first_record(source: Source, file: SourceFile) -> dict[str, Any]:
    """Return the first readable record of ``file``; raise ``UserError`` where its beginning holds none."""
    return first_records(source, file, 1)[0]


def first_record_of(source: Source, files: Sequence[SourceFile]) -> dict[str, Any]:
    """Return the first readable record of the first of ``files`` that begins with one; else raise as for the first."""
    for file in looked_into(files):
        records, _ = first_of(source, file, 1)
        if records:
            return records[0]
    return first_record(source, files[0])


def first_records(source: Source, file: SourceFile, count: int) -> list[dict[str, Any]]:
    """Return up to ``count`` readable records, at least one, from the beginning of ``file``."""
    records, reason = first_of(source, file, count)
    if not records:
        raise UserError(
            f"source {source.name!r}: {file.path!r} has no readable record at its beginning: {reason}; "
            f"expected {EXPECTED[file.format]}"
        )
    return records


def field_names(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names under which the fields of ``record`` can be reached, nested ones with dots."""
    names: list[str] = []
    for name, value in record.items():
        names.append(name)
        if isinstance(value, dict):
            names.extend(f"{name}.{inner}" for inner in field_names(value))
    return tuple(names)


def check_fields(source: Source, files: Sequence[SourceFile]) -> None:
    """Raise ``UserError`` where a field that the recipe names is not in the first records of ``files``.

    Text and id must occur in every file that is looked into (at most 32, evenly spread), other fields in one of them.
    A file whose beginning cannot be read is passed over, unless all are like it: its loss is counted when it is read.
    """
    found: dict[SourceFile, tuple[str, ...]] = {}
    for file in looked_into(files):
        records, _ = first_of(source, file, LOOKED_AT)
        if records:
            found[file] = tuple(dict.fromkeys(name for record in records for name in field_names(record)))
    if not found:
        first_records(source, files[0], 1)
    everywhere = tuple(dict.fromkeys(name for names in found.values() for name in names))
    for column, field in source.fields.items():
        for file, names in found.items():
            known = names if column in ("text", "id") else everywhere
            if field not in known:
                close = difflib.get_close_matches(field, known, n=1, cutoff=0.5)
                hint = f"did you mean {close[0]!r}" if close else f"set {column} to one of them"
                raise UserError(
                    f"source {source.name!r}: {file.path!r} has no field {field!r} for {column}; "
                    f"its first records have {', '.join(known) or 'no field'}; {hint}"
                )


def looked_into(files: Sequence[SourceFile]) -> list[SourceFile]:
    """Return the files that are looked into before a run: all, or 32 of them from the first to the last."""
    if len(files) <= LOOKED_INTO:
        return list(files)
    return [files[i * (len(files) - 1) // (LOOKED_INTO - 1)] for i in range(LOOKED_INTO)]
