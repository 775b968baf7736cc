"""Causal language modelling: every position predicts the next token."""

from dataclasses import dataclass

import numpy as np

from tilth.train.objectives.batch import Batch, documents_of


@dataclass(frozen=True)
class Causal:
    """Rows of sequence_length + 1 tokens: inputs are all but the last, labels all but the first."""

    separator: int | None = None  # given: attention stays within documents, which it separates

    def collate(self, rows: np.ndarray, first: int) -> Batch:
        """Return the batch of ``rows``; ``first`` does not matter here."""
        tokens = np.ascontiguousarray(rows[:, :-1], np.int64)
        labels = np.ascontiguousarray(rows[:, 1:], np.int64)
        documents = None if self.separator is None else documents_of(tokens, self.separator)
        return Batch(tokens, labels, np.ones(tokens.shape, np.bool_), documents)
