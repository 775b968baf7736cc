"""GPT-2: learned positions, LayerNorm, GELU, biases. Its matrices stand transposed, inputs first."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tilth.train.hugging_face.attention_weights import join, split
from tilth.train.model import GELUS, ModelConfig

ARCHITECTURE = "GPT2LMHeadModel"
ACTIVATIONS = {"gelu": "gelu", "gelu_tanh": "gelu_new"}
PLAIN = {
    "input_layernorm": "ln_1",
    "pre_mlp_layernorm": "ln_2",
}
TRANSPOSED = {
    "self_attention.linear_proj": "attn.c_proj",
    "mlp.linear_fc1": "mlp.c_fc",
    "mlp.linear_fc2": "mlp.c_proj",
}


def fits(model: ModelConfig) -> bool:
    """Tell whether ``model`` is of this shape."""
    return (
        model.kind == "gpt"
        and model.position == "learned"
        and model.normalization == "LayerNorm"
        and model.activation in GELUS
        and model.bias
        and model.key_heads == model.heads
    )


def config(model: ModelConfig) -> dict[str, Any]:
    """Return the content of ``config.json``."""
    return {
        "model_type": "gpt2",
        "vocab_size": model.vocabulary_size,
        "n_positions": model.sequence_length,
        "n_embd": model.hidden_size,
        "n_layer": model.layers,
        "n_head": model.heads,
        "n_inner": model.feed_forward_size,
        "activation_function": ACTIVATIONS[model.activation],
        "layer_norm_epsilon": model.norm_epsilon,
        "resid_pdrop": model.dropout,
        "embd_pdrop": model.dropout,
        "attn_pdrop": model.dropout,
        "tie_word_embeddings": model.tied_embeddings,
    }


def model_of(config: Mapping[str, Any]) -> ModelConfig:
    """Return the model that a ``config.json`` describes. Raises ``KeyError`` for what is not known here."""
    activations = {theirs: ours for ours, theirs in ACTIVATIONS.items()} | {"gelu_pytorch_tanh": "gelu_tanh"}
    return ModelConfig(
        vocabulary_size=config["vocab_size"],
        layers=config["n_layer"],
        hidden_size=config["n_embd"],
        heads=config["n_head"],
        sequence_length=config["n_positions"],
        ffn_hidden_size=config.get("n_inner"),
        position="learned",
        normalization="LayerNorm",
        activation=activations[config.get("activation_function", "gelu_new")],  # type: ignore[arg-type]  # by the table
        bias=True,
        tied_embeddings=config.get("tie_word_embeddings", True),
        norm_epsilon=config.get("layer_norm_epsilon", 1e-5),
    )


def export(model: ModelConfig, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return Hugging Face's tensors of Megatron's ``weights``, whose vocabulary has no padding."""
    found = {
        "transformer.wte.weight": weights["embedding.word_embeddings.weight"],
        "transformer.wpe.weight": weights["embedding.position_embeddings.weight"],
    }
    for part in ("weight", "bias"):
        found[f"transformer.ln_f.{part}"] = weights[f"decoder.final_layernorm.{part}"]
        for layer in range(model.layers):
            ours, theirs = f"decoder.layers.{layer}.", f"transformer.h.{layer}."
            for name, other in PLAIN.items():
                found[f"{theirs}{other}.{part}"] = weights[f"{ours}{name}.{part}"]
            for name, other in TRANSPOSED.items():
                found[f"{theirs}{other}.{part}"] = weights[f"{ours}{name}.{part}"].T
            joined = torch.cat(split(model, weights[f"{ours}self_attention.linear_qkv.{part}"]))
            found[f"{theirs}attn.c_attn.{part}"] = joined.T
    if not model.tied_embeddings:
        found["lm_head.weight"] = weights["output_layer.weight"]
    return found


def load(model: ModelConfig, theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return Megatron's weights of Hugging Face's tensors. Raises ``KeyError`` for one that is missing."""
    prefix = "transformer." if "transformer.wte.weight" in theirs else ""
    found = {
        "embedding.word_embeddings.weight": theirs[f"{prefix}wte.weight"],
        "embedding.position_embeddings.weight": theirs[f"{prefix}wpe.weight"],
    }
    for part in ("weight", "bias"):
        found[f"decoder.final_layernorm.{part}"] = theirs[f"{prefix}ln_f.{part}"]
        for layer in range(model.layers):
            ours, here = f"decoder.layers.{layer}.", f"{prefix}h.{layer}."
            for name, other in PLAIN.items():
                found[f"{ours}{name}.{part}"] = theirs[f"{here}{other}.{part}"]
            for name, other in TRANSPOSED.items():
                found[f"{ours}{name}.{part}"] = theirs[f"{here}{other}.{part}"].T
            query, key, value = theirs[f"{here}attn.c_attn.{part}"].T.chunk(3)
            found[f"{ours}self_attention.linear_qkv.{part}"] = join(model, query, key, value)
    if not model.tied_embeddings:
        found["output_layer.weight"] = theirs["lm_head.weight"]
    return found
