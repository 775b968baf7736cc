"""Keeping the documents above a cut, or below it: the control that shows whether a score means anything.

The stage reads a stored signal and no text, so a cut is moved, or inverted, in the time that one column takes to read.
"""

import re
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tilth.corpus.errors import UserError
from tilth.corpus.stage import Effect, MapStage, Outcome, drop_rows
from tilth.selection.cut import at_or_above


@dataclass(frozen=True)
class KeepBest(MapStage):
    """Drop what stands below the cut (``score``, ``id`` as 32 hex digits) by ``signal``; with ``inverse`` the rest.

    The order is that of ``choose_cut``: score descending, then id ascending. A drop's value is the score, its limit the
    cut's score; where they are equal the id decided. Drops of an inverse selection have the rule ``not_below_cut``.
    """

    signal: str
    score: float
    id: str
    inverse: bool = False

    effect: ClassVar[Effect] = Effect.DROPS
    columns: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        """Raise ``UserError`` for an id that is none."""
        if not re.fullmatch("[0-9a-fA-F]{32}", self.id):
            raise UserError(f"{self.name}: id: found {self.id!r}, expected 32 hex digits; copy it from the cut")

    @property
    def needs(self) -> tuple[str, ...]:
        """The signal that the cut was chosen by."""
        return (self.signal,)

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """Keep one side of the cut. Raises ``UserError`` where the signal is missing or not a number for a document."""
        scores = pc.cast(batch.column(self.signal), pa.float64()).to_numpy(zero_copy_only=False)
        ids = batch.column("id")
        strange = np.flatnonzero(np.isnan(scores))
        if len(strange):
            raise UserError(
                f"{self.name}: signal {self.signal} of document {ids[int(strange[0])].as_py().hex()} is missing, "
                "expected a number; run the stage that measures it again"
            )
        kept = at_or_above(scores, id_bytes(ids), self.score, self.id) != self.inverse
        drops = drop_rows(
            batch,
            ~kept,
            self.name,
            "not_below_cut" if self.inverse else "below_cut",
            value=pa.array(scores[~kept]),
            limit=pa.array(np.full(int((~kept).sum()), self.score)),
        )
        return Outcome(batch.filter(pa.array(kept)), drops)


def id_bytes(ids: pa.Array) -> np.ndarray:
    """Return a column of ids as V16, without a copy."""
    if len(ids) == 0:
        return np.zeros(0, "V16")
    return np.frombuffer(ids.buffers()[1], "V16")[ids.offset : ids.offset + len(ids)]
