"""What decides a run up to a given step, so that a checkpoint is continued only by the run that it belongs to.

The law: a job may continue a checkpoint if it would have produced the same one. So layout, folder names and the pace
of checkpoints are free, a run may be made longer where its learning rates so far stay the same, and all else must be
equal.
"""

import dataclasses
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import orjson

from tilth.corpus.errors import UserError
from tilth.corpus.stage import fingerprint
from tilth.train.checkpoint import Checkpoint
from tilth.train.job import TrainConfig, TrainJob, parse
from tilth.train.model import ModelConfig
from tilth.train.schedule import learning_rate

# Fields that change how fast or how far a run goes, not what it computes on the way (rates are compared by value).
FREE = {
    "steps",
    "micro_batch_size",
    "checkpoint_every",
    "keep_last",
    "keep_every",
    "evaluate_every",
    "recompute",
    "attention",
    "most_skips",
    "tensorboard",
}
RATES = {"learning_rate", "minimum_learning_rate", "warmup_steps", "schedule", "decay_steps", "phases"}


def seed_manifest(job: TrainJob) -> dict[str, Any]:
    """Describe the checkpoint of step 0: weights before training depend on the model's shape and the seed alone."""
    return _described(0, 0, 0, _beginning(job), job.model)


def imported_manifest(model: ModelConfig, files: Mapping[str, str]) -> dict[str, Any]:
    """Describe the checkpoint of weights that were trained elsewhere; ``files``: their digests by name."""
    return _described(0, 0, 0, {"model": dataclasses.asdict(model), "imported": dict(files)}, model)


def identity(job: TrainJob, data: str) -> dict[str, Any]:
    """Return all that decides the run of ``job`` over the sample order with the fingerprint ``data``."""
    return {
        "model": dataclasses.asdict(job.model),
        "seed": job.seed,
        "weights": dict(sorted(job.weights.items())),
        "packing": job.packing,
        "pairs": job.pairs,
        "budgets": dict(sorted(job.budgets.items())),
        "epochs": dict(sorted(job.epochs.items())),
        "start": job.start,
        "data": data,
        "objective": dataclasses.asdict(job.objective),
        "optimisation": dataclasses.asdict(job.optimisation),
    }


def manifest(job: TrainJob, data: str, step: int, guard: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Describe the checkpoint of ``job`` after ``step`` steps; ``guard``: what the guard remembers."""
    samples = step * job.optimisation.batch_size
    decided = identity(job, data)
    return _described(step, samples, samples * job.model.sequence_length, decided, job.model) | {
        "guard": dict(guard or {})
    }


def check_resumable(job: TrainJob, data: str, found: Checkpoint) -> None:
    """Raise ``UserError`` naming the first field in which ``job`` would not have produced the checkpoint ``found``."""
    if found.step > job.optimisation.steps:
        raise UserError(
            f"{found.path}: optimisation.steps: found {job.optimisation.steps}, expected at least the {found.step} "
            f"that this run has already; raise it or train in another folder"
        )
    _check_equal(found, identity(job, data))
    if found.step > 0:
        before = parse(TrainConfig, found.identity["optimisation"])
        for step in range(found.step):
            old_rate, new_rate = learning_rate(before, step), learning_rate(job.optimisation, step)
            if old_rate != new_rate:
                raise UserError(
                    f"{found.path}: the learning rate of step {step + 1} was {old_rate:g}, the job says {new_rate:g}; "
                    f"only a constant or wsd schedule can be made longer: set it back, or train in another folder"
                )


def check_seed(job: TrainJob, found: Checkpoint) -> None:
    """Raise ``UserError`` naming the field in which the first weights of ``job`` would differ from ``found``."""
    _check_equal(found, _beginning(job))


def check_start(job: TrainJob, found: Checkpoint) -> None:
    """Raise ``UserError`` where the weights of ``found`` do not fit the model of ``job``."""
    wanted = dataclasses.asdict(job.model)
    old = int(found.model["vocabulary_size"])
    if old < job.model.vocabulary_size == old + len(job.pieces):
        del wanted["vocabulary_size"]  # it has grown, and it is known by what
    for name, value in wanted.items():
        if name != "dropout" and found.model.get(name) != value:
            raise UserError(
                f"start: {found.path}: model.{name}: found {found.model.get(name)!r}, expected {value!r} as "
                f"the job says; change the job's model or start from another checkpoint"
            )


def _beginning(job: TrainJob) -> dict[str, Any]:
    told = {"model": dataclasses.asdict(job.model), "seed": job.seed, "start": job.start}
    return told | ({"growth": job.growth, "pieces": len(job.pieces)} if job.pieces else {})


def _check_equal(found: Checkpoint, now: dict[str, Any]) -> None:
    """Compare what decided ``found`` with what would decide it now, in the fields that both name."""
    both = found.identity.keys() & now.keys()
    # through JSON: a tuple and the list that it became are equal
    told = orjson.loads(orjson.dumps({name: now[name] for name in both}))
    before = orjson.loads(orjson.dumps({name: found.identity[name] for name in both}))
    differences = _differences(before, told)
    for place, old, new in sorted(differences, key=lambda difference: difference[0] == "data"):
        if place == "data":
            raise UserError(
                f"{found.path}: data: this checkpoint was trained on other tokens (fingerprint {old}, found {new}); "
                f"restore them, or train in another folder"
            )
        name = place.removeprefix("optimisation.")
        if place == name or name not in FREE | RATES:
            raise UserError(
                f"{found.path}: {place}: this checkpoint was trained with {old!r}, the job says {new!r}; "
                f"set it back, or train in another folder"
            )


def _described(step: int, samples: int, tokens: int, decided: dict[str, Any], model: ModelConfig) -> dict[str, Any]:
    return {
        "step": step,
        "samples": samples,
        "tokens": tokens,
        "fingerprint": fingerprint(step, decided),
        "identity": decided,
        "model": dataclasses.asdict(model),
        "versions": {name: version(name) for name in ("torch", "megatron-core")},
    }


def _differences(then: Any, now: Any, place: str = "") -> list[tuple[str, Any, Any]]:
    """(place, then, now) of every leaf that differs between two nested mappings."""
    if isinstance(then, dict) and isinstance(now, dict):
        found = []
        for name in sorted(then.keys() | now.keys()):
            found += _differences(then.get(name), now.get(name), f"{place}.{name}" if place else str(name))
        return found
    return [] if then == now else [(place, then, now)]
