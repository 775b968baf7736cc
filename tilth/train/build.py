"""Builds the model that a description names: whole, or the parts of it that one process of a layout holds."""

from tilth.train.bert import Bert, build_bert
from tilth.train.block import transformer_config
from tilth.train.gpt import Gpt, build_gpt
from tilth.train.layout import Layout
from tilth.train.model import ModelConfig

Model = Gpt | Bert


def build_model(
    model: ModelConfig,
    layout: Layout,
    bf16: bool = False,
    recompute: str = "none",
    attention: str = "sdpa",
    virtual: int | None = None,
) -> Model:
    """Return this process's part of the model, on the CPU, with weights from the current generator.

    ``attention``: ``sdpa`` or ``transformer-engine``; ``virtual``: which part of its stage, where ``layout.virtual`` is
    above 1.
    """
    build = build_bert if model.kind == "bert" else build_gpt
    return build(model, transformer_config(model, layout, bf16, recompute), attention, virtual)


def build_parts(
    model: ModelConfig, layout: Layout, bf16: bool = False, recompute: str = "none", attention: str = "sdpa"
) -> list[Model]:
    """Return all that this process holds of the model: one part, or as many as ``layout.virtual`` says."""
    parts = range(layout.virtual) if layout.virtual > 1 else (None,)
    return [build_model(model, layout, bf16, recompute, attention, part) for part in parts]
