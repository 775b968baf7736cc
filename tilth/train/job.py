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
    weight_decay: float = 0.1  # of matrices; vectors have none
    beta1: float = 0.9
    beta2: float = 0.95
    epsilon: float = 1e-8
    gradient_clipping: float | None = 1.0  # largest norm of the whole gradient
    precision: Literal["fp32", "bf16"] = "fp32"
    checkpoint_every: int = 0  # steps; 0: at the end only
    keep_last: int = 2  # checkpoints beside the seed's

    def micro_batch(self, layout: Layout) -> int:
        """Sequences that one process computes at once."""
        return self.micro_batch_size or self.batch_size // layout.data

    def check(self, layout: Layout) -> None:
        """Raise ``UserError`` where the numbers make no sense together or with ``layout``."""
        for name, least in (("steps", 1), ("batch_size", 1), ("warmup_steps", 0), ("decay_steps", 0), ("keep_last", 1)):
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


@dataclass(frozen=True)
class TrainJob:
    """Everything that a run depends on."""

    model: ModelConfig
    optimisation: TrainConfig
    tokens: str  # folder of the token shards
    layout: Layout = field(default_factory=Layout)
    seed: int = 0  # of the first weights, the order of the samples and dropout
    weights: Mapping[str, float] = field(default_factory=dict)  # source -> share of the samples; empty: by size
    start: str | None = None  # a checkpoint whose weights to begin with, instead of fresh ones

    def check(self) -> None:
        """Raise ``UserError``, one clear line, where the job cannot run."""
        self.model.check(self.layout)
        self.optimisation.check(self.layout)

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
