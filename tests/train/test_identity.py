"""A checkpoint is continued only by a job that would have produced it."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from tilth.corpus.errors import UserError
from tilth.train.checkpoint import Checkpoint
from tilth.train.identity import check_resumable, check_seed, check_start, manifest, seed_manifest
from tilth.train.job import TrainConfig, TrainJob
from tilth.train.layout import Layout
from tilth.train.model import ModelConfig

pytest.importorskip("megatron.core")

JOB = TrainJob(ModelConfig(300, heads=4), TrainConfig(steps=20, schedule="wsd", decay_steps=5), "tokens")


def changed(model: dict[str, Any] | None = None, optimisation: dict[str, Any] | None = None, **job: Any) -> TrainJob:
    return dataclasses.replace(
        JOB,
        model=dataclasses.replace(JOB.model, **(model or {})),
        optimisation=dataclasses.replace(JOB.optimisation, **(optimisation or {})),
        **job,
    )


def opened(told: dict[str, Any]) -> Checkpoint:
    names = ("step", "samples", "tokens", "fingerprint", "identity", "model")
    return Checkpoint(Path("step"), **{name: told[name] for name in names})


AT_10 = opened(manifest(JOB, "data", 10))
SEED = opened(seed_manifest(JOB))


@pytest.mark.parametrize(
    "job",
    [
        JOB,
        changed(layout=Layout(2, 2, 2)),
        changed(tokens="elsewhere"),
        changed(optimisation={"micro_batch_size": 2, "checkpoint_every": 3, "keep_last": 7}),
        changed(optimisation={"steps": 40}),
        changed(optimisation={"decay_steps": 3}),
    ],
)
def test_what_does_not_change_the_past_may_change(job: TrainJob) -> None:
    check_resumable(job, "data", AT_10)


@pytest.mark.parametrize(
    ("job", "data", "words"),
    [
        (JOB, "other data", "data: this checkpoint was trained on other tokens (fingerprint data, found other data)"),
        (changed(seed=1), "data", "seed: this checkpoint was trained with 0, the job says 1"),
        (changed(model={"heads": 8}), "data", "model.heads: this checkpoint was trained with 4, the job says 8"),
        (changed(optimisation={"batch_size": 16}), "data", "optimisation.batch_size"),
        (changed(optimisation={"beta2": 0.99}), "data", "optimisation.beta2"),
        (changed(weights={"a": 1.0}), "other data", "weights"),  # the cause is named, not its effect
        (changed(optimisation={"learning_rate": 1e-3}), "data", "the learning rate of step 1 was 0.002"),
        (changed(optimisation={"schedule": "cosine"}), "data", "the learning rate of step 2"),
        (changed(optimisation={"decay_steps": 14}), "data", "the learning rate of step 8"),
        (changed(optimisation={"steps": 9}), "data", "optimisation.steps: found 9, expected at least the 10"),
    ],
)
def test_what_changes_the_past_is_refused_by_name(job: TrainJob, data: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        check_resumable(job, data, AT_10)
    assert words in str(caught.value)


def test_a_seed_fits_every_job_with_its_model_and_seed() -> None:
    check_resumable(changed(optimisation={"learning_rate": 1.0, "steps": 3}, weights={"a": 1.0}), "any data", SEED)
    check_seed(changed(layout=Layout(2)), SEED)
    with pytest.raises(UserError, match="seed"):
        check_seed(changed(seed=5), SEED)


def test_a_run_starts_only_from_weights_of_its_shape() -> None:
    check_start(changed(model={"dropout": 0.1}), AT_10)
    with pytest.raises(UserError, match=r"model\.layers: found 4, expected 8"):
        check_start(changed(model={"layers": 8}), AT_10)


def test_the_fingerprint_changes_with_what_decides_the_run() -> None:
    told = {manifest(job, "data", 10)["fingerprint"] for job in (JOB, changed(seed=1), changed(tokens="elsewhere"))}
    assert len(told) == 2
    assert manifest(JOB, "data", 11)["fingerprint"] not in told
