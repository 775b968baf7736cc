"""Hold documents out for evaluation, by a hash of their id: the same ones whatever else is in the corpus.

They leave as drops with the rule ``held_out``, so the ledger accounts for them, and the evaluation finds them there.
Placed after deduplication, no held-out text has a twin in the training text.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import xxhash

from tilth.corpus.document import halves
from tilth.corpus.ledger import splitmix
from tilth.corpus.stage import Effect, MapStage, Outcome, drop_rows

RULE = "held_out"


@dataclass(frozen=True)
class HoldOut(MapStage):
    """Hold out a ``fraction`` of the documents (0 to 1), chosen by ``seed`` and the stage's name."""

    fraction: float
    seed: int

    version: ClassVar[int] = 2
    effect: ClassVar[Effect] = Effect.DROPS
    columns: ClassVar[tuple[str, ...]] = ()

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """Drop the documents whose hash falls into the fraction."""
        # with the name, so that a second stage of the same seed draws anew and not what the first one took
        drawn = xxhash.xxh3_64_intdigest(f"{self.seed} {self.name}".encode())
        hashed = splitmix(halves(batch.column("id"))[:, 0] ^ splitmix(np.full(1, drawn, np.uint64)))
        place = (hashed >> np.uint64(11)) * 2.0**-53  # 53 bits make an exact double in [0, 1)
        mask = place < self.fraction
        limit = pa.array(np.full(int(mask.sum()), self.fraction))
        drops = drop_rows(batch, mask, self.name, RULE, value=pa.array(place[mask]), limit=limit)
        return Outcome(kept=batch.filter(pa.array(~mask)), drops=drops)
