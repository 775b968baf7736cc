"""Weights and optimizer state to and from a checkpoint folder, in Megatron's distributed format.

Tensors are stored by their global shape, so what one layout wrote any other reads. Megatron's writer hands the tensors
to forked processes and collects results through a manager process that outlives a killed worker; writing them here,
one file a process, needs neither.
"""

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
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.state_dict_saver import save

from tilth.train.gpt import Gpt


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


def save_state(folder: Path, model: Gpt, optimizer: MegatronOptimizer | None) -> None:
    """Write the weights of ``model`` and, if given, the state of ``optimizer``. All processes call it together."""
    state: dict[str, Any] = {"model": model.sharded_state_dict()}
    if optimizer is not None:
        state["optimizer"] = optimizer.sharded_state_dict(state["model"])
    dist_checkpointing.save(state, str(folder), InPlaceSave("torch_dist", 1))


def load_state(folder: Path, model: Gpt, optimizer: MegatronOptimizer | None) -> None:
    """Read weights, and state where ``optimizer`` is given, in the present layout. All processes call it together."""
    state: dict[str, Any] = {"model": model.sharded_state_dict()}
    if optimizer is not None:
        state["optimizer"] = optimizer.sharded_state_dict(state["model"], is_loading=True)
    loaded = dist_checkpointing.load(state, str(folder))
    model.load_state_dict(loaded["model"])
    if optimizer is not None:
        optimizer.load_state_dict(loaded["optimizer"])


def digest(model: torch.nn.Module) -> str:
    """Return a 32-hex-digit digest of this process's weights, in the order of their names."""
    import hashlib

    total = hashlib.sha256()
    for name, tensor in sorted(model.named_parameters()):
        total.update(name.encode())
        total.update(tensor.detach().float().cpu().numpy().tobytes())
    return total.hexdigest()[:32]
