"""Readers turn files into documents and drops: nothing that was in a file leaves it without one or the other.

A reader never raises on what it finds in a file. Damage is data: a drop that names file, place and reason. What does
raise is a file that is gone, closed to us or changed since the run began, as a ``UserError``.
"""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from tilth.corpus.errors import UserError
from tilth.corpus.readers.chunk import Chunk
from tilth.corpus.readers.json_lines import first_json_record, read_json_lines
from tilth.corpus.readers.parquet import first_parquet_record, read_parquet
from tilth.corpus.sources import Source, SourceFile
from tilth.corpus.splits import Part

__all__ = ["Chunk", "check_fields", "field_names", "first_record", "read_part"]

READERS = {"jsonl": read_json_lines, "parquet": read_parquet}


def read_part(sources: Mapping[str, Source], part: Part) -> Iterator[Chunk]:
    """Yield every record of ``part`` as a document or a drop, in the order of its slices, in bounded memory."""
    for piece in part.slices:
        yield from READERS[piece.file.format](sources[piece.source], piece)


def first_record(source: Source, file: SourceFile) -> dict[str, Any]:
    """Return the first readable record of ``file``; raise ``UserError`` where its beginning holds none."""
    find = first_json_record if file.format == "jsonl" else first_parquet_record
    record, reason = find(source, file)
    if record is None:
        raise UserError(
            f"source {source.name!r}: {file.path!r} has no readable record at its beginning: {reason}; "
            f"expected {'one JSON object a line' if file.format == 'jsonl' else 'a Parquet file'}"
        )
    return record


def field_names(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names under which the fields of ``record`` can be reached, nested ones with dots."""
    names: list[str] = []
    for name, value in record.items():
        names.append(name)
        if isinstance(value, dict):
            names.extend(f"{name}.{inner}" for inner in field_names(value))
    return tuple(names)


def check_fields(source: Source, file: SourceFile) -> None:
    """Raise ``UserError`` where a field that the recipe names is not in the first record of ``file``."""
    found = field_names(first_record(source, file))
    for column, field in source.fields.items():
        if field not in found:
            close = difflib.get_close_matches(field, found, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]!r}" if close else f"set {column} to one of them"
            raise UserError(
                f"source {source.name!r}: {file.path!r} has no field {field!r} for {column}; "
                f"its first record has {', '.join(found) or 'no field'}; {hint}"
            )
