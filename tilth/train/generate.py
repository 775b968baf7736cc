"""Writes on from a text: one token at a time, keys and values of the text before kept (Megatron's static context).

The whole prompt is read once; then each step reads one token. Without that memory, writing n tokens would read about
n x n / 2. A choice depends on the seed, the prompt and the settings, not on the other prompts beside it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from megatron.core.inference.contexts import StaticInferenceContext
from torch import Tensor

from tilth.corpus.errors import UserError
from tilth.train import checkpoint
from tilth.train.block import transformer_config
from tilth.train.gpt import Gpt, build_gpt
from tilth.train.job import parse
from tilth.train.layout import Layout, alone
from tilth.train.model import ModelConfig
from tilth.train.state import load_state


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen."""

    temperature: float = 1.0  # 0: always the most probable
    top_k: int = 0  # only so many of the most probable; 0: all
    top_p: float = 1.0  # only the most probable that together have this probability
    seed: int = 0

    def check(self) -> None:
        """Raise ``UserError`` for what cannot be."""
        if not self.temperature >= 0.0:
            raise UserError(f"--temperature: found {self.temperature}, expected 0 or more")
        if self.top_k < 0:
            raise UserError(f"--top-k: found {self.top_k}, expected 0 or more")
        if not 0.0 < self.top_p <= 1.0:
            raise UserError(f"--top-p: found {self.top_p}, expected more than 0 and at most 1")


def generate(
    source: Path, prompts: Sequence[Sequence[int]], most: int, sampling: Sampling, stop: int | None = None
) -> list[list[int]]:
    """Return what the model of checkpoint ``source`` writes after each prompt: at most ``most`` tokens.

    A text ends before the token ``stop``. Raises ``UserError`` where the model is no GPT, or a prompt is empty, too
    long, or holds tokens that it does not know.
    """
    sampling.check()
    found = checkpoint.read_checkpoint(source)
    model: ModelConfig = parse(ModelConfig, found.model)
    if model.kind != "gpt":
        raise UserError(f"{source}: found a {model.kind}, which guesses hidden tokens; expected a gpt to write on")
    for number, prompt in enumerate(prompts):
        _check_prompt(number, prompt, most, model)
    with alone() as device, torch.no_grad():
        gpt = build_gpt(model, transformer_config(model, Layout())).to(device).eval()
        load_state(found.path, [gpt], None)
        return [list(_written(gpt, model, prompt, most, sampling, stop, device)) for prompt in prompts]


def _written(
    gpt: Gpt,
    model: ModelConfig,
    prompt: Sequence[int],
    most: int,
    sampling: Sampling,
    stop: int | None,
    device: torch.device,
) -> Iterator[int]:
    """Yield the tokens that follow ``prompt``."""
    generator = np.random.default_rng([sampling.seed, *prompt])
    context = StaticInferenceContext(1, len(prompt) + most)
    tokens = torch.tensor([list(prompt)], device=device)
    for _ in range(most):
        before = context.sequence_len_offset
        positions = torch.arange(before, before + tokens.shape[1], device=device)[None]
        logits = gpt(tokens, positions, None, inference_context=context, runtime_gather_output=True)
        context.sequence_len_offset += tokens.shape[1]
        chosen = choose(logits[0, -1, : model.vocabulary_size], sampling, generator)
        if chosen == stop:
            return
        yield chosen
        tokens = torch.tensor([[chosen]], device=device)


def choose(logits: Tensor, sampling: Sampling, generator: np.random.Generator) -> int:
    """Return a token by its logits (vocabulary,). Of equally probable ones the first comes first."""
    if sampling.temperature == 0.0:
        return int(logits.argmax())
    probabilities = kept_probabilities(logits.double().cpu().numpy() / sampling.temperature, sampling)
    order = np.argsort(-probabilities, kind="stable")
    cumulative = np.cumsum(probabilities[order])
    place = int(np.searchsorted(cumulative, generator.random() * cumulative[-1], side="right"))
    return int(order[min(place, len(order) - 1)])


def kept_probabilities(logits: np.ndarray, sampling: Sampling) -> np.ndarray:
    """Return the probabilities of ``logits`` (float64 (vocabulary,)), zero for what top-k and top-p leave out.

    top-p keeps the fewest most probable tokens that reach it (Holtzman et al. 2020), so at least one.
    """
    probabilities = np.exp(logits - logits.max())
    order = np.argsort(-probabilities, kind="stable")
    if sampling.top_k:
        probabilities[order[sampling.top_k :]] = 0.0
    probabilities /= probabilities.sum()
    before = np.cumsum(probabilities[order]) - probabilities[order]
    probabilities[order[before >= sampling.top_p]] = 0.0
    return np.asarray(probabilities / probabilities.sum())


def _check_prompt(number: int, prompt: Sequence[int], most: int, model: ModelConfig) -> None:
    if not prompt:
        raise UserError(f"prompt {number + 1}: found no token, expected at least one; begin with the separator")
    if not all(0 <= token < model.vocabulary_size for token in prompt):
        raise UserError(f"prompt {number + 1}: found a token outside of the vocabulary of {model.vocabulary_size}")
    if len(prompt) + most > model.sequence_length:
        raise UserError(
            f"prompt {number + 1}: {len(prompt)} tokens and {most} to write, expected at most {model.sequence_length}, "
            f"the positions that the model knows; shorten one of them"
        )
