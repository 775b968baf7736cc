"""Masked language modelling: some tokens are hidden, and the model says what they were.

Rows are packed: no position is padding, where Megatron's BERT data set filled 69 % of them
(docs/decisions/masked-objectives.md). Every time a sample comes round it has another number, so another mask.
"""

from dataclasses import dataclass

import numpy as np

from tilth.tokenize.boundaries import positions
from tilth.train.objectives.batch import Batch, documents_of
from tilth.train.objectives.proposals import SPANS, TOKENS, WORDS, mask_rows, span_lengths
from tilth.train.objectives.vocabulary import Vocabulary

PROPOSALS = {"tokens": TOKENS, "words": WORDS, "spans": SPANS}


@dataclass(frozen=True)
class Masking:
    """How much is hidden, in which pieces, and how. Shares are of the tokens that may be hidden."""

    seed: int
    proposals: str = "tokens"  # tokens, words or spans of words
    rate: float = 0.15  # of the tokens are predicted
    masked: float = 0.8  # of those become the mask token
    replaced: float = 0.1  # of those become another token; the rest stay as they are
    span_success: float = 0.2  # of the geometric distribution of a span's words
    longest_span: int = 10  # words

    def apply(self, tokens: np.ndarray, first: int, vocabulary: Vocabulary) -> tuple[np.ndarray, np.ndarray]:
        """Return what the model sees of ``tokens`` (int64 (rows, positions)) and where it must say more (bool)."""
        seen = np.array(tokens, np.int64, order="C")
        chosen = np.empty(seen.shape, np.bool_)
        lengths = span_lengths(self.span_success, self.longest_span)
        mask_rows(
            seen,
            first,
            self.seed,
            PROPOSALS[self.proposals],
            self.rate,
            self.masked,
            self.replaced,
            vocabulary.special,
            vocabulary.begins_word,
            vocabulary.ordinary,
            lengths,
            vocabulary.mask,
            chosen,
        )
        return seen, chosen


@dataclass(frozen=True, eq=False)
class Masked:
    """The first sequence_length tokens of every row, some of them hidden."""

    masking: Masking
    vocabulary: Vocabulary
    document_mask: bool = False

    def collate(self, rows: np.ndarray, first: int) -> Batch:
        """Return the batch of samples ``first`` on."""
        labels = np.ascontiguousarray(rows[:, :-1], np.int64)
        tokens, chosen = self.masking.apply(labels, first, self.vocabulary)
        if not self.document_mask:
            return Batch(tokens, labels, chosen)
        documents = documents_of(labels, self.vocabulary.separator)
        return Batch(tokens, labels, chosen, documents, positions=positions(documents))
