"""Megatron's BERT, whose norms stand before the layers; ``BertForMaskedLM`` has them behind, so other logits."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from tilth.train.hugging_face.attention_weights import join, split
from tilth.train.model import ModelConfig

ARCHITECTURE = "MegatronBertForMaskedLM"
WITH_ORDER = "MegatronBertForPreTraining"
PARTS = ("weight", "bias")
LAYER = {
    "input_layernorm": "attention.ln",
    "self_attention.linear_proj": "attention.output.dense",
    "pre_mlp_layernorm": "ln",
    "mlp.linear_fc1": "intermediate.dense",
    "mlp.linear_fc2": "output.dense",
}
EMBEDDINGS = {
    "embedding.word_embeddings.weight": "bert.embeddings.word_embeddings.weight",
    "embedding.position_embeddings.weight": "bert.embeddings.position_embeddings.weight",
    "embedding.tokentype_embeddings.weight": "bert.embeddings.token_type_embeddings.weight",
}
HEAD = {
    "encoder.final_layernorm": "bert.encoder.ln",
    "lm_head.dense": "cls.predictions.transform.dense",
    "lm_head.layer_norm": "cls.predictions.transform.LayerNorm",
}
ORDER = {"pooler.dense": "bert.pooler.dense", "binary_head": "cls.seq_relationship"}


def fits(model: ModelConfig) -> bool:
    """Tell whether ``model`` is of this shape."""
    return (
        model.kind == "bert"
        and model.position == "learned"
        and model.normalization == "LayerNorm"
        and model.activation == "gelu"
        and model.bias
        and model.key_heads == model.heads
    )


def config(model: ModelConfig) -> dict[str, Any]:
    """Return the content of ``config.json``."""
    return {
        "model_type": "megatron-bert",
        "vocab_size": model.vocabulary_size,
        "hidden_size": model.hidden_size,
        "num_hidden_layers": model.layers,
        "num_attention_heads": model.heads,
        "intermediate_size": model.feed_forward_size,
        "hidden_act": "gelu",
        "hidden_dropout_prob": model.dropout,
        "attention_probs_dropout_prob": model.dropout,
        "max_position_embeddings": model.sequence_length,
        "type_vocab_size": 2,
        "layer_norm_eps": model.norm_epsilon,
        "tie_word_embeddings": model.tied_embeddings,
    }


def model_of(config: Mapping[str, Any]) -> ModelConfig:
    """Return the model that a ``config.json`` describes. Raises ``KeyError`` for what is not known here."""
    return ModelConfig(
        vocabulary_size=config["vocab_size"],
        layers=config["num_hidden_layers"],
        hidden_size=config["hidden_size"],
        heads=config["num_attention_heads"],
        sequence_length=config["max_position_embeddings"],
        ffn_hidden_size=config["intermediate_size"],
        position="learned",
        normalization="LayerNorm",
        activation={"gelu": "gelu"}[config.get("hidden_act", "gelu")],  # type: ignore[arg-type]  # by the table
        bias=True,
        tied_embeddings=config.get("tie_word_embeddings", True),
        kind="bert",
        sentence_order=WITH_ORDER in config.get("architectures", ()),
        norm_epsilon=config.get("layer_norm_eps", 1e-12),
    )


def _pairs(model: ModelConfig) -> dict[str, str]:
    """Our names and theirs, of all tensors that are the same in both."""
    modules = dict(HEAD) | (ORDER if model.sentence_order else {})
    for layer in range(model.layers):
        modules |= {f"encoder.layers.{layer}.{ours}": f"bert.encoder.layer.{layer}.{o}" for ours, o in LAYER.items()}
    pairs = {f"{ours}.{part}": f"{theirs}.{part}" for ours, theirs in modules.items() for part in PARTS}
    if not model.tied_embeddings:
        pairs["output_layer.weight"] = "cls.predictions.decoder.weight"
    return EMBEDDINGS | pairs | {"output_layer.bias": "cls.predictions.decoder.bias"}


def export(model: ModelConfig, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return Hugging Face's tensors of Megatron's ``weights``, whose vocabulary has no padding."""
    found = {theirs: weights[ours] for ours, theirs in _pairs(model).items()}
    found["cls.predictions.bias"] = weights["output_layer.bias"]
    for layer in range(model.layers):
        for part in PARTS:
            joined = weights[f"encoder.layers.{layer}.self_attention.linear_qkv.{part}"]
            for name, value in zip(("query", "key", "value"), split(model, joined), strict=True):
                found[f"bert.encoder.layer.{layer}.attention.self.{name}.{part}"] = value
    return found


def load(model: ModelConfig, theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return Megatron's weights of Hugging Face's tensors. Raises ``KeyError`` for one that is missing."""
    # a file may hold either name of the tied bias
    bias = theirs.get("cls.predictions.decoder.bias", theirs.get("cls.predictions.bias"))
    known = {**theirs, **({} if bias is None else {"cls.predictions.decoder.bias": bias})}
    found = {ours: known[other] for ours, other in _pairs(model).items()}
    for layer in range(model.layers):
        at = f"bert.encoder.layer.{layer}.attention.self."
        for part in PARTS:
            query, key, value = (theirs[f"{at}{name}.{part}"] for name in ("query", "key", "value"))
            found[f"encoder.layers.{layer}.self_attention.linear_qkv.{part}"] = join(model, query, key, value)
    return found
