"""Masked language modelling on rows of segments ``[class] text [separator]``, each read as if it stood alone.

Rows are packed by ``tilth.tokenize.bert_order``; attention and positions begin anew in every segment. Where segments
are pairs, each class token is also asked whether its two parts are out of order.
"""

from dataclasses import dataclass

import numpy as np

from tilth.tokenize.bert_order import BertRows
from tilth.tokenize.boundaries import positions
from tilth.train.objectives.batch import Batch
from tilth.train.objectives.masked import Masking
from tilth.train.objectives.vocabulary import Vocabulary


@dataclass(frozen=True, eq=False)
class Segments:
    """Rows of segments, some of their tokens hidden. ``pairs``: ask after the order of the two parts, too."""

    masking: Masking
    vocabulary: Vocabulary
    pairs: bool = False

    def collate(self, rows: BertRows, first: int) -> Batch:
        """Return the batch of samples ``first`` on."""
        tokens, chosen = self.masking.apply(rows.tokens, first, self.vocabulary)
        follows = rows.follows.astype(np.int64)
        return Batch(
            tokens,
            rows.tokens,
            chosen,
            documents=rows.segments.astype(np.int64),
            positions=positions(rows.segments),
            types=rows.types.astype(np.int64),
            order=np.where(follows >= 0, 1 - follows, -1) if self.pairs else None,
        )
