"""Normalise text: line endings, control characters, byte order marks, Unicode composition (NFC); all as edits.

Most documents are clean, and a kernel over the batch's bytes finds those that may not be; only these become Python
strings. It asks a table of the 2,200 characters that can need an edit, so that a text is not suspect for a curly quote
or an accent (35 MB/s where every text beyond ASCII is, 2,000 with the table). Composition is local: a base character
and the marks after it. So a text is normalised stretch by stretch, and only stretches that change are recorded.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tilth.corpus.document import text_bytes, text_digests, utf8_buffers
from tilth.corpus.stage import Effect, MapStage, Outcome
from tilth.filters.edits import Edit, apply_edits, edit_rows
from tilth.filters.kernel import kernel
from tilth.filters.utf8 import decode

LINE_ENDING, CONTROL, MARK, COMPOSITION = "line_ending", "control_character", "byte_order_mark", "nfc"

# controls that end a line (str.splitlines): to remove them would glue the words on their two sides together
ENDINGS = "\x0b\x0c\x1c-\x1e\x85"
# the other controls but tab and line feed; and U+FEFF, a byte order mark wherever it stands
REMOVED = "\x00-\x08\x0e-\x1b\x1f\x7f-\x84\x86-\x9f\ufeff"
CHANGE = re.compile(f"(?P<ending>\r\n?|[{ENDINGS}])|(?P<removed>[{REMOVED}]+)")
# what is removed or beyond ASCII, with the character before it: nothing composes across the ends of such a stretch. No
# two parts of the expression can match the same character, so that a megabyte of NUL takes no longer than one of text.
STRETCH = re.compile(f"[^{REMOVED}\x80-\U0010ffff]?[{REMOVED}\x80-\U0010ffff]+")


@dataclass(frozen=True)
class Normalise(MapStage):
    """Make every text NFC with ``\\n`` line ends and no control characters but tab and line feed."""

    version: ClassVar[int] = 2
    effect: ClassVar[Effect] = Effect.EDITS
    columns: ClassVar[tuple[str, ...]] = ("text", "url", "date", "language", "metadata")

    def describe(self) -> dict[str, Any]:
        """Add the version of Unicode, since new characters may compose."""
        return {**super().describe(), "unicode": unicodedata.unidata_version}

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


def suspects(data: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Tell which documents may need an edit: bool, one a document. ``data`` is uint8 UTF-8, ``offsets`` int64."""
    data = data.view()
    data.flags.writeable = False  # the kernel is compiled for one kind of array only
    found = np.zeros(len(offsets) - 1, np.bool_)
    _find_suspects(data, offsets, suspicious_characters(), found)
    return found


@kernel
def _find_suspects(data: np.ndarray, offsets: np.ndarray, suspicious: np.ndarray, found: np.ndarray) -> None:
    """Mark the documents that hold a suspicious character (bool, one a code point)."""
    for row in range(len(found)):
        place, end = offsets[row], offsets[row + 1]
        while place < end:
            if data[place] < 0x80:
                if suspicious[data[place]]:
                    found[row] = True
                    break
                place += 1
                continue
            code, width = decode(data, place, end)
            if suspicious[code]:
                found[row] = True
                break
            place += width


@cache
def suspicious_characters() -> np.ndarray:
    """Return which code points may need an edit, alone or with what stands before them: bool, 0x110000 values.

    Beside those that go, these are the characters that NFC changes, that combine, or that compose with the one before:
    the second of a canonical decomposition, and the vowels and finals of Hangul, which compose by rule (Unicode 3.12).
    """
    table = np.zeros(0x110000, np.bool_)
    for code in range(0x40000):  # nothing above composes or combines
        character = chr(code)
        parts = unicodedata.decomposition(character).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            table[int(parts[1], 16)] = True
        if unicodedata.combining(character) or not unicodedata.is_normalized("NFC", character):
            table[code] = True
    table[0x1161:0x1176] = table[0x11A8:0x11C3] = True
    table[[code for code in range(0x10000) if CHANGE.match(chr(code))]] = True
    table.flags.writeable = False
    return table


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
