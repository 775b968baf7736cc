"""Builds Megatron-core's GPT for the process groups that this process has joined.

The layers are Megatron's local ones (no Transformer Engine, no Apex) with two parts exchanged: the core attention and
the norms. The model itself differs from Megatron's in one thing: logits of the vocabulary's padding are minus infinity.
"""

import logging
import warnings

import torch
from torch import Tensor

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # a dozen notes that Transformer Engine and Apex are absent, which is meant
    from megatron.core import parallel_state
    from megatron.core.distributed import finalize_model_grads
    from megatron.core.models.gpt import GPTModel
    from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
    from megatron.core.transformer.spec_utils import ModuleSpec
    from megatron.core.transformer.transformer_block import (
        TransformerBlock,
        TransformerBlockSubmodules,
        get_num_layers_to_build,
    )
    from megatron.core.transformer.transformer_config import TransformerConfig

from tilth.train.attention import FusedAttention
from tilth.train.layout import Layout
from tilth.train.model import ModelConfig
from tilth.train.norm import LayerNorm, RMSNorm

# With the CPU's generator in the part of CUDA's, Megatron warns at every dropout that it moved. It is meant to.
logging.getLogger("megatron.core.tensor_parallel.random").setLevel(logging.ERROR)


class Gpt(GPTModel):
    """Megatron's GPT that can only predict tokens of its vocabulary."""

    def __init__(self, *arguments: object, true_vocabulary_size: int, **named: object) -> None:
        super().__init__(*arguments, **named)
        self.true_vocabulary_size = true_vocabulary_size

    def compute_language_model_loss(self, labels: Tensor, logits: Tensor) -> Tensor:
        """Return the loss of every label, (batch, positions); ``logits`` are this rank's columns."""
        width = logits.shape[-1]
        own = self.true_vocabulary_size - width * parallel_state.get_tensor_model_parallel_rank()
        if own < width:
            logits[..., max(own, 0) :] = float("-inf")
        losses: Tensor = super().compute_language_model_loss(labels, logits)
        return losses


def transformer_config(model: ModelConfig, layout: Layout, bf16: bool = False) -> TransformerConfig:
    """Translate our description of a model to Megatron's."""
    return TransformerConfig(
        num_layers=model.layers,
        hidden_size=model.hidden_size,
        num_attention_heads=model.heads,
        ffn_hidden_size=model.feed_forward_size,
        normalization=model.normalization,
        activation_func=torch.nn.functional.silu if model.activation == "swiglu" else torch.nn.functional.gelu,
        gated_linear_unit=model.activation == "swiglu",
        add_bias_linear=model.bias,
        hidden_dropout=model.dropout,
        attention_dropout=model.dropout,
        tensor_model_parallel_size=layout.tensor,
        pipeline_model_parallel_size=layout.pipeline,
        sequence_parallel=layout.sequence_parallel,
        bf16=bf16,
        params_dtype=torch.bfloat16 if bf16 else torch.float32,
        pipeline_dtype=torch.bfloat16 if bf16 else torch.float32,
        use_cpu_initialization=True,  # the same weights with and without a GPU
        batch_p2p_sync=False,
        finalize_model_grads_func=finalize_model_grads,
    )


def build_gpt(model: ModelConfig, layout: Layout, bf16: bool = False) -> Gpt:
    """Return this process's part of the model, on the CPU, with weights from the current generator."""
    config = transformer_config(model, layout, bf16)
    norm = RMSNorm if model.normalization == "RMSNorm" else LayerNorm
    layer = get_gpt_layer_local_spec(normalization=model.normalization)
    layer.submodules.input_layernorm = norm
    layer.submodules.pre_mlp_layernorm = norm
    layer.submodules.self_attention.submodules.core_attention = FusedAttention
    layers = TransformerBlockSubmodules(layer_specs=[layer] * get_num_layers_to_build(config), layer_norm=norm)
    return Gpt(
        config,
        ModuleSpec(module=TransformerBlock, submodules=layers),
        vocab_size=model.padded_vocabulary_size,
        max_sequence_length=model.sequence_length,
        pre_process=parallel_state.is_pipeline_first_stage(),
        post_process=parallel_state.is_pipeline_last_stage(),
        share_embeddings_and_output_weights=model.tied_embeddings,
        position_embedding_type="learned_absolute" if model.position == "learned" else "rope",
        true_vocabulary_size=model.vocabulary_size,
    )
