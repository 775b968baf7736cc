"""First weights for a vocabulary that has grown: the old rows as they were, the new ones by a rule that is recorded.

New pieces begin as the mean of the embeddings of the old pieces that they stand for, which already mean about the same;
the mean of all rows, or rows at random, are there to compare with (Hewitt 2021, "Initializing New Word Embeddings for
Pretrained Language Models").
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from tilth.corpus.errors import UserError

METHODS = ("pieces", "mean", "random")


def grown(rows: Tensor, first: Tensor, method: str, pieces: Sequence[Sequence[int]]) -> Tensor:
    """Return ``first`` (new rows, ...) with ``rows`` (old rows, ...) in it and the rows after them made by ``method``.

    ``pieces``: the old ids that each new id stands for; ``pieces`` without a mean, and ``random``, keep what ``first``
    has, which was drawn with the seed. Raises ``UserError`` for another number of new ids.
    """
    old = len(rows)
    out = first.clone()
    out[:old] = rows
    if method == "mean":
        out[old : old + len(pieces)] = rows.mean(dim=0)
    elif method == "pieces":
        for number, stands_for in enumerate(pieces):
            if any(not 0 <= one < old for one in stands_for):
                raise UserError(f"growth: piece {old + number} stands for ids beyond the {old} old ones; grow it again")
            if stands_for:
                out[old + number] = rows[torch.tensor(list(stands_for))].mean(dim=0)
    return out
