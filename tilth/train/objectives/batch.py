"""What an objective makes of rows of tokens, and what it is.

An objective is a pure function of the rows and the numbers of their samples: the same whichever process asks, in
whatever layout, after whatever restart. Whoever writes another one writes a file with one class like ``Causal``.
"""

from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

import numpy as np


@dataclass(frozen=True)
class Batch:
    """Rows that a model reads, and what it should say. Arrays of shape (rows, positions) where nothing else is said."""

    tokens: np.ndarray  # int64: what the model sees
    labels: np.ndarray  # int64: what is true at each position
    counts: np.ndarray  # bool: where the prediction counts
    documents: np.ndarray | None = None  # int64: attention stays within equal numbers; None: it goes everywhere
    types: np.ndarray | None = None  # int64: first or second segment
    positions: np.ndarray | None = None  # int64: place in its document; None: in its row
    order: np.ndarray | None = None  # int64: 1 where a pair that is asked after here was exchanged, 0: not, -1: no pair

    def rows(self, first: int, count: int) -> "Batch":
        """Return ``count`` rows from ``first`` on."""
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        part: dict[str, Any] = {
            name: None if array is None else array[first : first + count] for name, array in arrays.items()
        }
        return replace(self, **part)


class Objective(Protocol):
    """Turns rows of samples into a batch."""

    def collate(self, rows: Any, first: int) -> Batch:
        """Return the batch of samples ``first`` on; ``rows``: as their order gives them."""


def documents_of(tokens: np.ndarray, separator: int) -> np.ndarray:
    """Number the documents of every row: int64 (rows, positions).

    The separator that ends a document begins the next one, so that a document reads the same first token here as
    where it is scored alone.
    """
    numbers: np.ndarray = np.cumsum(tokens == separator, axis=1, dtype=np.int64)
    return numbers
