"""Builds Megatron-core's BERT for the process groups that this process has joined.

It differs from Megatron's in four things: it is called like our GPT; attention takes our masks, or none; the head of
the masked tokens can be built under sequence parallelism; and where the positions that count are known, logits are
computed for those alone: at 15 % of 50,000 pieces that is a quarter of the operations of a step of BERT-base.
"""

import copy
import warnings
from typing import cast
from unittest.mock import patch

import torch
from torch import Tensor

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # a dozen notes that Transformer Engine and Apex are absent, which is meant
    from megatron.core import parallel_state
    from megatron.core.models.bert import bert_lm_head
    from megatron.core.models.bert.bert_layer_specs import bert_layer_local_spec
    from megatron.core.models.bert.bert_model import BertModel
    from megatron.core.tensor_parallel import gather_from_sequence_parallel_region
    from megatron.core.transformer.transformer_config import TransformerConfig

from tilth.train.block import block, forbid_padding, norm_of
from tilth.train.model import ModelConfig

SEGMENTS = 2  # token types, as in BERT; rows without segments are all of the first


class Bert(BertModel):
    """Megatron's BERT that can only predict tokens of its vocabulary."""

    def __init__(self, *arguments: object, true_vocabulary_size: int, **named: object) -> None:
        super().__init__(*arguments, **named)
        self.true_vocabulary_size = true_vocabulary_size

    def _sanity_check_attention_and_get_attn_mask_dimension(self) -> str:
        """Spare Megatron the question which Transformer Engine this is: the attention is ours."""
        return "b1ss"

    def forward(
        self,
        tokens: Tensor,
        positions: Tensor,
        attention_mask: Tensor | None,
        labels: Tensor | None = None,
        types: Tensor | None = None,
        counts: Tensor | None = None,
        pairs: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Tensor | None]:
        """Return hidden states (not the last stage), logits, or losses; with the logits of the sentence order.

        ``tokens``, ``positions``, ``labels``, ``types``, ``counts`` (bool: where losses are wanted; others are 0) and
        ``pairs`` (bool: where the order is asked; by default at each row's first position): (batch, positions).
        ``attention_mask``: bool, true where a position must not look. Losses: (batch, positions).
        """
        states = None
        if self.pre_process:
            segments = torch.zeros_like(tokens) if types is None else types
            states = self.embedding(input_ids=tokens, position_ids=positions, tokentype_ids=segments)
        rotary = None
        if self.position_embedding_type == "rope":
            rotary = self.rotary_pos_emb(
                self.rotary_pos_emb.get_rotary_seq_len(None, self.encoder, states, self.config)
            )
        states = self.encoder(hidden_states=states, attention_mask=attention_mask, rotary_pos_emb=rotary)
        if not self.post_process:
            return cast(Tensor, states)
        order = self._order(states, pairs) if self.binary_head is not None else None
        # under sequence parallelism every rank holds other positions, and all of them have to be gathered
        only = counts is not None and labels is not None and not self.config.sequence_parallel
        if only:
            assert counts is not None  # told by ``only``
            assert labels is not None
            losses = torch.zeros(labels.shape, device=labels.device)
            losses[counts] = self._losses(states.transpose(0, 1)[counts][:, None], labels[counts][None])[0]
            return losses, order
        if labels is not None:
            return self._losses(states, labels), order
        return self._logits(states).transpose(0, 1).contiguous(), order

    def _order(self, states: Tensor, pairs: Tensor | None) -> Tensor:
        """Return the logits of the sentence order, (pairs, 2), in the order of rows and positions."""
        if pairs is None:
            pooled = self.pooler(states, 0)
        else:  # as the pooler does it, for any positions
            if self.config.sequence_parallel:
                states = gather_from_sequence_parallel_region(states, tensor_parallel_output_grad=False)
            pooled = torch.tanh(self.pooler.dense(states.transpose(0, 1)[pairs]))
        return cast(Tensor, self.binary_head(pooled))

    def _losses(self, states: Tensor, labels: Tensor) -> Tensor:
        """Return the losses of ``labels`` (batch, positions) from ``states`` (positions, batch, width)."""
        logits = self._logits(states)
        forbid_padding(logits, self.true_vocabulary_size)
        losses: Tensor = self.compute_language_model_loss(labels, logits)
        return losses

    def _logits(self, states: Tensor) -> Tensor:
        weight = self.shared_embedding_or_output_weight() if self.share_embeddings_and_output_weights else None
        logits: Tensor = self.output_layer(self.lm_head(states), weight=weight)[0]
        return logits


def build_bert(
    model: ModelConfig, config: TransformerConfig, attention: str = "sdpa", virtual: int | None = None
) -> Bert:
    """Return this process's part of a BERT of ``config``; the rest as in ``build_model``."""
    with patch.object(bert_lm_head, "LNImpl", norm_of(model)):
        return Bert(
            config,
            SEGMENTS,
            block(copy.deepcopy(bert_layer_local_spec), model, config, virtual, attention),
            model.padded_vocabulary_size,
            model.sequence_length,
            pre_process=parallel_state.is_pipeline_first_stage(ignore_virtual=False, vp_stage=virtual),
            post_process=parallel_state.is_pipeline_last_stage(ignore_virtual=False, vp_stage=virtual),
            vp_stage=virtual,
            share_embeddings_and_output_weights=model.tied_embeddings,
            position_embedding_type="learned_absolute" if model.position == "learned" else "rope",
            add_binary_head=model.sentence_order,
            true_vocabulary_size=model.vocabulary_size,
        )
