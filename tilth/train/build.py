"""Builds the model that a description names."""

from tilth.train.bert import Bert, build_bert
from tilth.train.gpt import Gpt, build_gpt
from tilth.train.layout import Layout
from tilth.train.model import ModelConfig

Model = Gpt | Bert


def build_model(model: ModelConfig, layout: Layout, bf16: bool = False, recompute: str = "none") -> Model:
    """Return this process's part of the model, on the CPU, with weights from the current generator."""
    build = build_bert if model.kind == "bert" else build_gpt
    return build(model, layout, bf16, recompute)
