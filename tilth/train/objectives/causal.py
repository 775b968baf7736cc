"""Causal language modelling: every position predicts the next token."""

from dataclasses import dataclass

import numpy as np

from tilth.tokenize.boundaries import positions
from tilth.train.objectives.batch import Batch, documents_of


@dataclass(frozen=True)
class Causal:
    """Rows of sequence_length + 1 tokens: inputs are all but the last, labels all but the first.

    A negative id is padding, at the end of a row: it is not predicted, and no token looks that far.
    """

    separator: int | None = None  # given: attention and positions stay within documents, which it separates

    def collate(self, rows: np.ndarray, first: int) -> Batch:
        """Return the batch of ``rows``; ``first`` does not matter here."""
        counts = np.ascontiguousarray(rows[:, 1:] >= 0)
        text = np.maximum(rows, 0, dtype=np.int64)
        tokens, labels = np.ascontiguousarray(text[:, :-1]), np.ascontiguousarray(text[:, 1:])
        if self.separator is None:
            return Batch(tokens, labels, counts)
        documents = documents_of(tokens, self.separator)
        return Batch(tokens, labels, counts, documents, positions=positions(documents))
