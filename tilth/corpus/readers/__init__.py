"""Readers turn files into documents and drops: nothing that was in a file leaves it without one or the other.

A reader never raises on what it finds in a file. Damage is data: a drop that names file, place and reason. What does
raise is a file that is gone, closed to us or changed since the run began, as a ``UserError``.
"""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from tilth.corpus.errors import UserError
from tilth.corpus.readers.chunk import Chunk
from tilth.corpus.readers.json_lines import first_json_records, read_json_lines
from tilth.corpus.readers.parquet import first_parquet_records, read_parquet
from tilth.corpus.sources import Source, SourceFile
from tilth.corpus.splits import Part

__all__ = ["Chunk", "check_fields", "field_names", "first_record", "read_part"]

READERS = {"jsonl": read_json_lines, "parquet": read_parquet}
FIRST_RECORDS = {"jsonl": first_json_records, "parquet": first_parquet_records}
LOOKED_AT = 100  # records in which a field must occur once: a date or url that few records have is a field all the same


def read_part(sources: Mapping[str, Source], part: Part) -> Iterator[Chunk]:
    """Yield every record of ``part`` as a document or a drop, in the order of its slices, in bounded memory."""
    for piece in part.slices:
        yield from READERS[piece.file.format](sources[piece.source], piece)


def first_record(source: Source, file: SourceFile) -> dict[str, Any]:
    """Return the first readable record of ``file``; raise ``UserError`` where its beginning holds none."""
    return first_records(source, file, 1)[0]


def first_records(source: Source, file: SourceFile, count: int) -> list[dict[str, Any]]:
    """Return up to ``count`` readable records, at least one, from the beginning of ``file``."""
    records, reason = FIRST_RECORDS[file.format](source, file, count)
    if not records:
        raise UserError(
            f"source {source.name!r}: {file.path!r} has no readable record at its beginning: {reason}; "
            f"expected {'one JSON object a line' if file.format == 'jsonl' else 'a Parquet file'}"
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


def check_fields(source: Source, file: SourceFile) -> None:
    """Raise ``UserError`` where a field that the recipe names is in none of the first records of ``file``."""
    records = first_records(source, file, LOOKED_AT)
    found = tuple(dict.fromkeys(name for record in records for name in field_names(record)))
    for column, field in source.fields.items():
        if field not in found:
            close = difflib.get_close_matches(field, found, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]!r}" if close else f"set {column} to one of them"
            raise UserError(
                f"source {source.name!r}: {file.path!r} has no field {field!r} for {column}; "
                f"its first records have {', '.join(found) or 'no field'}; {hint}"
            )
