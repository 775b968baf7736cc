"""Six ways in which Megatron-core 0.16.1, as a library without Transformer Engine or Apex, trains wrongly or fails.

Each test shows what the obvious use does, so that a release that mends it is noticed, and that ours does not.
"""

import dataclasses
import math
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
SHARED = Layout(distributed_optimizer=True)
JOB = TrainJob(MODEL, TrainConfig(steps=3, batch_size=8, learning_rate=1e-2), "-", SHARED)
FORMAT = {"distrib_optim_sharding_type": "fully_reshardable"}


@pytest.fixture
def trained(world: Any, progressions: type[Any]) -> tuple[Any, Any]:
    """A model and its distributed optimizer after three steps."""
    from tilth.train.loop import build, take_step

    parts, model, optimizer = build(JOB, world)
    for step in range(3):
        take_step(JOB, step, progressions(300, 32), model, optimizer, world)
    return parts, optimizer


def steps(optimizer: Any) -> list[Any]:
    return [state["step"] for inner in optimizer.chained_optimizers for state in inner.optimizer.state.values()]


def test_one_shared_adam_step_counts_every_parameter_and_ours_does_not(
    trained: tuple[Any, Any], world: Any, progressions: type[Any], tmp_path: Path
) -> None:
    from tilth.train.loop import build, take_step, write_checkpoint
    from tilth.train.state import load_state

    parts, optimizer = trained
    write_checkpoint(tmp_path, parts, optimizer, {"step": 3})

    _, naive_model, naive = build(JOB, world)
    naive.chained_optimizers[0].load_state_dict(optimizer.chained_optimizers[0].state_dict())
    assert len({step.data_ptr() for step in steps(naive)}) == 1
    take_step(JOB, 3, progressions(300, 32), naive_model, naive, world)
    assert {float(step) for step in steps(naive)} == {3.0 + len(steps(naive))}  # it should be 4

    again, model, ours = build(JOB, world)
    load_state(tmp_path / "step-00000003", again, ours)
    take_step(JOB, 3, progressions(300, 32), model, ours, world)
    assert {float(step) for step in steps(ours)} == {4.0}


def test_the_distributed_optimizers_own_checkpoints_fail_and_ours_do_not(
    trained: tuple[Any, Any], world: Any, tmp_path: Path
) -> None:
    from tilth.train.loop import build, write_checkpoint
    from tilth.train.state import load_state

    parts, optimizer = trained
    fresh_parts, _, fresh = build(JOB, world)
    with pytest.raises((AssertionError, IndexError, KeyError)):
        fresh.sharded_state_dict(fresh_parts[0].sharded_state_dict(), is_loading=True, metadata=FORMAT)  # no step yet
    write_checkpoint(tmp_path, parts, optimizer, {"step": 3})
    load_state(tmp_path / "step-00000003", fresh_parts, fresh)
    for ours, theirs in zip(optimizer.chained_optimizers, fresh.chained_optimizers, strict=True):
        for one, other in zip(ours.get_parameters(), theirs.get_parameters(), strict=True):
            for moment in ("exp_avg", "exp_avg_sq"):
                assert torch.equal(ours.optimizer.state[one][moment], theirs.optimizer.state[other][moment])


def test_virtual_stages_are_refused_where_they_would_be_wrong() -> None:
    """What the default messages make of the others: ``test_virtual_stages_with_default_messages_go_wrong``."""
    with pytest.raises(UserError, match=r"^layout\.virtual: found 2 with layout\.pipeline 1, expected 1"):
        MODEL.check(Layout(virtual=2))
    with pytest.raises(
        UserError, match=r"^model\.layers: found 2, expected a multiple of layout\.pipeline x layout\.vir"
    ):
        MODEL.check(Layout(pipeline=2, virtual=2))
    with pytest.raises(
        UserError, match=r"micro_batch_size: found 8, which makes 1 rounds of a batch of 8, expected a m"
    ):
        JOB.optimisation.check(Layout(pipeline=2, virtual=2))


def test_a_logged_loss_is_divided_by_the_micro_batches_and_ours_is_not(world: Any, progressions: type[Any]) -> None:
    from megatron.core.pipeline_parallel import get_forward_backward_func

    from tilth.train.loop import build, forward, micro_batches
    from tilth.train.objectives.causal import Causal

    job = dataclasses.replace(JOB, layout=Layout(), optimisation=TrainConfig(steps=1, batch_size=8, micro_batch_size=2))
    _, model, _ = build(job, world)
    batches = micro_batches(job, 0, progressions(300, 32), Causal())

    def forward_step(iterator: Any, part: Any) -> tuple[Any, Any]:
        batch = next(iterator)
        tokens, labels = torch.from_numpy(batch.tokens), torch.from_numpy(batch.labels)
        losses = part(tokens, torch.arange(32).expand_as(tokens), None, labels=labels)

        def naive(output: Any) -> tuple[Any, Any]:
            loss = output.mean()
            return loss, loss.detach()

        return losses, naive

    told = get_forward_backward_func()(
        forward_step_func=forward_step,
        data_iterator=iter(batches),
        model=model,
        num_microbatches=4,
        seq_length=32,
        micro_batch_size=2,
        forward_only=True,
    )
    assert float(torch.stack(told).mean()) == pytest.approx(math.log(300) / 4, abs=0.1)  # it should be ln 300
    assert forward(job, model, batches, world, backward=False).loss == pytest.approx(math.log(300), abs=0.1)


def test_megatrons_norm_refuses_sequence_parallelism_and_ours_takes_its_part() -> None:
    from megatron.core.transformer.torch_norm import WrappedTorchNorm
    from megatron.core.transformer.transformer_config import TransformerConfig

    from tilth.train.norm import LayerNorm, RMSNorm

    config = TransformerConfig(
        num_layers=1, hidden_size=8, num_attention_heads=2, tensor_model_parallel_size=2, sequence_parallel=True
    )
    with pytest.raises(AssertionError):
        WrappedTorchNorm(config, 8)
    for norm in (LayerNorm(config, 8), RMSNorm(config, 8)):
        assert all(parameter.sequence_parallel for parameter in norm.parameters())


def test_weights_drawn_by_each_stage_depend_on_the_layout_and_every_run_begins_with_one_seed(
    world: Any, tmp_path: Path
) -> None:
    from megatron.core import parallel_state
    from megatron.core.tensor_parallel import model_parallel_cuda_manual_seed

    from tilth.train.build import build_model
    from tilth.train.identity import seed_manifest

    def drawn(first: bool) -> Any:
        """Layers as a stage draws them that is, or is not, the first one."""
        model_parallel_cuda_manual_seed(0, force_reset_rng=True)
        torch.manual_seed(0)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(parallel_state, "is_pipeline_first_stage", lambda **_: first)
            return build_model(MODEL, Layout()).decoder.layers[0].mlp.linear_fc1.weight

    assert not torch.equal(drawn(True), drawn(False))
    # so the layout is no part of what the seed's checkpoint is, and train() will not begin without one
    assert seed_manifest(JOB) == seed_manifest(dataclasses.replace(JOB, layout=Layout(2, 2, 2)))
    assert checkpoint.latest(tmp_path) is None
    from tilth.train.loop import train

    with pytest.raises(UserError, match="no checkpoint to begin with"):
        train(JOB, tmp_path, None, world, lambda record: None)  # type: ignore[arg-type]  # it never gets that far
