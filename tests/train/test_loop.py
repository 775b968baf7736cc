"""The training loop in one process: it learns, its figures are true, and an interruption leaves no trace."""

import dataclasses
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from tilth.corpus.errors import UserError
from tilth.train import checkpoint
from tilth.train.job import ObjectiveConfig, TrainConfig, TrainJob
from tilth.train.layout import Layout
from tilth.train.model import ModelConfig

torch = pytest.importorskip("torch")
pytest.importorskip("megatron.core")

MODEL = ModelConfig(300, layers=2, hidden_size=32, heads=4, sequence_length=32)
JOB = TrainJob(MODEL, TrainConfig(steps=12, batch_size=8, learning_rate=1e-2, checkpoint_every=4, keep_last=9), "-")
DIFFERS = {"seconds", "tokens_per_second", "tflops", "mfu", "peak_tflops"}


class Stopped(Exception):
    """Stands for whatever ends a run in its middle."""


@pytest.fixture
def run(progressions: type[Any], vocabulary: Any) -> Any:
    from tilth.train.cpu_backend import cuda_on_cpu
    from tilth.train.layout import process_groups
    from tilth.train.loop import train, write_seed
    from tilth.train.objectives.choose import objective_of
    from tilth.train.samples import Material

    def run_in(
        folder: Path, job: TrainJob = JOB, stop_at: int | None = None, damaged: Any = lambda samples: samples
    ) -> list[dict[str, Any]]:
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
            material = Material(damaged(samples), objective_of(job, 7, vocabulary), samples)
            with process_groups(Layout(), 0, HashStore()) as device:
                train(job, folder, material, device, on_step)
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


def test_weights_with_a_changed_bit_are_not_loaded(run: Any, tmp_path: Path) -> None:
    run(tmp_path, changed(steps=1))
    found = checkpoint.latest(tmp_path)
    assert found is not None
    file = max(found.path.glob("*.distcp"), key=lambda path: path.stat().st_size)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(UserError, match=rf"{file.name}: found a content with the digest .* delete .*{found.path.name}"):
        run(tmp_path, changed(steps=2, schedule="constant"))


def test_adams_step_is_that_of_the_run_after_a_restart(run: Any, tmp_path: Path) -> None:
    from tilth.train.cpu_backend import cuda_on_cpu
    from tilth.train.layout import alone
    from tilth.train.loop import build
    from tilth.train.state import load_state

    run(tmp_path)
    with cuda_on_cpu(), alone() as device:
        parts, _, optimizer = build(JOB, device)
        load_state(checkpoint.checkpoints(tmp_path)[1], parts, optimizer)
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


def changed(job: TrainJob = JOB, model: dict[str, Any] | None = None, **optimisation: Any) -> TrainJob:
    return dataclasses.replace(
        job,
        model=dataclasses.replace(job.model, **(model or {})),
        optimisation=dataclasses.replace(job.optimisation, **optimisation),
    )


BERT = changed(
    model={"kind": "bert", "position": "learned", "normalization": "LayerNorm", "activation": "gelu", "bias": True},
    steps=40,
    checkpoint_every=20,
)


@pytest.mark.parametrize("proposals", ["tokens", "words", "spans"])
def test_a_bert_learns_what_was_hidden(run: Any, tmp_path: Path, proposals: Any) -> None:
    job = dataclasses.replace(BERT, objective=ObjectiveConfig(proposals=proposals))
    found = [record["loss"] for record in run(tmp_path, job, damaged=Few)]
    assert found[0] == pytest.approx(math.log(300), abs=0.3)
    assert found[-1] < math.log(8) + 0.3  # it knows which eight tokens there are


def test_an_interrupted_bert_equals_an_undisturbed_one_bit_for_bit(run: Any, tmp_path: Path) -> None:
    job = changed(BERT, model={"sentence_order": True, "dropout": 0.1}, steps=12, checkpoint_every=4)
    whole = run(tmp_path / "whole", job)
    assert {"masked_loss", "order_loss"} <= whole[0].keys()
    assert whole[0]["loss"] == pytest.approx(whole[0]["masked_loss"] + whole[0]["order_loss"])
    with pytest.raises(Stopped):
        run(tmp_path / "cut", job, stop_at=7)
    assert run(tmp_path / "cut", job) == whole[4:]
    first, second = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def test_the_loss_of_a_bert_does_not_depend_on_how_the_batch_is_cut(run: Any, tmp_path: Path) -> None:
    # rows differ in how many of their tokens are hidden: means of micro-batches would not add up
    whole, cut = (
        run(tmp_path / "whole", changed(BERT, steps=3)),
        run(tmp_path / "cut", changed(BERT, steps=3, micro_batch_size=1)),
    )
    assert cut[0]["loss"] == pytest.approx(whole[0]["loss"], abs=1e-6)
    assert cut[0]["grad_norm"] == pytest.approx(whole[0]["grad_norm"], rel=1e-5)
    assert [record["loss"] for record in cut] == pytest.approx([record["loss"] for record in whole], abs=1e-4)


def test_half_precision_serves_a_bert_too(run: Any, tmp_path: Path) -> None:
    job = changed(BERT, steps=4)
    full, half = run(tmp_path / "full", job), run(tmp_path / "half", changed(job, precision="bf16"))
    assert [record["loss"] for record in half] == pytest.approx([record["loss"] for record in full], abs=0.1)


@pytest.mark.parametrize("recompute", ["attention", "layers"])
def test_computing_again_changes_nothing_not_even_the_noise(run: Any, tmp_path: Path, recompute: Any) -> None:
    job = changed(model={"dropout": 0.1}, steps=4)
    assert run(tmp_path / "again", changed(job, recompute=recompute)) == run(tmp_path / "once", job)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_shared_optimizer_goes_on_where_a_plain_one_stopped_and_back(
    run: Any, tmp_path: Path, precision: Any
) -> None:
    plain = changed(precision=precision)
    shared = dataclasses.replace(plain, layout=Layout(distributed_optimizer=True))
    whole = run(tmp_path / "whole", plain)
    for name, first, second in (("there", plain, shared), ("back", shared, plain), ("stay", shared, shared)):
        with pytest.raises(Stopped):
            run(tmp_path / name, first, stop_at=7)
        resumed = run(tmp_path / name, second)
        assert [record["loss"] for record in resumed] == pytest.approx(
            [record["loss"] for record in whole[4:]], abs=1e-4
        )


def test_attention_within_documents_is_that_of_documents_alone(world: Any, vocabulary: Any) -> None:
    import numpy as np

    from tilth.train.build import build_model
    from tilth.train.loop import _attention_mask
    from tilth.train.objectives.causal import Causal
    from tilth.train.objectives.masked import Masked, Masking

    rows = np.random.default_rng(0).integers(8, 300, (2, 33))
    rows[:, 12] = vocabulary.separator
    for kind, objective in (("gpt", Causal(vocabulary.separator)), ("bert", Masked(Masking(1), vocabulary, True))):
        torch.manual_seed(1)
        model = build_model(dataclasses.replace(MODEL, kind=kind), Layout()).eval()
        batch = objective.collate(rows, 0)
        tokens = torch.from_numpy(batch.tokens)
        positions = torch.arange(32).expand_as(tokens)
        with torch.no_grad():
            together = model(tokens, positions, _attention_mask(batch, world, causal=kind == "gpt"))
            alone = model(tokens[:, :12], positions[:, :12], None)
            later = model(tokens[:, 12:], positions[:, :20], None)  # rotary positions are relative
        first, second, whole = (each[0] if isinstance(each, tuple) else each for each in (alone, later, together))
        torch.testing.assert_close(whole, torch.cat([first, second], dim=1), atol=1e-5, rtol=1e-4)


def test_what_is_named_has_no_weight_decay(world: Any, progressions: type[Any]) -> None:
    from tilth.train.loop import build, take_step

    job = changed(undecayed=("embedding",))
    parts, model, optimizer = build(job, world)
    take_step(job, 0, progressions(300, 32), model, optimizer, world)
    names = {id(parameter): name for name, parameter in parts[0].named_parameters()}
    spared = {names[id(p)] for group in optimizer.param_groups for p in group["params"] if group["weight_decay"] == 0.0}
    assert "embedding.word_embeddings.weight" in spared
    assert not any("linear" in name for name in spared)


class Few:
    """Samples of eight tokens."""

    fingerprint = "few"

    def __init__(self, samples: Any) -> None:
        self.samples = samples

    def batch(self, first: int, count: int) -> Any:
        return self.samples.batch(first, count) % 8 + 8


class Damaged(Few):
    """The same, but that the batch of step 41 has others."""

    def batch(self, first: int, count: int) -> Any:
        rows = super().batch(first, count)
        if first == 40 * 8:
            rows += 200
        return rows

    def documents_at(self, sample: int) -> list[tuple[str, str]]:
        return [(f"{sample:032x}", "fields")]


def test_a_step_far_above_the_others_is_skipped_and_its_documents_named(run: Any, tmp_path: Path) -> None:
    job = changed(steps=44, checkpoint_every=4, skip_above=3.0, skip_window=32, schedule="constant")
    whole = run(tmp_path / "whole", job, damaged=Damaged)
    skipped = [record for record in whole if "skipped" in record]
    assert [record["step"] for record in skipped] == [41]
    assert "more than" in skipped[0]["skipped"]
    assert skipped[0]["documents"][0][1] == "fields"
    assert 320 <= int(skipped[0]["documents"][0][0], 16) < 328
    assert skipped[0]["grad_norm"] is None
    # what it knows is in the checkpoint: a run that was cut skips the same step
    with pytest.raises(Stopped):
        run(tmp_path / "cut", job, stop_at=39, damaged=Damaged)
    assert run(tmp_path / "cut", job, damaged=Damaged) == whole[36:]
    first, second = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def test_a_guarded_run_stops_when_nothing_helps(run: Any, tmp_path: Path) -> None:
    wild = changed(learning_rate=1e30, skip_above=6.0, most_skips=3)
    with pytest.raises(
        UserError, match=r"^training stopped at step \d+: 3 steps in a row were skipped, the last because"
    ):
        run(tmp_path, wild)
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert found.step == 0


def test_held_out_samples_are_looked_at_in_their_time_and_change_nothing(run: Any, tmp_path: Path) -> None:
    looking = dataclasses.replace(changed(model={"dropout": 0.1}, evaluate_every=5), held_out="somewhere")
    found, blind = run(tmp_path / "looking", looking), run(tmp_path / "blind", changed(model={"dropout": 0.1}))
    assert [record["step"] for record in found if "held_out_loss" in record] == [5, 10, 12]
    assert [record["loss"] for record in found] == [record["loss"] for record in blind]
    told = [record["held_out_loss"] for record in found if "held_out_loss" in record]
    assert told == sorted(told, reverse=True)


def test_checkpoints_of_round_numbers_are_kept(run: Any, tmp_path: Path) -> None:
    run(tmp_path, changed(checkpoint_every=2, keep_last=1, keep_every=4))
    assert [int(path.name[5:]) for path in checkpoint.checkpoints(tmp_path)] == [0, 4, 8, 12]
