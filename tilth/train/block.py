"""The transformer layers that GPT and BERT share: our description of a model, said in Megatron's words.

The layers are Megatron's local ones (no Transformer Engine, no Apex) with two parts exchanged: the core attention and
the norms.
"""

import logging
import warnings
from functools import partial
from typing import Any

import torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # a dozen notes that Transformer Engine and Apex are absent, which is meant
    from megatron.core import parallel_state
    from megatron.core.distributed import finalize_model_grads
    from megatron.core.transformer.spec_utils import ModuleSpec
    from megatron.core.transformer.transformer_block import (
        TransformerBlock,
        TransformerBlockSubmodules,
        get_num_layers_to_build,
    )
    from megatron.core.transformer.transformer_config import TransformerConfig

from tilth.train.attention import FusedAttention
from tilth.train.engine_attention import engine_attention
from tilth.train.layout import Layout
from tilth.train.model import ModelConfig
from tilth.train.norm import LayerNorm, RMSNorm

# With the CPU's generator in the part of CUDA's, Megatron warns at every dropout that it moved. It is meant to.
logging.getLogger("megatron.core.tensor_parallel.random").setLevel(logging.ERROR)

ACTIVATIONS = {
    "swiglu": torch.nn.functional.silu,
    "gelu": torch.nn.functional.gelu,
    "gelu_tanh": partial(torch.nn.functional.gelu, approximate="tanh"),
}
RECOMPUTED: dict[str, dict[str, Any]] = {
    "none": {},
    "attention": {"recompute_granularity": "selective", "recompute_modules": ["core_attn"]},
    "layers": {"recompute_granularity": "full", "recompute_method": "uniform", "recompute_num_layers": 1},
}


def transformer_config(
    model: ModelConfig, layout: Layout, bf16: bool = False, recompute: str = "none"
) -> TransformerConfig:
    """Translate our description of a model to Megatron's."""
    return TransformerConfig(
        num_layers=model.layers,
        hidden_size=model.hidden_size,
        num_attention_heads=model.heads,
        num_query_groups=model.key_heads,
        ffn_hidden_size=model.feed_forward_size,
        normalization=model.normalization,
        layernorm_epsilon=model.norm_epsilon,
        activation_func=ACTIVATIONS[model.activation],
        gated_linear_unit=model.activation == "swiglu",
        add_bias_linear=model.bias,
        hidden_dropout=model.dropout,
        attention_dropout=model.dropout,
        tensor_model_parallel_size=layout.tensor,
        pipeline_model_parallel_size=layout.pipeline,
        virtual_pipeline_model_parallel_size=layout.virtual if layout.virtual > 1 else None,
        sequence_parallel=layout.sequence_parallel,
        bf16=bf16,
        params_dtype=torch.bfloat16 if bf16 else torch.float32,
        pipeline_dtype=torch.bfloat16 if bf16 else torch.float32,
        use_cpu_initialization=True,  # the same weights with and without a GPU
        batch_p2p_sync=False,
        # batched, the messages of two stages that take turns are taken for each other's: gradients are wrong in silence
        batch_p2p_comm=layout.virtual == 1,
        overlap_p2p_comm=layout.virtual > 1,
        finalize_model_grads_func=finalize_model_grads,
        **RECOMPUTED[recompute],
    )


def norm_of(model: ModelConfig) -> type[LayerNorm] | type[RMSNorm]:
    """Return the class of the model's norms."""
    return RMSNorm if model.normalization == "RMSNorm" else LayerNorm


def block(
    layer: ModuleSpec,
    model: ModelConfig,
    config: TransformerConfig,
    virtual: int | None = None,
    attention: str = "sdpa",
) -> ModuleSpec:
    """Return this stage's layers, made as ``layer`` says but with our attention, or Transformer Engine's, and norms."""
    norm = norm_of(model)
    layer.submodules.input_layernorm = norm
    layer.submodules.pre_mlp_layernorm = norm
    layer.submodules.self_attention.submodules.core_attention = (
        FusedAttention if attention == "sdpa" else engine_attention()
    )
    layers = TransformerBlockSubmodules(layer_specs=[layer] * get_num_layers_to_build(config, virtual), layer_norm=norm)
    return ModuleSpec(module=TransformerBlock, submodules=layers)


def forbid_padding(logits: torch.Tensor, vocabulary_size: int) -> None:
    """Give the rows of the embedding that are no token no probability; ``logits`` are this rank's columns."""
    width = logits.shape[-1]
    own = vocabulary_size - width * parallel_state.get_tensor_model_parallel_rank()
    if own < width:
        logits[..., max(own, 0) :] = float("-inf")
