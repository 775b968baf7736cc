"""The training loop: every process of a run executes it, with Megatron's schedules and optimizer and our data order.

The loop keeps no state that is not in a checkpoint or a function of the step: the learning rate, the samples of a batch
and the noise of dropout all follow from the step's number. So a run that was killed and started again is bit for bit
the run that was not (fp32, same layout), and any data-parallel size sees the same batches.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from megatron.core import parallel_state
from megatron.core.distributed import DistributedDataParallel, DistributedDataParallelConfig
from megatron.core.optimizer import MegatronOptimizer, OptimizerConfig, get_megatron_optimizer
from megatron.core.pipeline_parallel import get_forward_backward_func
from megatron.core.tensor_parallel import model_parallel_cuda_manual_seed
from megatron.core.transformer.module import Float16Module
from torch import Tensor

from tilth.corpus.errors import UserError
from tilth.train import checkpoint
from tilth.train.gpt import Gpt, build_gpt
from tilth.train.identity import check_resumable, check_start, manifest, seed_manifest
from tilth.train.job import TrainConfig, TrainJob
from tilth.train.layout import Layout, alone
from tilth.train.samples import Samples
from tilth.train.schedule import learning_rate
from tilth.train.state import load_state, save_state


def write_seed(job: TrainJob, folder: Path) -> Path:
    """Make the first weights of ``job`` in a world of one process and write them as the checkpoint of step 0.

    Every layout begins with this checkpoint: weights that each pipeline stage drew for itself would depend on the
    layout.
    """
    start = checkpoint.read_checkpoint(Path(job.start)) if job.start else None
    if start is not None:
        check_start(job, start)
    with alone():
        torch.manual_seed(job.seed)
        model_parallel_cuda_manual_seed(job.seed, force_reset_rng=True)
        model = build_gpt(job.model, Layout())
        if start is not None:
            load_state(start.path, model, None)
        write_checkpoint(folder, model, None, seed_manifest(job))
    return checkpoint.checkpoints(folder)[0]


def train(
    job: TrainJob, folder: Path, samples: Samples, device: torch.device, on_step: Callable[[dict[str, Any]], None]
) -> None:
    """Run ``job`` from its newest checkpoint in ``folder`` to its last step. All processes call it together.

    ``on_step`` gets one record a step, in every process. Raises ``UserError`` where the loss or the gradient stops
    being a number, or where the checkpoint belongs to another run.
    """
    optimisation = job.optimisation
    begin = checkpoint.latest(folder)
    if begin is None:
        raise UserError(f"{folder}: no checkpoint to begin with; write the seed's first")
    check_resumable(job, samples.fingerprint, begin)
    core, model, optimizer = build(job, device)
    load_state(begin.path, core, optimizer if begin.step else None)
    if begin.step == 0:
        optimizer.reload_model_params()
    for step in range(begin.step, optimisation.steps):
        started = perf_counter()
        record = take_step(job, step, samples, model, optimizer, device)
        record["seconds"] = round(perf_counter() - started, 6)
        record["tokens_per_second"] = round(optimisation.batch_size * job.model.sequence_length / record["seconds"], 1)
        on_step(record)
        done = step + 1
        every = optimisation.checkpoint_every
        if done == optimisation.steps or (every and done % every == 0):
            write_checkpoint(folder, core, optimizer, manifest(job, samples.fingerprint, done))
            if torch.distributed.get_rank() == 0:
                checkpoint.prune(folder, optimisation.keep_last)


def write_checkpoint(
    folder: Path, model: Gpt, optimizer: MegatronOptimizer | None, described: Mapping[str, Any]
) -> None:
    """Write the checkpoint that the manifest ``described`` describes. All processes call it together."""
    first_process = torch.distributed.get_rank() == 0
    partial = checkpoint.partial_path(folder, described["step"])
    if first_process:
        checkpoint.make_empty(partial)
    torch.distributed.barrier()
    save_state(partial, model, optimizer)
    if first_process:
        checkpoint.commit(partial, described)


def build(job: TrainJob, device: torch.device) -> tuple[Gpt, DistributedDataParallel, MegatronOptimizer]:
    """Return this process's part of the model, the same wrapped for data parallelism, and its optimizer."""
    bf16 = job.optimisation.precision == "bf16"
    model_parallel_cuda_manual_seed(job.seed, force_reset_rng=True)
    core = build_gpt(job.model, job.layout, bf16).to(device)
    inner = Float16Module(core.config, core) if bf16 else core
    model = DistributedDataParallel(core.config, DistributedDataParallelConfig(grad_reduce_in_fp32=True), inner)
    optimizer = get_megatron_optimizer(_optimizer_config(job.optimisation), [model], use_gloo_process_groups=False)
    return core, model, optimizer


def take_step(
    job: TrainJob,
    step: int,
    samples: Samples,
    model: DistributedDataParallel,
    optimizer: MegatronOptimizer,
    device: torch.device,
) -> dict[str, Any]:
    """Take one optimizer step and return its record: step (counted from 1), tokens, loss, grad_norm, lr."""
    optimisation = job.optimisation
    seed_noise(job.seed, step)
    model.train()
    model.zero_grad_buffer()
    optimizer.zero_grad()
    loss = forward(job, model, micro_batches(job, step, samples), device, backward=True)
    if not math.isfinite(loss):
        raise UserError(_not_a_number("loss", loss, job, step))
    rate = learning_rate(optimisation, step)
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_mult"]
        group["weight_decay"] = optimisation.weight_decay * group["wd_mult"]
    _, norm, _ = optimizer.step()
    if not math.isfinite(norm):
        raise UserError(_not_a_number("grad_norm", norm, job, step))
    tokens = (step + 1) * optimisation.batch_size * job.model.sequence_length
    return {"step": step + 1, "tokens": tokens, "loss": loss, "grad_norm": float(norm), "lr": rate}


def micro_batches(job: TrainJob, step: int, samples: Samples) -> list[np.ndarray]:
    """Return this data-parallel copy's micro-batches of ``step``: int64, (micro_batch, sequence_length + 1) each.

    The batch of step s is always samples [s x batch_size, (s + 1) x batch_size); copies take consecutive shares of it.
    """
    whole = job.optimisation.batch_size
    share = whole // job.layout.data
    rows = samples.batch(step * whole + parallel_state.get_data_parallel_rank() * share, share)
    size = job.optimisation.micro_batch(job.layout)
    return [rows[first : first + size] for first in range(0, share, size)]


def forward(
    job: TrainJob, model: torch.nn.Module, batches: list[np.ndarray], device: torch.device, *, backward: bool
) -> float:
    """Run Megatron's schedule over ``batches`` and return the true mean loss over all copies, in every process."""

    def forward_step(iterator: Iterator[np.ndarray], part: torch.nn.Module) -> tuple[Tensor, Callable[..., Any]]:
        rows = torch.from_numpy(np.ascontiguousarray(next(iterator))).to(device)
        inputs, labels = rows[:, :-1].contiguous(), rows[:, 1:].contiguous()
        positions = torch.arange(inputs.shape[1], device=device).expand_as(inputs)
        return part(inputs, positions, None, labels=labels), mean_loss

    def mean_loss(output: Tensor) -> tuple[Tensor, Tensor]:
        loss = output.float().mean()
        # A copy: the schedule divides the loss by the number of micro-batches in place.
        return loss, loss.detach().clone()

    found = get_forward_backward_func()(
        forward_step_func=forward_step,
        data_iterator=iter(batches),
        model=[model],
        num_microbatches=len(batches),
        seq_length=job.model.sequence_length,
        micro_batch_size=batches[0].shape[0],
        forward_only=not backward,
    )
    loss = torch.stack(found).mean() if found else torch.zeros((), device=device)
    loss = loss / job.layout.data
    torch.distributed.all_reduce(loss, group=parallel_state.get_data_parallel_group())
    # Only the last stage has the loss, the others hold zero.
    torch.distributed.all_reduce(loss, group=parallel_state.get_pipeline_model_parallel_group())
    return float(loss)


def seed_noise(seed: int, step: int) -> None:
    """Make the noise of ``step`` a function of seed, step and place: nothing to store, equal after a restart."""
    place = [parallel_state.get_data_parallel_rank(), parallel_state.get_pipeline_model_parallel_rank()]
    drawn = np.random.SeedSequence([seed, step, *place]).generate_state(1)[0]
    model_parallel_cuda_manual_seed(int(drawn), force_reset_rng=True)


def _optimizer_config(optimisation: TrainConfig) -> OptimizerConfig:
    return OptimizerConfig(
        optimizer="adam",
        lr=optimisation.learning_rate,
        min_lr=optimisation.minimum_learning_rate,
        weight_decay=optimisation.weight_decay,
        adam_beta1=optimisation.beta1,
        adam_beta2=optimisation.beta2,
        adam_eps=optimisation.epsilon,
        clip_grad=optimisation.gradient_clipping or math.inf,  # Megatron measures the norm only where it may clip
        bf16=optimisation.precision == "bf16",
        params_dtype=torch.bfloat16 if optimisation.precision == "bf16" else torch.float32,
    )


def _not_a_number(what: str, found: float, job: TrainJob, step: int) -> str:
    first = step * job.optimisation.batch_size
    return (
        f"training stopped at step {step + 1}: {what} is {found}; lower optimisation.learning_rate "
        f"({job.optimisation.learning_rate}) or look at samples {first} to {first + job.optimisation.batch_size - 1}"
    )
