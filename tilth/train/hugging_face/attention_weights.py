"""Megatron keeps queries, keys and values of a layer in one matrix, group by group; others keep them apart."""

import torch
from torch import Tensor

from tilth.train.model import ModelConfig


def split(model: ModelConfig, joined: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the rows of queries, keys and values of a joined weight (rows, width) or bias (rows,).

    Megatron's rows are, for every group of queries, those of its heads, of its key and of its value.
    """
    width, heads = model.hidden_size // model.heads, model.heads // model.key_heads
    grouped = joined.view(model.key_heads, heads + 2, width, *joined.shape[1:])
    query, key, value = grouped.split([heads, 1, 1], dim=1)
    return query.flatten(0, 2), key.flatten(0, 2), value.flatten(0, 2)


def join(model: ModelConfig, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return Megatron's rows: the inverse of ``split``."""
    width = model.hidden_size // model.heads
    parts = [part.view(model.key_heads, -1, width, *part.shape[1:]) for part in (query, key, value)]
    return torch.cat(parts, dim=1).flatten(0, 2)
