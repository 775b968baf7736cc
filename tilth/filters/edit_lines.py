"""Edits the lines of the documents that a preset's rules let through: C4's and RefinedWeb's line rules, as edits."""

import unicodedata
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from tilth.corpus.errors import UserError
from tilth.corpus.stage import Effect, MapStage, Outcome
from tilth.filters.rules import preset
from tilth.filters.spans import edit_batch
from tilth.filters.texts import Texts


@dataclass(frozen=True)
class EditLines(MapStage):
    """Makes the edits of a preset; every document goes on.

    Raises ``UserError`` for a preset that is not known or that edits nothing.
    """

    preset: str

    version: ClassVar[int] = 1
    effect: ClassVar[Effect] = Effect.EDITS
    columns: ClassVar[tuple[str, ...]] = ("text", "url", "date", "language", "metadata")

    def __post_init__(self) -> None:
        if preset(self.preset).edits is None:
            raise UserError(f"{self.name}: preset {self.preset!r} has no edits; give one that has, such as c4.tfds@1")

    def describe(self) -> dict[str, Any]:
        """Add the version of Unicode, since the classes of characters follow it."""
        return {**super().describe(), "unicode": unicodedata.unidata_version}

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """Edit the texts; every document goes on."""
        find = preset(self.preset).edits
        return Outcome(kept=batch) if find is None else edit_batch(batch, find(Texts.shared(batch.column("text"))))
