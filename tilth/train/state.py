"""Weights and optimizer state to and from a checkpoint folder, in Megatron's distributed format.

Tensors are stored by their global shape, so what one layout wrote any other reads; the optimizer's are stored in the
same way whichever optimizer holds them. Megatron's writer hands the tensors to forked processes and collects results
through a manager process that outlives a killed worker; writing them here, one file a process, needs neither.
"""

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from megatron.core import dist_checkpointing
from megatron.core.dist_checkpointing.mapping import ShardedStateDict
from megatron.core.dist_checkpointing.strategies.torch import (
    MCoreSavePlanner,
    TorchDistSaveShardedStrategy,
    _replace_state_dict_keys_with_sharded_keys,
    mcore_to_pyt_state_dict,
)
from megatron.core.optimizer import MegatronOptimizer
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.state_dict_saver import save

from tilth.corpus.store import FileRecord
from tilth.train import checkpoint
from tilth.train.build import Model
from tilth.train.metadata import check_metadata
from tilth.train.optimizer_state import adam_step, load_optimizer, names_of, optimizer_tensors


class InPlaceSave(TorchDistSaveShardedStrategy):
    """Writes Megatron's ``torch_dist`` format from the calling process."""

    def save(self, sharded_state_dict: ShardedStateDict, checkpoint_dir: str) -> None:
        """Write this process's tensors; together with the others' they make the checkpoint."""
        tensors, _, _ = _replace_state_dict_keys_with_sharded_keys(sharded_state_dict, self.keep_only_main_replica)
        save(
            mcore_to_pyt_state_dict(tensors, False),
            storage_writer=FileSystemWriter(checkpoint_dir),
            planner=MCoreSavePlanner(dedup_replicated_tensors=False, flatten_state_dict=False),
        )


def save_state(folder: Path, parts: Sequence[Model], optimizer: MegatronOptimizer | None) -> None:
    """Write the weights of this process's ``parts`` of a model and, if given, the state of ``optimizer``.

    All processes call it together.
    """
    weights = _weights(parts)
    state: dict[str, Any] = {"model": weights}
    if optimizer is not None:
        state["optimizer"] = optimizer_tensors(optimizer, weights)
        state["adam_step"] = adam_step(optimizer)
    dist_checkpointing.save(state, str(folder), InPlaceSave("torch_dist", 1))


def shared_records(folder: Path) -> dict[str, FileRecord]:
    """Return size and digest of every file of a checkpoint but its manifest. All processes call it, and share the work.

    Nothing is read before all have come here, so what each of them wrote is there.
    """
    torch.distributed.barrier()
    rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
    shares: list[Any] = [None] * world
    torch.distributed.all_gather_object(shares, checkpoint.file_records(folder, rank, world))
    return {name: record for share in shares for name, record in share.items()}


def load_state(folder: Path, parts: Sequence[Model], optimizer: MegatronOptimizer | None) -> None:
    """Read weights, and state where ``optimizer`` is given, in the present layout. All processes call it together.

    Raises ``UserError`` in every process where a file is not what was written, or holds anything but tensors.
    """
    checkpoint.check_records(folder, shared_records(folder))
    check_metadata(folder)
    weights = _weights(parts)
    names = names_of(weights)
    state: dict[str, Any] = {"model": weights}
    if optimizer is not None:
        state["optimizer"] = optimizer_tensors(optimizer, weights, empty=True)
    loaded = dist_checkpointing.load(state, str(folder))
    for number, part in enumerate(parts):
        told = {name: loaded["model"].get(f"{number}.{name}") for name in part.state_dict()}
        part.load_state_dict(told)
    if optimizer is not None:
        load_optimizer(optimizer, names, loaded["optimizer"], loaded["adam_step"])


def _weights(parts: Sequence[Model]) -> ShardedStateDict:
    """Return the tensors of ``parts`` as ``NUMBER.NAME``, without the empty objects kept for Transformer Engine."""
    return {
        f"{number}.{name}": value
        for number, part in enumerate(parts)
        for name, value in part.sharded_state_dict().items()
        if not name.endswith("_extra_state")
    }


def disk_is_full(error: BaseException) -> bool:
    """Look for the system's ENOSPC in what PyTorch made of it: a cause, a collection of causes, or words."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return True
    inner = [each[0] for each in error.failures.values()] if isinstance(error, CheckpointException) else []
    causes = [each for each in (error.__cause__, error.__context__, *inner) if each is not None]
    # torch.save reports a write that came up short in words of its own
    short = ("No space left on device", "file write failed", "unexpected pos")
    return any(words in str(error) for words in short) or any(disk_is_full(each) for each in causes)
