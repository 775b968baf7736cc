"""Edits: recorded spans of change, so that what a stage wrote can be turned back into what it read.

Spans are bytes of the text before the edits, ascending and apart from each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from tilth.corpus.document import EDIT


@dataclass(frozen=True)
class Edit:
    """``original`` stood at ``start`` to ``end`` (bytes, exclusive) and became ``replacement``."""

    start: int
    end: int
    replacement: str
    original: str
    rule: str
    other: bytes | None = None  # the document that keeps what was cut


def apply_edits(before: bytes, edits: Sequence[Edit]) -> bytes:
    """Return the text after ``edits``. Raises ``ValueError`` where they overlap or do not fit the text."""
    pieces, place = [], 0
    for edit in edits:
        if edit.start < place or before[edit.start : edit.end] != edit.original.encode():
            raise ValueError(f"edit at {edit.start}..{edit.end} does not fit the text before it")
        pieces += [before[place : edit.start], edit.replacement.encode()]
        place = edit.end
    return b"".join([*pieces, before[place:]])


def restore(after: bytes, edits: Sequence[Edit]) -> bytes:
    """Return the text before ``edits``, given the one after them. Raises ``ValueError`` where they do not fit."""
    pieces, place, shift = [], 0, 0
    for edit in edits:
        replacement = edit.replacement.encode()
        start = edit.start + shift
        if start < place or after[start : start + len(replacement)] != replacement:
            raise ValueError(f"edit at {edit.start}..{edit.end} does not fit the text after it")
        pieces += [after[place:start], edit.original.encode()]
        place = start + len(replacement)
        shift += len(replacement) - (edit.end - edit.start)
    return b"".join([*pieces, after[place:]])


def edit_rows(ids: Sequence[bytes], edits: Sequence[Sequence[Edit]]) -> pa.RecordBatch:
    """Return the edits of several documents as rows of the schema ``EDIT``."""
    rows = [(identity, edit) for identity, own in zip(ids, edits, strict=True) for edit in own]
    columns = {
        "id": [identity for identity, _ in rows],
        "start": [edit.start for _, edit in rows],
        "end": [edit.end for _, edit in rows],
        "replacement": [edit.replacement for _, edit in rows],
        "original": [edit.original for _, edit in rows],
        "rule": [edit.rule for _, edit in rows],
        "other": [edit.other for _, edit in rows],
    }
    return pa.RecordBatch.from_arrays([pa.array(columns[item.name], item.type) for item in EDIT], schema=EDIT)
