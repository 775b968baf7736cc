"""Where documents begin and end inside rows: for attention that stays inside them and positions that start anew.

Read off the tokens themselves, since the separator ends every document and stands nowhere else. Masks cost a bool for
each pair of tokens; ``cumulative_lengths`` says the same to attention kernels that take packed sequences.
"""

import numpy as np


def document_numbers(tokens: np.ndarray, separator: int) -> np.ndarray:
    """Return which document of its row every token is of: int32, of the shape (rows, length) of ``tokens``.

    The separator belongs to the document before it.
    """
    after = np.zeros(tokens.shape, np.int32)
    after[:, 1:] = np.cumsum(tokens[:, :-1] == separator, axis=1)
    return after


def positions(numbers: np.ndarray) -> np.ndarray:
    """Return every token's place in its document's part of the row, from 0: int64 (rows, length)."""
    place = np.arange(numbers.shape[1])
    first = np.ones(numbers.shape, np.bool_)
    first[:, 1:] = numbers[:, 1:] != numbers[:, :-1]
    return np.asarray(place - np.maximum.accumulate(np.where(first, place, 0), axis=1))


def attention_allowed(numbers: np.ndarray, *, causal: bool = True) -> np.ndarray:
    """Return which token may look at which: bool (rows, length, length), [row, looking, looked at].

    Only inside a document; ``causal``: and only back. Tokens numbered below 0 are padding and look at themselves.
    """
    same = numbers[:, :, None] == numbers[:, None, :]
    if causal:
        same = np.tril(same)
    padding = numbers < 0
    same &= ~padding[:, :, None]
    same |= np.eye(numbers.shape[1], dtype=np.bool_)
    return np.asarray(same)


def cumulative_lengths(numbers: np.ndarray) -> np.ndarray:
    """Return where documents begin in the rows laid end to end, and the end of all: int32, from 0 on."""
    first = np.ones(numbers.shape, np.bool_)
    first[:, 1:] = numbers[:, 1:] != numbers[:, :-1]
    return np.append(np.flatnonzero(first.reshape(-1)), numbers.size).astype(np.int32)
