"""Repairs text that was decoded wrongly (``schÃ¶n`` for ``schön``) with ftfy, as recorded edits.

ftfy takes a text line by line, so lines that it changes are edits of their own, trimmed to what differs. Plain ASCII
without an ampersand has nothing to repair and is not looked at. Curly quotes stay.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tilth.corpus.errors import UserError
from tilth.corpus.stage import Effect, MapStage, Outcome
from tilth.filters.edits import Edit, apply_edits, edit_rows
from tilth.filters.normalise import common
from tilth.filters.spans import with_texts


@dataclass(frozen=True)
class Repair(MapStage):
    """Repairs every text; needs ftfy (``pip install ftfy``). Raises ``UserError`` where it is missing."""

    version: ClassVar[int] = 1
    effect: ClassVar[Effect] = Effect.EDITS
    columns: ClassVar[tuple[str, ...]] = ("text", "url", "date", "language", "metadata")

    def describe(self) -> dict[str, Any]:
        """Add the version of ftfy, since its table of mistakes grows."""
        return {**super().describe(), "ftfy": _ftfy().__version__}

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """Repair the texts that need it; every document goes on."""
        text = batch.column("text")
        suspect = pc.or_(pc.invert(pc.string_is_ascii(text)), pc.match_substring(text, "&"))
        rows = np.flatnonzero(suspect.to_numpy(zero_copy_only=False)).tolist()
        edits = {row: found for row in rows if (found := list(repairs(text[row].as_py(), self.name)))}
        if not edits:
            return Outcome(kept=batch)
        mask = np.zeros(batch.num_rows, np.bool_)
        mask[list(edits)] = True
        changed = pa.array([apply_edits(text[row].as_py().encode(), own).decode() for row, own in edits.items()])
        ids = [batch.column("id")[row].as_py() for row in edits]
        return Outcome(with_texts(batch, mask, changed), edits=edit_rows(ids, list(edits.values())))


def repairs(text: str, rule: str) -> Iterator[Edit]:
    """Yield the edits that repair a text, ascending."""
    ftfy = _ftfy()
    config = ftfy.TextFixerConfig(
        uncurl_quotes=False,
        fix_line_breaks=False,
        remove_control_chars=False,
        normalization=None,
        fix_latin_ligatures=False,
        fix_character_width=False,
    )
    at = 0
    for line in text.split("\n"):
        size = len(line.encode())
        after = ftfy.fix_text_segment(line, config) if line and not (line.isascii() and "&" not in line) else line
        if after != line:
            head = common(line, after)
            tail = common(line[:head:-1], after[:head:-1]) if min(len(line), len(after)) > head else 0
            original, replacement = line[head : len(line) - tail], after[head : len(after) - tail]
            start = at + len(line[:head].encode())
            yield Edit(start, start + len(original.encode()), replacement, original, rule)
        at += size + 1


def _ftfy() -> Any:
    try:
        import ftfy
    except ImportError as error:
        raise UserError("repair: the package ftfy is missing; pip install ftfy") from error
    return ftfy
