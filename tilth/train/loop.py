"""The training loop: every process of a run executes it, with Megatron's schedules and optimizer and our data order.

The loop keeps no state that is not in a checkpoint or a function of the step: the learning rate, the samples of a batch
and the noise of dropout all follow from the step's number. So a run that was killed and started again is bit for bit
the run that was not (fp32, same layout), and any data-parallel size sees the same batches.
"""

import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from megatron.core import parallel_state
from megatron.core.distributed import DistributedDataParallel, DistributedDataParallelConfig
from megatron.core.optimizer import (
    MegatronOptimizer,
    OptimizerConfig,
    ParamGroupOverride,
    ParamKey,
    get_megatron_optimizer,
)
from megatron.core.optimizer.optimizer_config import ParamWithNamePredicate
from megatron.core.pipeline_parallel import get_forward_backward_func
from megatron.core.tensor_parallel import model_parallel_cuda_manual_seed
from megatron.core.transformer.module import Float16Module
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException

from tilth.corpus.errors import UserError
from tilth.train import checkpoint
from tilth.train.build import Model, build_model, build_parts
from tilth.train.growth import grown
from tilth.train.guard import Guard
from tilth.train.identity import check_resumable, check_start, manifest, seed_manifest
from tilth.train.job import TrainConfig, TrainJob, parse
from tilth.train.layout import Layout, alone
from tilth.train.model import BY_VOCABULARY, ModelConfig
from tilth.train.objectives.batch import Batch, Objective
from tilth.train.objectives.choose import objective_of
from tilth.train.samples import Material, Samples
from tilth.train.schedule import learning_rate
from tilth.train.speed import flops_of_step, peak
from tilth.train.state import disk_is_full, load_state, save_state, shared_records

Wrapped = list[DistributedDataParallel]  # this process's parts of a model: more than one with virtual stages


@dataclass(frozen=True)
class Losses:
    """What a batch came to, the same in every process. Float64 (rows,) each, in the order of the samples."""

    nats: np.ndarray  # of all predictions of a row
    counts: np.ndarray  # predictions of a row
    order: np.ndarray | None  # nats of the order of all pairs of a row
    pairs: np.ndarray  # pairs of a row whose order is asked

    @property
    def loss(self) -> float:
        """Mean nats of a prediction; with pairs, plus the mean nats of their order: what training minimises."""
        return self.predicted + (self.ordered or 0.0)

    @property
    def predicted(self) -> float:
        """Mean nats of a prediction."""
        return float(self.nats.sum() / max(self.counts.sum(), 1.0))

    @property
    def ordered(self) -> float | None:
        """Mean nats of the order of a pair; None where it is not asked."""
        return None if self.order is None else float(self.order.sum() / max(self.pairs.sum(), 1.0))


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
        model = build_model(job.model, Layout())
        if start is not None and job.pieces:
            _load_grown(job, start, model)
        elif start is not None:
            load_state(start.path, [model], None)
        write_checkpoint(folder, [model], None, seed_manifest(job))
    return checkpoint.checkpoints(folder)[0]


def train(
    job: TrainJob,
    folder: Path,
    material: Material | Samples,
    device: torch.device,
    on_step: Callable[[dict[str, Any]], None],
) -> None:
    """Run ``job`` from its newest checkpoint in ``folder`` to its last step. All processes call it together.

    ``on_step`` gets one record a step, in every process. Samples alone are enough for a GPT. Raises ``UserError`` where
    the loss or the gradient stops being a number, or where the checkpoint belongs to another run.
    """
    if not isinstance(material, Material):
        material = Material(material, objective_of(job, None))
    optimisation = job.optimisation
    begin = checkpoint.latest(folder)
    if begin is None:
        raise UserError(f"{folder}: no checkpoint to begin with; write the seed's first")
    check_resumable(job, material.samples.fingerprint, begin)
    parts, model, optimizer = build(job, device)
    load_state(begin.path, parts, optimizer if begin.step else None)
    if begin.step == 0:
        optimizer.reload_model_params()
    guard = Guard.from_json(optimisation.skip_above, optimisation.skip_window, begin.guard)
    tokens = optimisation.batch_size * job.model.sequence_length
    operations = flops_of_step(job.model, tokens, job.objective.rate)
    of_one, known_from = peak(device, optimisation.precision == "bf16")
    possible = of_one * job.layout.processes
    for step in range(begin.step, optimisation.steps):
        started = perf_counter()
        record, guard = guarded_step(job, step, material, model, optimizer, device, guard)
        seconds = perf_counter() - started
        record["seconds"] = round(seconds, 6)
        record["tokens_per_second"] = round(tokens / seconds, 1)
        record["tflops"] = round(operations / seconds / 1e12, 6)
        record["mfu"] = round(operations / seconds / possible, 4)
        record["peak_tflops"], record["peak"] = round(possible / 1e12, 6), known_from
        done = step + 1
        if optimisation.evaluate_every and (done % optimisation.evaluate_every == 0 or done == optimisation.steps):
            record["held_out_loss"] = held_out_loss(job, material, model, device)
        on_step(record)
        every = optimisation.checkpoint_every
        if done == optimisation.steps or (every and done % every == 0):
            told = manifest(job, material.samples.fingerprint, done, guard.to_json())
            write_checkpoint(folder, parts, optimizer, told)
            if torch.distributed.get_rank() == 0:
                checkpoint.prune(folder, optimisation.keep_last, optimisation.keep_every)


def write_checkpoint(
    folder: Path, parts: Sequence[Model], optimizer: MegatronOptimizer | None, described: Mapping[str, Any]
) -> None:
    """Write the checkpoint that the manifest ``described`` describes. All processes call it together.

    Raises ``UserError`` where the disk is full.
    """
    first_process = torch.distributed.get_rank() == 0
    partial = checkpoint.partial_path(folder, described["step"])
    if first_process:
        checkpoint.make_empty(partial)
    torch.distributed.barrier()
    try:
        save_state(partial, parts, optimizer)
        files = shared_records(partial)
        if first_process:
            checkpoint.commit(partial, described, files)
    except (Exception, CheckpointException) as error:  # the latter is no Exception
        full = disk_is_full(error)
        # Room for what has to be said about it, and for whoever else needs the disk.
        shutil.rmtree(partial, ignore_errors=True)
        if full:
            raise UserError(
                f"{folder}: no space left on the device for a checkpoint; the earlier ones are whole: free some space "
                f"or lower optimisation.keep_last, and the same command goes on"
            ) from error
        raise


def build(job: TrainJob, device: torch.device) -> tuple[list[Model], Wrapped, MegatronOptimizer]:
    """Return this process's parts of the model, the same wrapped for data parallelism, and their optimizer."""
    bf16 = job.optimisation.precision == "bf16"
    model_parallel_cuda_manual_seed(job.seed, force_reset_rng=True)
    built = build_parts(job.model, job.layout, bf16, job.optimisation.recompute, job.optimisation.attention)
    parts = [part.to(device) for part in built]
    shared = job.layout.distributed_optimizer
    settings = DistributedDataParallelConfig(grad_reduce_in_fp32=True, use_distributed_optimizer=shared)
    model = [
        DistributedDataParallel(part.config, settings, Float16Module(part.config, part) if bf16 else part)
        for part in parts
    ]
    optimizer = get_megatron_optimizer(
        _optimizer_config(job),
        model,
        config_overrides=_undecayed(job.optimisation),
        use_gloo_process_groups=False,
    )
    return parts, model, optimizer


def guarded_step(
    job: TrainJob,
    step: int,
    material: Material,
    model: Wrapped,
    optimizer: MegatronOptimizer,
    device: torch.device,
    guard: Guard,
) -> tuple[dict[str, Any], Guard]:
    """Take one step, or skip it where ``guard`` objects; return its record and what the guard knows then."""
    losses = gradients(job, step, material, model, optimizer, device)
    objection = guard.objection(losses.loss)
    if objection is None:
        norm = apply_gradients(job, step, optimizer, losses.loss, guard)
        if math.isfinite(norm):
            return _record(job, step, losses, norm), guard.taken(losses.loss)
        objection = f"grad_norm is {norm}"
    guard = guard.refused()
    optimisation = job.optimisation
    worst = _worst(losses) + step * optimisation.batch_size
    told = _record(job, step, losses, None) | {"skipped": objection, "documents": _documents(material.samples, worst)}
    if guard.in_a_row >= optimisation.most_skips:
        raise UserError(
            f"training stopped at step {step + 1}: {guard.in_a_row} steps in a row were skipped, the last because "
            f"{objection}; lower optimisation.learning_rate ({optimisation.learning_rate}) or look at sample {worst}"
            + "".join(f", document {name} of {source}" for name, source in told["documents"][:1])
        )
    return told, guard


def take_step(
    job: TrainJob,
    step: int,
    material: Material | Samples,
    model: Wrapped,
    optimizer: MegatronOptimizer,
    device: torch.device,
) -> dict[str, Any]:
    """Take one optimizer step and return its record: step (counted from 1), tokens, loss, grad_norm, lr."""
    if not isinstance(material, Material):
        material = Material(material, objective_of(job, None))
    return guarded_step(job, step, material, model, optimizer, device, Guard(None, 2))[0]


def gradients(
    job: TrainJob,
    step: int,
    material: Material,
    model: Wrapped,
    optimizer: MegatronOptimizer,
    device: torch.device,
) -> Losses:
    """Compute the gradients of ``step`` and return its losses."""
    seed_noise(job.seed, step)
    for part in model:
        part.train()
        part.zero_grad_buffer()
    optimizer.zero_grad()
    batches = micro_batches(job, step * job.optimisation.batch_size, material.samples, material.objective)
    return forward(job, model, batches, device, backward=True)


def apply_gradients(job: TrainJob, step: int, optimizer: MegatronOptimizer, loss: float, guard: Guard) -> float:
    """Let the optimizer take the step and return the norm of the whole gradient before clipping.

    A guarded step of a norm that is no number is not taken. Raises ``UserError`` for such a norm, or such a ``loss``,
    without a guard.
    """
    optimisation = job.optimisation
    if not math.isfinite(loss):
        raise UserError(_not_a_number("loss", loss, job, step))
    rate = learning_rate(optimisation, step)
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_mult"]
        group["weight_decay"] = optimisation.weight_decay * group["wd_mult"]
    if guard.deviations is not None:
        optimizer.prepare_grads()
        norm = float(optimizer.get_grad_norm())
        if not math.isfinite(norm):
            return norm
    _, norm, _ = optimizer.step()
    if not math.isfinite(norm):
        raise UserError(_not_a_number("grad_norm", norm, job, step))
    return float(norm)


def held_out_loss(job: TrainJob, material: Material, model: Wrapped, device: torch.device) -> float:
    """Return the mean nats of a prediction on the held-out samples: always the same ones, masked the same way."""
    if material.held_out is None:
        raise UserError("held_out: found none, expected token shards as optimisation.evaluate_every says")
    size = job.optimisation.batch_size
    nats, counts = 0.0, 0.0
    for part in model:
        part.eval()
    with torch.no_grad():
        for first in range(0, max(job.held_out_samples, size) // size * size, size):
            batches = micro_batches(job, first, material.held_out, material.objective)
            losses = forward(job, model, batches, device, backward=False)
            nats, counts = nats + float(losses.nats.sum()), counts + float(losses.counts.sum())
    return nats / max(counts, 1.0)


def micro_batches(job: TrainJob, first: int, samples: Samples, objective: Objective) -> list[Batch]:
    """Return this data-parallel copy's micro-batches of the batch that begins with sample ``first``.

    The batch of step s is always samples [s x batch_size, (s + 1) x batch_size); copies take consecutive shares of it.
    """
    share = job.optimisation.batch_size // job.layout.data
    first += parallel_state.get_data_parallel_rank() * share
    batch = objective.collate(samples.batch(first, share), first)
    size = job.optimisation.micro_batch(job.layout)
    return [batch.rows(row, size) for row in range(0, share, size)]


def forward(job: TrainJob, model: Wrapped, batches: list[Batch], device: torch.device, *, backward: bool) -> Losses:
    """Run Megatron's schedule over ``batches`` and return the true losses over all copies, in every process."""
    rows = job.optimisation.batch_size
    size = batches[0].tokens.shape[0]
    # nats of a row, its predictions, nats of its order, its pairs; the rows of other copies are theirs to fill in
    told = torch.zeros(4, rows, dtype=torch.float64, device=device)
    own = parallel_state.get_data_parallel_rank() * len(batches) * size
    counts = np.concatenate([batch.counts.sum(axis=1) for batch in batches])
    told[1, own : own + len(counts)] = torch.from_numpy(counts).to(device)
    asked = np.zeros(len(counts), np.int64)
    if job.model.sentence_order:
        asked = np.concatenate([(batch.order >= 0).sum(axis=1) for batch in batches if batch.order is not None])
        told[3, own : own + len(asked)] = torch.from_numpy(asked).to(device)
    totals = torch.tensor([int(counts.sum()), int(asked.sum())], device=device)
    torch.distributed.all_reduce(totals, group=parallel_state.get_data_parallel_group())
    total, pairs = totals.clamp(min=1)
    # the schedule divides by the micro-batches, and gradients are averaged over the copies
    pieces = len(batches) * job.layout.data

    def forward_step(iterator: Iterator[tuple[int, Batch]], part: torch.nn.Module) -> tuple[Any, Callable[..., Any]]:
        number, batch = next(iterator)
        tokens, labels, counted = (_sent(array, device) for array in (batch.tokens, batch.labels, batch.counts))
        positions = torch.arange(tokens.shape[1], device=device).expand_as(tokens)
        if batch.positions is not None:
            positions = _sent(batch.positions, device)
        mask = _attention_mask(batch, device, causal=job.model.kind == "gpt")
        more = {}
        if job.model.kind == "bert":
            types = None if batch.types is None else _sent(batch.types, device)
            exchanged = None if batch.order is None else _sent(batch.order, device)
            more = {"types": types, "counts": counted, "pairs": None if exchanged is None else exchanged >= 0}

        def loss_of(output: Any) -> tuple[Tensor, dict[str, Tensor]]:
            losses, order = output if isinstance(output, tuple) else (output, None)
            nats = torch.where(counted, losses.float(), 0.0).sum(dim=1)
            # a copy: the schedule divides the loss by the number of micro-batches in place
            at = slice(own + number * size, own + (number + 1) * size)
            told[0, at] = nats.detach().double()
            loss = nats.sum() * (pieces / total)
            if order is not None and batch.order is not None:
                exchanged = _sent(batch.order, device)
                row, place = torch.nonzero(exchanged >= 0, as_tuple=True)
                wrong = torch.nn.functional.cross_entropy(order.float(), exchanged[row, place], reduction="none")
                told[2, at] = told[2, at].index_add(0, row, wrong.detach().double())
                loss = loss + wrong.sum() * (pieces / pairs)
            return loss, {}

        return part(tokens, positions, mask, labels=labels, **more), loss_of

    get_forward_backward_func()(
        forward_step_func=forward_step,
        data_iterator=[iter(list(enumerate(batches))) for _ in model],
        model=model,
        num_microbatches=len(batches),
        seq_length=job.model.sequence_length,
        micro_batch_size=size,
        forward_only=not backward,
    )
    if not parallel_state.is_pipeline_last_stage():
        told[[0, 2]] = 0.0
    # only the last stage has the losses, and every stage the counts
    for row in (1, 3):
        torch.distributed.all_reduce(told[row], group=parallel_state.get_data_parallel_group())
    for row in (0, 2):
        torch.distributed.all_reduce(told[row], group=parallel_state.get_data_parallel_group())
        torch.distributed.all_reduce(told[row], group=parallel_state.get_pipeline_model_parallel_group())
    nats, counted, order, of_row = told.cpu().numpy()
    return Losses(nats, counted, order if job.model.sentence_order else None, of_row)


def seed_noise(seed: int, step: int) -> None:
    """Make the noise of ``step`` a function of seed, step and place: nothing to store, equal after a restart."""
    place = [parallel_state.get_data_parallel_rank(), parallel_state.get_pipeline_model_parallel_rank()]
    drawn = np.random.SeedSequence([seed, step, *place]).generate_state(1)[0]
    model_parallel_cuda_manual_seed(int(drawn), force_reset_rng=True)


def _load_grown(job: TrainJob, start: checkpoint.Checkpoint, model: Model) -> None:
    """Give ``model`` the weights of ``start``, whose vocabulary is the beginning of its own."""
    old: ModelConfig = parse(ModelConfig, start.model)
    smaller = build_model(old, Layout())
    load_state(start.path, [smaller], None)
    own = model.state_dict()
    with torch.no_grad():
        for name, value in smaller.state_dict().items():
            if not isinstance(value, Tensor):
                continue
            if name in BY_VOCABULARY:
                value = grown(value[: old.vocabulary_size], own[name], job.growth, job.pieces)
            own[name].copy_(value)


def _sent(array: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(device)


def _attention_mask(batch: Batch, device: torch.device, *, causal: bool) -> Tensor | None:
    """Return where positions must not look: bool (rows, 1, positions, positions); None where the layer decides."""
    if batch.documents is None:
        return None
    documents = _sent(batch.documents, device)
    hidden = documents[:, None, :, None] != documents[:, None, None, :]
    if causal:
        hidden = hidden | torch.ones(hidden.shape[-2:], dtype=torch.bool, device=device).triu(1)
    return hidden


def _record(job: TrainJob, step: int, losses: Losses, norm: float | None) -> dict[str, Any]:
    tokens = (step + 1) * job.optimisation.batch_size * job.model.sequence_length
    found = {
        "step": step + 1,
        "tokens": tokens,
        "loss": losses.loss,
        "grad_norm": norm,
        "lr": learning_rate(job.optimisation, step),
    }
    if losses.ordered is not None:
        found |= {"masked_loss": losses.predicted, "order_loss": losses.ordered}
    return found


def _worst(losses: Losses) -> int:
    """Return the row with the largest loss; one that is no number before all others."""
    means = losses.nats / np.maximum(losses.counts, 1.0)
    return int(np.argmax(np.where(np.isfinite(means), means, np.inf)))


def _documents(samples: Samples, sample: int) -> list[tuple[str, str]]:
    """Return (id, source) of the documents in a sample, where its order knows them."""
    known = getattr(samples, "documents_at", None)
    return known(sample) if known is not None else []


def _optimizer_config(job: TrainJob) -> OptimizerConfig:
    optimisation = job.optimisation
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
        use_distributed_optimizer=job.layout.distributed_optimizer,
    )


def _undecayed(optimisation: TrainConfig) -> dict[ParamKey, ParamGroupOverride]:
    """Say which parameters have no weight decay: vectors, and what the settings name."""

    def spared(parameter: Tensor, name: str) -> bool:
        return len(parameter.shape) == 1 or any(part in name for part in optimisation.undecayed)

    return {ParamKey(with_name_predicate=ParamWithNamePredicate(name="undecayed", fn=spared)): {"wd_mult": 0.0}}


def _not_a_number(what: str, found: float, job: TrainJob, step: int) -> str:
    first = step * job.optimisation.batch_size
    return (
        f"training stopped at step {step + 1}: {what} is {found}; lower optimisation.learning_rate "
        f"({job.optimisation.learning_rate}) or look at samples {first} to {first + job.optimisation.batch_size - 1}"
    )
