"""Normalise text: line endings, control characters, byte order marks, Unicode composition (NFC); all as edits.

Most documents are clean, and a kernel over the batch's bytes finds those that may not be; only these become Python
strings. Composition is local: a base character and the marks after it. So a text is normalised stretch by stretch, and
only stretches that change are recorded.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit

from tilth.corpus.document import text_bytes, text_digests, utf8_buffers
from tilth.corpus.stage import Effect, MapStage, Outcome
from tilth.filters.edits import Edit, apply_edits, edit_rows

LINE_ENDING, CONTROL, MARK, COMPOSITION = "line_ending", "control_character", "byte_order_mark", "nfc"

# C0 without tab, line feed and carriage return; delete; C1; and U+FEFF, a byte order mark wherever it stands
REMOVED = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x9f\ufeff"
CHANGE = re.compile(f"(?P<ending>\r\n?)|(?P<removed>[{REMOVED}]+)")
# a character and whatever beyond ASCII, or removed, follows it: nothing composes across such a stretch's ends
STRETCH = re.compile(f"[^{REMOVED}\r]?[{REMOVED}]*[^\x00-\x7f][{REMOVED}\x80-\U0010ffff]*")


@dataclass(frozen=True)
class Normalise(MapStage):
    """Make every text NFC with ``\\n`` line ends and no control characters but tab and line feed."""

    version: ClassVar[int] = 1
    effect: ClassVar[Effect] = Effect.EDITS
    columns: ClassVar[tuple[str, ...]] = ("text", "url", "date", "language", "metadata")

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """Edit the texts that need it; every document goes on."""
        text = batch.column("text")
        data, offsets = utf8_buffers(text)
        rows = np.flatnonzero(suspects(data, offsets)).tolist()
        edits = {row: found for row in rows if (found := list(text_edits(text[row].as_py())))}
        if not edits:
            return Outcome(kept=batch)
        mask = np.zeros(batch.num_rows, bool)
        mask[list(edits)] = True
        changed = pa.array([apply_edits(text[row].as_py().encode(), own).decode() for row, own in edits.items()])
        kept = batch
        for name, values in (("text", changed), ("bytes", text_bytes(changed)), ("digest", text_digests(changed))):
            place = kept.schema.get_field_index(name)
            column = pc.replace_with_mask(kept.column(name), pa.array(mask), values)
            kept = kept.set_column(place, kept.schema.field(name), column)
        ids = [batch.column("id")[row].as_py() for row in edits]
        return Outcome(kept=kept, edits=edit_rows(ids, list(edits.values())))


@njit(cache=True, nogil=True)
def suspects(data: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Tell which documents may need an edit (bool, one a document): bytes beyond ASCII, carriage returns, controls.

    ``data`` is uint8 UTF-8, ``offsets`` int64 (documents + 1,).
    """
    found = np.zeros(len(offsets) - 1, np.bool_)
    for row in range(len(found)):
        for place in range(offsets[row], offsets[row + 1]):
            byte = data[place]
            if byte >= 0x7F or (byte < 0x20 and byte != 0x0A and byte != 0x09):
                found[row] = True
                break
    return found


def text_edits(text: str) -> Iterator[Edit]:
    """Yield the edits that normalise a text, ascending."""
    place, size = 0, 0  # characters and bytes of the text before the next edit
    for start, end, replacement, rule in _changes(text):
        size += len(text[place:start].encode())
        original = text[start:end]
        width = len(original.encode())
        yield Edit(size, size + width, replacement, original, rule)
        place, size = end, size + width


def _changes(text: str) -> Iterator[tuple[int, int, str, str]]:
    """Yield (start, end, replacement, rule) in characters."""
    composed = list(_compositions(text)) if not text.isascii() else []
    taken = 0
    for change in CHANGE.finditer(text):
        while taken < len(composed) and composed[taken][1] <= change.start():
            yield composed[taken]
            taken += 1
        if taken < len(composed) and composed[taken][0] <= change.start():
            continue  # the composition takes it along
        if change["ending"]:
            yield change.start(), change.end(), "\n", LINE_ENDING
        else:
            rule = MARK if "\ufeff" in change["removed"] else CONTROL
            yield change.start(), change.end(), "", rule
    yield from composed[taken:]


def _compositions(text: str) -> Iterator[tuple[int, int, str, str]]:
    """Yield the stretches that are not NFC once what is removed is gone, trimmed to what differs."""
    if unicodedata.is_normalized("NFC", text) and not CHANGE.search(text):
        return
    for stretch in STRETCH.finditer(text):
        before = stretch[0]
        cleaned = CHANGE.sub(lambda change: "\n" if change["ending"] else "", before)
        after = unicodedata.normalize("NFC", cleaned)
        if after != cleaned:
            head = common(before, after)
            tail = common(before[:head:-1], after[:head:-1])
            yield stretch.start() + head, stretch.end() - tail, after[head : len(after) - tail], COMPOSITION


def common(one: str, two: str) -> int:
    """Return how many characters two texts have in common at their beginning."""
    return next(
        (place for place, pair in enumerate(zip(one, two, strict=False)) if pair[0] != pair[1]), min(len(one), len(two))
    )
