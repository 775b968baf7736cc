"""Llama: rotary positions, RMSNorm, SwiGLU, no biases, keys that groups of queries share."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tilth.corpus.errors import UserError
from tilth.train.hugging_face.attention_weights import join, split
from tilth.train.model import ModelConfig

ARCHITECTURE = "LlamaForCausalLM"
PLAIN = {
    "input_layernorm": "input_layernorm",
    "pre_mlp_layernorm": "post_attention_layernorm",
    "self_attention.linear_proj": "self_attn.o_proj",
    "mlp.linear_fc2": "mlp.down_proj",
}


def fits(model: ModelConfig) -> bool:
    """Tell whether ``model`` is of this shape."""
    return (
        model.kind == "gpt"
        and model.position == "rope"
        and model.normalization == "RMSNorm"
        and model.activation == "swiglu"
        and not model.bias
    )


def config(model: ModelConfig) -> dict[str, Any]:
    """Return the content of ``config.json``."""
    return {
        "model_type": "llama",
        "vocab_size": model.vocabulary_size,
        "hidden_size": model.hidden_size,
        "intermediate_size": model.feed_forward_size,
        "num_hidden_layers": model.layers,
        "num_attention_heads": model.heads,
        "num_key_value_heads": model.key_heads,
        "max_position_embeddings": model.sequence_length,
        "hidden_act": "silu",
        "rms_norm_eps": model.norm_epsilon,
        # transformers 5 reads the second, earlier versions the first
        "rope_theta": float(model.rope_base),
        "rope_parameters": {"rope_type": "default", "rope_theta": float(model.rope_base)},
        "attention_bias": False,
        "mlp_bias": False,
        "attention_dropout": model.dropout,
        "tie_word_embeddings": model.tied_embeddings,
    }


def model_of(config: Mapping[str, Any]) -> ModelConfig:
    """Return the model that a ``config.json`` describes.

    Raises ``UserError`` for biases, scaled rotary positions or heads of a width of their own, which Tilth lacks;
    ``KeyError`` for what is missing.
    """
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    heads, width = config["num_attention_heads"], config["hidden_size"]
    odd = {
        "rope_type": (kind, "default"),
        "hidden_act": (config.get("hidden_act", "silu"), "silu"),
        "attention_bias": (config.get("attention_bias", False), False),
        "mlp_bias": (config.get("mlp_bias", False), False),
        "head_dim": (config.get("head_dim") or width // heads, width // heads),
    }
    for name, (found, expected) in odd.items():
        if found != expected:
            raise UserError(f"config.json: {name}: found {found!r}, expected {expected!r}; Tilth has no such layers")
    return ModelConfig(
        vocabulary_size=config["vocab_size"],
        layers=config["num_hidden_layers"],
        hidden_size=width,
        heads=heads,
        query_groups=config.get("num_key_value_heads"),
        sequence_length=config["max_position_embeddings"],
        ffn_hidden_size=config["intermediate_size"],
        tied_embeddings=config.get("tie_word_embeddings", False),
        norm_epsilon=config.get("rms_norm_eps", 1e-6),
        rope_base=int(rope.get("rope_theta", config.get("rope_theta", 10_000))),
    )


def export(model: ModelConfig, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return Hugging Face's tensors of Megatron's ``weights``, whose vocabulary has no padding."""
    found = {
        "model.embed_tokens.weight": weights["embedding.word_embeddings.weight"],
        "model.norm.weight": weights["decoder.final_layernorm.weight"],
    }
    for layer in range(model.layers):
        ours, theirs = f"decoder.layers.{layer}.", f"model.layers.{layer}."
        for name, other in PLAIN.items():
            found[f"{theirs}{other}.weight"] = weights[f"{ours}{name}.weight"]
        query, key, value = split(model, weights[f"{ours}self_attention.linear_qkv.weight"])
        gate, up = weights[f"{ours}mlp.linear_fc1.weight"].chunk(2)
        for name, part in (("q", query), ("k", key), ("v", value)):
            found[f"{theirs}self_attn.{name}_proj.weight"] = part
        found[f"{theirs}mlp.gate_proj.weight"], found[f"{theirs}mlp.up_proj.weight"] = gate, up
    if not model.tied_embeddings:
        found["lm_head.weight"] = weights["output_layer.weight"]
    return found


def load(model: ModelConfig, theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return Megatron's weights of Hugging Face's tensors. Raises ``KeyError`` for one that is missing."""
    found = {
        "embedding.word_embeddings.weight": theirs["model.embed_tokens.weight"],
        "decoder.final_layernorm.weight": theirs["model.norm.weight"],
    }
    for layer in range(model.layers):
        ours, here = f"decoder.layers.{layer}.", f"model.layers.{layer}."
        for name, other in PLAIN.items():
            found[f"{ours}{name}.weight"] = theirs[f"{here}{other}.weight"]
        query, key, value = (theirs[f"{here}self_attn.{name}_proj.weight"] for name in "qkv")
        found[f"{ours}self_attention.linear_qkv.weight"] = join(model, query, key, value)
        gate_and_up = (theirs[f"{here}mlp.gate_proj.weight"], theirs[f"{here}mlp.up_proj.weight"])
        found[f"{ours}mlp.linear_fc1.weight"] = torch.cat(gate_and_up)
    if not model.tied_embeddings:
        found["output_layer.weight"] = theirs["lm_head.weight"]
    return found
