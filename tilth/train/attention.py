"""Core attention on PyTorch's fused kernels: the flash kernel on a GPU, and no score matrix in memory on a CPU either.

Megatron's own ``DotProductAttention`` writes heads x positions x positions scores: a step of 2,048 tokens through 6.9 M
parameters on one core takes 1.2, 1.6, 2.2 and 4.0 times as long with it at 256, 512, 1,024 and 2,048 positions
(benchmarks/step.py; 1.9 M parameters at 256). Same results to rounding, and no Transformer Engine needed.
"""

from contextlib import nullcontext
from typing import Any

from megatron.core.process_groups_config import ProcessGroupCollection
from megatron.core.tensor_parallel import get_cuda_rng_tracker
from megatron.core.transformer.enums import AttnMaskType
from megatron.core.transformer.module import MegatronModule
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


class FusedAttention(MegatronModule):
    """Drop-in for the ``core_attention`` of Megatron's local layer spec."""

    def __init__(
        self,
        config: TransformerConfig,
        layer_number: int,
        attn_mask_type: AttnMaskType,
        attention_type: str,
        attention_dropout: float | None = None,
        softmax_scale: float | None = None,
        cp_comm_type: str | None = None,
        pg_collection: ProcessGroupCollection | None = None,
    ) -> None:
        super().__init__(config=config)
        self.causal = attn_mask_type == AttnMaskType.causal
        self.dropout = config.attention_dropout if attention_dropout is None else attention_dropout
        self.scale = softmax_scale

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        attn_mask_type: AttnMaskType | None = None,
        attention_bias: Tensor | None = None,
        packed_seq_params: Any = None,
    ) -> Tensor:
        """Attend: query, key, value (positions, batch, heads, width) to (positions, batch, heads * width).

        ``attention_mask`` is Megatron's: bool, broadcastable to (batch, heads, positions, positions), true where a
        position must *not* look. A mask is the whole truth (a causal one has to say so itself); without a mask the
        attention is causal if the layer is. Every position must be allowed to see something, else it becomes NaN.
        """
        if attention_bias is not None or packed_seq_params is not None:
            raise NotImplementedError("FusedAttention takes no attention bias and no packed sequences")
        # (positions, batch, heads, width) -> (batch, heads, positions, width)
        query, key, value = (x.permute(1, 2, 0, 3) for x in (query, key, value))
        # Reading on from remembered keys, Megatron says that the one new position may look everywhere.
        causal = self.causal and attention_mask is None and attn_mask_type != AttnMaskType.no_mask
        dropout = self.dropout if self.training else 0.0
        # Heads on different ranks must draw different noise; under sequence parallelism the whole block already does.
        own_noise = dropout > 0.0 and not self.config.sequence_parallel
        with get_cuda_rng_tracker().fork() if own_noise else nullcontext():
            context = scaled_dot_product_attention(
                query,
                key,
                value,
                attn_mask=None if attention_mask is None else ~attention_mask,
                dropout_p=dropout,
                is_causal=causal,
                scale=self.scale,
                enable_gqa=query.shape[1] != key.shape[1],
            )
        return context.permute(2, 0, 1, 3).flatten(start_dim=2).contiguous()
