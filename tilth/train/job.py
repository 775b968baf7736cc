"""A training run as a value: model, optimisation, layout, tokens. It travels to the workers as one JSON file.

Nothing here loads torch, so a recipe can be checked, and a run that is already finished recognised, in milliseconds.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from tilth.corpus.errors import UserError
from tilth.train.layout import Layout
from tilth.train.model import ModelConfig


@dataclass(frozen=True)
class Phase:
    """A stretch of a schedule: from the rate that the one before ended with to ``to``, in ``steps`` steps."""

    steps: int
    to: float  # learning rate that the step after the last one would have
    shape: Literal["constant", "linear", "cosine", "root"] = "linear"  # root: 1 - sqrt, which falls fast at first


@dataclass(frozen=True)
class ObjectiveConfig:
    """What a BERT has to guess, and how far attention reaches. A GPT always predicts the next token."""

    proposals: Literal["tokens", "words", "spans"] = "tokens"  # what is masked together
    rate: float = 0.15  # share of the tokens that are predicted (Devlin et al. 2018)
    masked: float = 0.8  # of those become the mask token
    replaced: float = 0.1  # of those become another token; the rest stay
    span_success: float = 0.2  # of the geometric distribution of a span's length in words (Joshi et al. 2020)
    longest_span: int = 10  # words
    document_mask: bool = False  # attention and positions stay within a document

    def check(self, model: ModelConfig) -> None:
        """Raise ``UserError`` where the numbers make no sense together or with ``model``."""
        if not 0.0 < self.rate <= 0.9:
            raise UserError(f"objective.rate: found {self.rate}, expected more than 0 and at most 0.9")
        if min(self.masked, self.replaced) < 0.0 or self.masked + self.replaced > 1.0 + 1e-9:
            raise UserError(
                f"objective.masked: found {self.masked} and objective.replaced {self.replaced}, expected shares that "
                f"add up to at most 1"
            )
        if not 0.0 < self.span_success < 1.0 or self.longest_span < 1:
            raise UserError(
                f"objective.span_success: found {self.span_success} and longest_span {self.longest_span}, expected "
                f"between 0 and 1, and 1 or more"
            )
        if model.sentence_order and model.sequence_length < 16:
            raise UserError(
                f"model.sequence_length: found {model.sequence_length}, expected 16 or more for two segments"
            )


@dataclass(frozen=True)
class TrainConfig:
    """How a model learns: steps, batches, AdamW and the learning rate. Rates are per step, batches in sequences."""

    steps: int
    batch_size: int = 8  # sequences a step, over all processes
    micro_batch_size: int | None = None  # sequences a process computes at once; default: its whole share
    learning_rate: float = 2e-3
    minimum_learning_rate: float = 0.0
    warmup_steps: int = 0
    schedule: Literal["cosine", "linear", "constant", "wsd"] = "cosine"
    decay_steps: int = 0  # of wsd
    phases: tuple[Phase, ...] = ()  # in place of warm-up and schedule: any sequence, from a rate of 0 on
    weight_decay: float = 0.1  # of matrices; vectors have none
    undecayed: tuple[str, ...] = ()  # parts of names of matrices that have none either, such as "embedding"
    beta1: float = 0.9
    beta2: float = 0.95
    epsilon: float = 1e-8
    gradient_clipping: float | None = 1.0  # largest norm of the whole gradient
    precision: Literal["fp32", "bf16"] = "fp32"
    checkpoint_every: int = 0  # steps; 0: at the end only
    keep_last: int = 2  # checkpoints beside the seed's
    keep_every: int = 0  # steps whose multiples are kept for good; 0: none
    evaluate_every: int = 0  # steps between looks at the held-out samples; 0: none
    recompute: Literal["none", "attention", "layers"] = "none"  # what the backward pass computes again to save memory
    attention: Literal["sdpa", "transformer-engine"] = "sdpa"  # whose kernels; the second has to be installed
    skip_above: float | None = None  # skip a step whose loss is so many deviations above recent ones, or no number
    skip_window: int = 128  # steps that are recent
    most_skips: int = 5  # in a row before the run stops
    tensorboard: bool = False  # write the figures of the log for TensorBoard too

    def micro_batch(self, layout: Layout) -> int:
        """Sequences that one process computes at once."""
        return self.micro_batch_size or self.batch_size // layout.data

    def check(self, layout: Layout) -> None:
        """Raise ``UserError`` where the numbers make no sense together or with ``layout``."""
        for name, least in (
            ("steps", 1),
            ("batch_size", 1),
            ("warmup_steps", 0),
            ("decay_steps", 0),
            ("keep_last", 1),
            ("keep_every", 0),
            ("evaluate_every", 0),
            ("skip_window", 2),
            ("most_skips", 1),
        ):
            if getattr(self, name) < least:
                raise UserError(f"optimisation.{name}: found {getattr(self, name)}, expected {least} or more")
        for name in ("learning_rate", "epsilon"):
            if not getattr(self, name) > 0.0:
                raise UserError(f"optimisation.{name}: found {getattr(self, name)}, expected more than 0")
        if self.checkpoint_every < 0:
            raise UserError(f"optimisation.checkpoint_every: found {self.checkpoint_every}, expected 0 or more")
        if self.gradient_clipping is not None and not self.gradient_clipping > 0.0:
            raise UserError(
                f"optimisation.gradient_clipping: found {self.gradient_clipping}, expected more than 0 or null for none"
            )
        if self.skip_above is not None and not self.skip_above > 0.0:
            raise UserError(f"optimisation.skip_above: found {self.skip_above}, expected more than 0 or null for none")
        for number, phase in enumerate(self.phases):
            if phase.steps < 1 or not phase.to >= 0.0:
                raise UserError(
                    f"optimisation.phases.{number}: found {phase.steps} steps to {phase.to}, expected 1 or more steps "
                    f"and a rate of 0 or more"
                )
        if self.phases and self.warmup_steps:
            raise UserError("optimisation.warmup_steps: found a warm-up beside phases; make it the first phase")
        if self.warmup_steps + self.decay_steps > self.steps:
            raise UserError(
                f"optimisation.steps: found {self.steps}, expected at least warmup_steps + decay_steps "
                f"({self.warmup_steps} + {self.decay_steps})"
            )
        if self.schedule == "wsd" and self.decay_steps == 0:
            raise UserError("optimisation.decay_steps: found 0, expected 1 or more with schedule wsd")
        share = self.micro_batch(layout) * layout.data
        if share < 1 or self.batch_size % share:
            raise UserError(
                f"optimisation.batch_size: found {self.batch_size}, expected a multiple of micro_batch_size x "
                f"layout.data ({self.micro_batch_size or 1} x {layout.data})"
            )
        rounds = self.batch_size // share
        if layout.virtual > 1 and rounds % layout.pipeline:
            raise UserError(
                f"optimisation.micro_batch_size: found {self.micro_batch(layout)}, which makes {rounds} rounds of a "
                f"batch of {self.batch_size}, expected a multiple of layout.pipeline ({layout.pipeline}), as "
                f"layout.virtual needs; lower it or set layout.virtual to 1"
            )


@dataclass(frozen=True)
class TrainJob:
    """Everything that a run depends on."""

    model: ModelConfig
    optimisation: TrainConfig
    tokens: str  # folder of the token shards
    layout: Layout = field(default_factory=Layout)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    tokenizer: str | None = None  # file or folder; for a BERT, which has to know its mask token and its words
    held_out: str | None = None  # folder of token shards to look at every ``evaluate_every`` steps
    held_out_samples: int = 64  # of them
    seed: int = 0  # of the first weights, the order of the samples and dropout
    packing: Literal["cut", "whole", "segments"] = "cut"  # what a row is: ``tilth.tokenize.orders``
    pairs: Literal["order", "next"] = "order"  # what sentence_order's false pairs are: exchanged, or of other segments
    weights: Mapping[str, float] = field(default_factory=dict)  # source -> share of the samples; empty: by size
    budgets: Mapping[str, int] = field(default_factory=dict)  # source -> tokens, in place of weights
    epochs: Mapping[str, float] = field(default_factory=dict)  # source -> how often it is read at most
    start: str | None = None  # a checkpoint whose weights to begin with, instead of fresh ones
    growth: Literal["pieces", "mean", "random"] = "pieces"  # how embeddings begin that ``start`` has not
    pieces: tuple[tuple[int, ...], ...] = ()  # the old ids that each of these stands for

    def check(self) -> None:
        """Raise ``UserError``, one clear line, where the job cannot run."""
        self.model.check(self.layout)
        self.optimisation.check(self.layout)
        self.objective.check(self.model)
        self._check_packing()
        if self.model.kind == "bert" and self.tokenizer is None:
            raise UserError("tokenizer: found none, expected the tokenizer of the shards: a bert has to know its mask")
        if self.optimisation.evaluate_every and self.held_out is None:
            raise UserError("held_out: found none, expected token shards as optimisation.evaluate_every says")

    def _check_packing(self) -> None:
        of = {"whole": "gpt", "segments": "bert"}.get(self.packing, self.model.kind)
        if of != self.model.kind:
            raise UserError(
                f"packing: found '{self.packing}' with model.kind {self.model.kind}, expected {of}; "
                f"use cut or {'segments' if of == 'gpt' else 'whole'}"
            )
        if self.model.sentence_order and self.objective.document_mask and self.packing == "cut":
            raise UserError(
                "objective.document_mask: found true with model.sentence_order, whose segments are one document; "
                "turn one of them off, or use packing: segments"
            )
        if self.pairs == "next" and not (self.model.sentence_order and self.packing == "segments"):
            raise UserError("pairs: found 'next', which needs model.sentence_order and packing: segments; add both")
        if self.weights and self.budgets:
            raise UserError("weights: found weights and budgets, expected one of them; remove the other")

    def to_json(self) -> bytes:
        """Return the job as JSON."""
        return orjson.dumps(dataclasses.asdict(self), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    @staticmethod
    def from_json(data: bytes | str) -> "TrainJob":
        """Read a job back. Raises ``UserError`` naming the field that is missing, unknown or of a wrong type."""
        try:
            found = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise UserError(f"training job: not JSON: {error}") from error
        job: TrainJob = parse(TrainJob, found)
        return job


def parse(kind: type[Any], found: Any) -> Any:
    """Build the dataclass ``kind`` from JSON values; raises ``UserError`` with the first field that does not fit."""
    import pydantic

    for field_name in _unknown(kind, found):
        raise UserError(f"training job: {field_name}: unknown field; remove it or correct its name")
    try:
        return pydantic.TypeAdapter(kind).validate_python(found)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UserError(f"training job: {place}: found {first['input']!r}: {first['msg']}") from error


def _unknown(kind: type[Any], found: Any, prefix: str = "") -> list[str]:
    """Names of the fields in ``found`` that ``kind`` does not have, nested dataclasses included."""
    if not isinstance(found, Mapping):
        return []
    types = {f.name: f.type for f in dataclasses.fields(kind)}
    names = [prefix + str(name) for name in found if name not in types]
    for name, inner in types.items():
        if isinstance(inner, type) and dataclasses.is_dataclass(inner):
            names += _unknown(inner, found.get(name), f"{prefix}{name}.")
    return names
