"""Why a document is where it is: every stage it met, what was measured, edited and decided, and who stayed instead.

Parts keep their number along the whole chain, so a document is looked for once, in the ids of the reading stage, and
then found in the same part of every other stage.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tilth.corpus.chain import Stored
from tilth.corpus.document import ID
from tilth.corpus.errors import UserError
from tilth.corpus.store import DROPS, EDITS, SIGNALS, part_name, read_arrow


@dataclass(frozen=True)
class Event:
    """What one stage made of the document."""

    stage: str
    verdict: str  # "kept", "edited" or "dropped"
    signals: dict[str, float] = field(default_factory=dict)
    edits: list[dict[str, Any]] = field(default_factory=list)
    drop: dict[str, Any] | None = None  # rule, value, limit, other (hex), detail


@dataclass(frozen=True)
class Story:
    """One document's way through a run. ``text`` is what it was when it was read; None for an unreadable record."""

    id: str
    source: str
    part: int
    text: str | None
    events: list[Event]


def why(chain: Sequence[Stored], prefix: str) -> Story:
    """Tell the story of the document whose id (hex digits) begins with ``prefix``.

    Raises ``UserError`` where the prefix is no hex number, or where none or several documents have it.
    """
    if not prefix or set(prefix.lower()) - set("0123456789abcdef") or len(prefix) > 32:
        raise UserError(f"id {prefix!r}: expected up to 32 hex digits, such as the ids that drops and reports show")
    part, identity, source = _find(chain[0], prefix.lower())
    events = [event for stored in chain if (event := _event(stored, part, identity)) is not None]
    # a stage after the drop never saw it
    last = next((place for place, event in enumerate(events) if event.verdict == "dropped"), len(events))
    return Story(identity.hex(), source, part, _text(chain[0], part, identity), events[: last + 1])


def _find(read: Stored, prefix: str) -> tuple[int, bytes, str]:
    found: dict[bytes, tuple[int, str]] = {}
    for part in range(read.parts):
        for path in (read.folder / part_name(part), read.folder / DROPS / part_name(part)):
            for batch in read_arrow(path, ["id", "source"], missing_is_empty=True):
                for row in np.flatnonzero(_begins(batch.column("id"), prefix)).tolist():
                    found[batch.column("id")[row].as_py()] = (part, batch.column("source")[row].as_py())
    if not found:
        raise UserError(f"id '{prefix}': no document of this run begins so")
    if len(found) > 1:
        some = ", ".join(sorted(identity.hex() for identity in found)[:3])
        raise UserError(f"id '{prefix}': {len(found)} documents begin so ({some} …); give more digits")
    identity, (part, source) = found.popitem()
    return part, identity, source


def _begins(ids: pa.Array, prefix: str) -> np.ndarray:
    """Tell which ids begin with the hex digits."""
    table = np.frombuffer(ids.buffers()[1], np.uint8)[ids.offset * 16 : (ids.offset + len(ids)) * 16].reshape(-1, 16)
    whole = bytes.fromhex(prefix[: len(prefix) // 2 * 2])
    mask = (table[:, : len(whole)] == np.frombuffer(whole, np.uint8)).all(axis=1)
    if len(prefix) % 2:
        mask &= table[:, len(whole)] >> 4 == int(prefix[-1], 16)
    return np.asarray(mask)


def rows_of(path: Path, identity: bytes) -> Iterator[dict[str, Any]]:
    """Yield the rows about a document in an Arrow file of a part, if there is one."""
    one = pa.array([identity], ID)
    for batch in read_arrow(path, missing_is_empty=True):
        yield from batch.filter(pc.is_in(batch.column("id"), value_set=one)).to_pylist()


def _event(stored: Stored, part: int, identity: bytes) -> Event | None:
    name = part_name(part)
    signals: dict[str, float] = {}
    for row in rows_of(stored.folder / SIGNALS / name, identity):
        signals = {key: value for key, value in row.items() if isinstance(value, int | float)}
    edits = [
        {key: value for key, value in row.items() if key != "id"}
        | {"other": row["other"].hex() if row["other"] else None}
        for row in rows_of(stored.folder / EDITS / name, identity)
    ]
    for row in rows_of(stored.folder / DROPS / name, identity):
        drop = {key: row[key] for key in ("rule", "value", "limit", "detail")}
        drop["other"] = row["other"].hex() if row["other"] else None
        return Event(stored.manifest.name, "dropped", signals, edits, drop)
    return Event(stored.manifest.name, "edited" if edits else "kept", signals, edits)


def _text(read: Stored, part: int, identity: bytes) -> str | None:
    one = pa.array([identity], ID)
    for batch in read_arrow(read.folder / part_name(part), ["id", "text"]):
        found = batch.filter(pc.is_in(batch.column("id"), value_set=one))
        if found.num_rows:
            return str(found.column("text")[0].as_py())
    return None
