"""The training loop in one process: it learns, its figures are true, and an interruption leaves no trace."""

import dataclasses
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from tilth.corpus.errors import UserError
from tilth.train import checkpoint
from tilth.train.job import TrainConfig, TrainJob
from tilth.train.layout import Layout
from tilth.train.model import ModelConfig

torch = pytest.importorskip("torch")
pytest.importorskip("megatron.core")

MODEL = ModelConfig(300, layers=2, hidden_size=32, heads=4, sequence_length=32)
JOB = TrainJob(MODEL, TrainConfig(steps=12, batch_size=8, learning_rate=1e-2, checkpoint_every=4, keep_last=9), "-")
DIFFERS = {"seconds", "tokens_per_second", "tflops", "mfu"}


class Stopped(Exception):
    """Stands for whatever ends a run in its middle."""


@pytest.fixture
def run(progressions: type[Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    from tilth.train.cpu_backend import cuda_on_cpu
    from tilth.train.layout import process_groups
    from tilth.train.loop import train, write_seed

    def run_in(folder: Path, job: TrainJob = JOB, stop_at: int | None = None) -> list[dict[str, Any]]:
        from torch.distributed import HashStore

        records: list[dict[str, Any]] = []

        def on_step(record: dict[str, Any]) -> None:
            if record["step"] == stop_at:
                raise Stopped
            records.append({name: value for name, value in record.items() if name not in DIFFERS})

        with cuda_on_cpu():
            if checkpoint.latest(folder) is None:
                folder.mkdir(exist_ok=True)
                write_seed(job, folder)
            samples = progressions(job.model.vocabulary_size, job.model.sequence_length)
            with process_groups(Layout(), 0, HashStore()) as device:
                train(job, folder, samples, device, on_step)
        return records

    return run_in


def weights(folder: Path) -> dict[str, Any]:
    """All tensors of the last checkpoint in ``folder``, the optimizer's among them."""
    from megatron.core import dist_checkpointing

    from tilth.train.cpu_backend import cuda_on_cpu
    from tilth.train.layout import alone

    found = checkpoint.latest(folder)
    assert found is not None
    with cuda_on_cpu(), alone():
        loaded = dist_checkpointing.load_plain_tensors(str(found.path))
    return {name: value for name, value in loaded.items() if isinstance(value, torch.Tensor)}


def test_training_learns_what_the_samples_teach(run: Any, tmp_path: Path) -> None:
    records = run(tmp_path)
    assert records[0]["loss"] == pytest.approx(math.log(300), abs=0.1)
    assert records[-1]["loss"] < records[0]["loss"] - 1.0
    assert [record["step"] for record in records] == list(range(1, 13))
    assert records[-1]["tokens"] == 12 * 8 * 32


def test_an_interrupted_run_equals_an_undisturbed_one_bit_for_bit(run: Any, tmp_path: Path) -> None:
    job = dataclasses.replace(JOB, model=dataclasses.replace(MODEL, dropout=0.1))
    whole = run(tmp_path / "whole", job)
    with pytest.raises(Stopped):
        run(tmp_path / "cut", job, stop_at=7)
    resumed = run(tmp_path / "cut", job)
    assert resumed == whole[4:]
    first, second = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert "optimizer.state.exp_avg.decoder.layers.mlp.linear_fc1.weight" in first
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def test_adams_step_is_that_of_the_run_after_a_restart(run: Any, tmp_path: Path) -> None:
    from tilth.train.cpu_backend import cuda_on_cpu
    from tilth.train.layout import alone
    from tilth.train.loop import build
    from tilth.train.state import load_state

    run(tmp_path)
    with cuda_on_cpu(), alone() as device:
        core, _, optimizer = build(JOB, device)
        load_state(checkpoint.checkpoints(tmp_path)[1], core, optimizer)
    steps = [state["step"] for wrapped in optimizer.chained_optimizers for state in wrapped.state.values()]
    assert {float(step) for step in steps} == {4.0}
    assert len({step.data_ptr() for step in steps}) == len(steps)  # one shared tensor would count every parameter


def test_the_loss_is_the_mean_over_tokens_however_the_batch_is_cut(run: Any, tmp_path: Path) -> None:
    halves = dataclasses.replace(JOB, optimisation=dataclasses.replace(JOB.optimisation, micro_batch_size=2))
    whole, cut = run(tmp_path / "whole"), run(tmp_path / "cut", halves)
    assert [record["loss"] for record in cut] == pytest.approx([record["loss"] for record in whole], abs=1e-4)
    assert cut[0]["loss"] == pytest.approx(whole[0]["loss"], abs=1e-6)
    assert cut[0]["grad_norm"] == pytest.approx(whole[0]["grad_norm"], rel=1e-5)


def test_weight_decay_spares_vectors(world: Any, progressions: type[Any]) -> None:
    from tilth.train.loop import build, take_step

    _, model, optimizer = build(JOB, world)
    take_step(JOB, 0, progressions(300, 32), model, optimizer, world)
    decay = {len(p.shape): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decay == {2: 0.1, 1: 0.0}


def test_a_loss_that_is_no_number_stops_the_run_before_a_checkpoint(run: Any, tmp_path: Path) -> None:
    wild = dataclasses.replace(JOB, optimisation=dataclasses.replace(JOB.optimisation, learning_rate=1e30))
    with pytest.raises(
        UserError, match=r"training stopped at step \d+: (loss|grad_norm) is (nan|inf); lower .*\(1e\+30\)"
    ):
        run(tmp_path, wild)
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert found.step == 0


def test_a_longer_run_continues_a_shorter_one(run: Any, tmp_path: Path) -> None:
    short = dataclasses.replace(JOB, optimisation=dataclasses.replace(JOB.optimisation, schedule="constant", steps=8))
    long = dataclasses.replace(JOB, optimisation=dataclasses.replace(JOB.optimisation, schedule="constant"))
    once = run(tmp_path / "once", long)
    assert run(tmp_path / "twice", short) + run(tmp_path / "twice", long) == once


def test_a_run_can_start_from_the_weights_of_another(run: Any, tmp_path: Path) -> None:
    before = run(tmp_path / "first")
    then = dataclasses.replace(JOB, start=str(checkpoint.checkpoints(tmp_path / "first")[-1]))
    after = run(tmp_path / "second", then)
    assert after[0]["loss"] < before[0]["loss"] - 1.0
    with pytest.raises(UserError, match=r"model\.layers"):
        run(tmp_path / "third", dataclasses.replace(then, model=dataclasses.replace(MODEL, layers=4)))


def test_another_job_does_not_continue_the_run(run: Any, tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(UserError, match="seed: this checkpoint was trained with 0, the job says 9"):
        run(tmp_path, dataclasses.replace(JOB, seed=9))


def test_half_precision_follows_full_precision_and_resumes_bit_for_bit(run: Any, tmp_path: Path) -> None:
    half = dataclasses.replace(JOB, optimisation=dataclasses.replace(JOB.optimisation, precision="bf16"))
    full, whole = run(tmp_path / "full"), run(tmp_path / "whole", half)
    assert [record["loss"] for record in whole] == pytest.approx([record["loss"] for record in full], abs=0.1)
    with pytest.raises(Stopped):
        run(tmp_path / "cut", half, stop_at=7)
    assert run(tmp_path / "cut", half) == whole[4:]


def test_the_seed_is_the_same_whenever_it_is_made(run: Any, tmp_path: Path) -> None:
    run(tmp_path / "one")
    run(tmp_path / "two")
    for folder in ("one", "two"):
        for path in checkpoint.checkpoints(tmp_path / folder)[1:]:
            shutil.rmtree(path)
    first, second = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
