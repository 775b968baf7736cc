"""Layer norms that also work under sequence parallelism, where Megatron's torch norm refuses to be built.

Under sequence parallelism every tensor-parallel rank normalises its own slice of the positions, so the gradients of the
norm's weights are partial and must be summed over the group. Megatron sums those of any parameter that carries the
mark ``sequence_parallel``; setting it is all that is missing.
"""

import torch
from megatron.core.transformer.transformer_config import TransformerConfig


class LayerNorm(torch.nn.LayerNorm):
    """Zero mean and unit variance over ``hidden_size``, with weight and bias."""

    def __init__(self, config: TransformerConfig, hidden_size: int, eps: float = 1e-5) -> None:
        super().__init__(hidden_size, eps=eps)
        _mark(self, config)


class RMSNorm(torch.nn.RMSNorm):
    """Unit root mean square over ``hidden_size``, with a weight."""

    def __init__(self, config: TransformerConfig, hidden_size: int, eps: float = 1e-5) -> None:
        super().__init__(hidden_size, eps=eps)
        _mark(self, config)


def _mark(norm: torch.nn.Module, config: TransformerConfig) -> None:
    for parameter in norm.parameters():
        parameter.sequence_parallel = config.sequence_parallel  # type: ignore[attr-defined]
