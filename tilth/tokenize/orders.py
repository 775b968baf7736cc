"""The order of samples that a packing means: cut where a sample ends, whole documents, or a BERT's segments.

All three answer the same questions, so whatever reads samples, or looks for the documents behind one, need not know
which it has.
"""

from collections.abc import Mapping
from typing import Any, Literal, Protocol

import numpy as np

from tilth.corpus.errors import UserError
from tilth.tokenize.bert_order import BertOrder, BertRows, Pairs
from tilth.tokenize.mixture import Mixture
from tilth.tokenize.order import TrainingOrder
from tilth.tokenize.packed_order import PackedOrder
from tilth.tokenize.places import Places
from tilth.tokenize.token_set import TokenSet

Packing = Literal["cut", "whole", "segments"]

PADDED = -1  # fills the rows of whole documents: no id of any vocabulary


class Order(Protocol):
    """Samples in the order of training."""

    token_set: TokenSet
    sequence_length: int
    places: Places
    fingerprint: str

    def batch(self, first: int, count: int) -> Any:
        """Return samples ``first`` to ``first + count - 1``: tokens with a last target each, or ``BertRows``."""

    def documents_at(self, sample: int) -> list[tuple[str, str]]:
        """Return (document id in hex, source) of every document in ``sample``."""

    def document_of(self, position: int) -> tuple[str, str] | None:
        """Return (document id in hex, source) of the token at ``position`` of a run; None where it is padding."""


def open_order(
    token_set: TokenSet,
    packing: Packing,
    sequence_length: int,
    seed: int,
    mixture: Mixture,
    special: Mapping[str, int],
    pairs: Pairs = "none",
) -> Order:
    """Return the order that ``packing`` means. ``special`` and ``pairs`` are those of ``BertOrder``.

    Raises ``UserError`` where tokens, mixture and special tokens do not fit together.
    """
    weights, budgets, epochs = mixture.weights, mixture.budgets, mixture.epochs
    if packing == "cut":
        return TrainingOrder(token_set, sequence_length, seed, weights, budgets=budgets, epochs=epochs)
    if packing == "whole":
        return PackedOrder(token_set, sequence_length, seed, weights, budgets=budgets, epochs=epochs, padding=PADDED)
    return BertOrder(token_set, sequence_length, seed, special, weights, pairs, budgets=budgets, epochs=epochs)


def check_end(order: Order, samples: int) -> None:
    """Raise ``UserError`` where the order ends before ``samples`` samples."""
    total = order.places.total
    if total is not None and samples > total:
        length = order.sequence_length
        raise UserError(
            f"epochs and budgets: all sources end after {total * length:,} tokens, found a run of "
            f"{samples * length:,}; raise a limit, leave one source without, or train fewer steps"
        )


def tokens_of(rows: Any) -> np.ndarray:
    """Return the tokens of one sample without padding: int64."""
    if isinstance(rows, BertRows):
        return np.asarray(rows.tokens[rows.segments >= 0])
    return np.asarray(rows[rows >= 0])
