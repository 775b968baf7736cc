"""From a record's fields to a document's columns: the same rules for a JSON object and a Parquet row.

Work is done column by column over lists of records, so that a record costs a few list comprehensions' share and no
function call of its own; one bad record raises ``Fault`` for the whole list, and the caller asks again record by record
to learn which one it was and why. Faults are rare, and the second look costs only the chunks that have one.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from tilth.corpus.document import document_id
from tilth.corpus.sources import Source

JSON_TYPES = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", int: "a number", float: "a number"}


class Fault(Exception):
    """Why a record is no document; the message is the reason that its drop will give."""


def texts(source: Source, records: Sequence[Any]) -> list[str]:
    """Take the text out of every record; raise ``Fault`` where one is no object or its text no string."""
    if set(map(type, records)) - {dict}:
        wrong = next(record for record in records if type(record) is not dict)
        raise Fault(f"is {kind(wrong)}, expected an object")
    values = fields(records, source.text, keep=False, default=False)
    if set(map(type, values)) - {str}:
        wrong = next(value for value in values if type(value) is not str)
        raise Fault(f"field {source.text!r} is {kind(wrong)}, expected a string")
    return values


def other_columns(source: Source, locators: Iterable[str], records: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Take ``source``'s fields other than the text out of ``records``; what is left becomes the metadata.

    Returns lists for ``id``, ``source``, ``metadata`` and the columns that the recipe names. ``locators`` are the
    identities where it names no id field; a record's own id also stays in its metadata. Where other
    records carry the same id, id and locator together are the identity. Raises ``Fault`` where a record lacks its id or
    a field has the wrong type.
    """
    columns: dict[str, list[Any]] = {"source": [source.name] * len(records)}
    if source.id is None:
        columns["id"] = [document_id(source.name, place) for place in locators]
    else:
        own = identities(source.id, fields(records, source.id, keep=True, default=False))
        columns["id"] = [document_id(source.name, name) for name in own]
        if source.repeated and not source.repeated.isdisjoint(columns["id"]):
            columns["id"] = [
                document_id(source.name, f"{name}\0{place}") if id in source.repeated else id
                for id, name, place in zip(columns["id"], own, locators, strict=True)
            ]
    for column, field in source.fields.items():
        if column not in ("text", "id"):
            columns[column] = optional_strings(field, fields(records, field, keep=False, default=True))
    columns["metadata"] = metadata(source, records)
    return columns


def fields(records: Sequence[Any], field: str, *, keep: bool, default: bool) -> list[Any]:
    """Return one field of every record, ``None`` (with ``default``) or a ``Fault`` (without) where it is missing.

    A dotted name descends into nested objects where no field has that very name. Unless ``keep``, the field is taken
    out of the record.
    """
    try:
        if "." in field:
            return [nested(record, field, keep=keep, default=default) for record in records]
        if keep:
            return [record[field] for record in records]
        if default:
            return [record.pop(field, None) for record in records]
        return [record.pop(field) for record in records]
    except KeyError as error:
        raise Fault(f"field {field!r} is missing") from error


def nested(record: dict[str, Any], field: str, *, keep: bool, default: bool) -> Any:
    """Return (and unless ``keep`` take out) the field of ``record`` that a dotted name reaches."""
    holder: Any = record
    name = field
    while name not in holder and "." in name:
        first, name = name.split(".", 1)
        holder = holder.get(first)
        if type(holder) is not dict:
            holder = {}
    if name not in holder:
        if default:
            return None
        raise KeyError(field)
    return holder[name] if keep else holder.pop(name)


def identities(field: str, values: list[Any]) -> list[str]:
    """Return the records' own ids as locators; a whole number counts as its decimal digits."""
    kinds = set(map(type, values))
    if not kinds <= {str, int}:
        wrong = next(value for value in values if type(value) not in (str, int))
        raise Fault(f"field {field!r} is {kind(wrong)}, expected a string or a whole number")
    if "" in values:
        raise Fault(f"field {field!r} is empty, expected an identity")
    return values if kinds <= {str} else [str(value) for value in values]


def optional_strings(field: str, values: list[Any]) -> list[str | None]:
    """Return an optional column: strings and nulls as they are, numbers as JSON writes them."""
    kinds = set(map(type, values))
    if kinds <= {str, type(None)}:
        return values
    if not kinds <= {str, int, float, type(None)}:
        wrong = next(value for value in values if type(value) not in (str, int, float, type(None)))
        raise Fault(f"field {field!r} is {kind(wrong)}, expected a string")
    return [orjson.dumps(value).decode() if isinstance(value, int | float) else value for value in values]


def metadata(source: Source, records: Sequence[dict[str, Any]]) -> list[bytes | None]:
    """Return what is left of every record as JSON with sorted keys, or nulls where the recipe wants nothing kept."""
    if source.metadata is not None:
        if not source.metadata:
            return [None] * len(records)
        wanted = set(source.metadata)
        records = [{name: value for name, value in record.items() if name in wanted} for record in records]
    dumps, option = orjson.dumps, orjson.OPT_SORT_KEYS
    try:
        return [dumps(record, as_json, option) for record in records]
    except TypeError as error:  # orjson.JSONEncodeError is one
        raise Fault(f"metadata cannot be written as JSON ({error})") from error


def as_json(value: Any) -> str:
    """Write what JSON has no type for (bytes, decimals, durations of a Parquet row) as a string."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def kind(value: Any) -> str:
    """Name the type of a value in JSON's words."""
    return "null" if value is None else JSON_TYPES.get(type(value), f"of type {type(value).__name__}")
