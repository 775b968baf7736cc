"""Builds Megatron-core's GPT for the process groups that this process has joined.

The model differs from Megatron's in one thing: logits of the vocabulary's padding are minus infinity.
"""

import warnings

from torch import Tensor

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # a dozen notes that Transformer Engine and Apex are absent, which is meant
    from megatron.core import parallel_state
    from megatron.core.models.gpt import GPTModel
    from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
    from megatron.core.transformer.transformer_config import TransformerConfig

from tilth.train.block import block, forbid_padding
from tilth.train.model import ModelConfig


class Gpt(GPTModel):
    """Megatron's GPT that can only predict tokens of its vocabulary."""

    def __init__(self, *arguments: object, true_vocabulary_size: int, **named: object) -> None:
        super().__init__(*arguments, **named)
        self.true_vocabulary_size = true_vocabulary_size

    def compute_language_model_loss(self, labels: Tensor, logits: Tensor) -> Tensor:
        """Return the loss of every label, (batch, positions); ``logits`` are this rank's columns."""
        forbid_padding(logits, self.true_vocabulary_size)
        losses: Tensor = super().compute_language_model_loss(labels, logits)
        return losses


def build_gpt(
    model: ModelConfig, config: TransformerConfig, attention: str = "sdpa", virtual: int | None = None
) -> Gpt:
    """Return this process's part of a GPT of ``config``; the rest as in ``build_model``."""
    return Gpt(
        config,
        block(get_gpt_layer_local_spec(normalization=model.normalization), model, config, virtual, attention),
        vocab_size=model.padded_vocabulary_size,
        max_sequence_length=model.sequence_length,
        pre_process=parallel_state.is_pipeline_first_stage(ignore_virtual=False, vp_stage=virtual),
        post_process=parallel_state.is_pipeline_last_stage(ignore_virtual=False, vp_stage=virtual),
        vp_stage=virtual,
        share_embeddings_and_output_weights=model.tied_embeddings,
        position_embedding_type="learned_absolute" if model.position == "learned" else "rope",
        rotary_base=model.rope_base,
        true_vocabulary_size=model.vocabulary_size,
    )
