"""Adam's state as tensors by the global shape of their parameters, whichever of Megatron's optimizers holds them.

Megatron-core 0.16.1 stores its plain and its distributed optimizer in formats that cannot read each other; without
Transformer Engine or Apex the distributed one fails to save (fresh state), fails to load (``KeyError: 'step'``), and
gives every parameter the same ``step`` tensor, so that each AdamW step counts once for every parameter. Here state is
taken from the optimizer and put back parameter by parameter, each with a step of its own, under the names of the plain
optimizer's format. So a run may change its optimizer as it may change its layout.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from megatron.core.dist_checkpointing.mapping import ShardedTensorFactory
from megatron.core.optimizer import MegatronOptimizer
from megatron.core.optimizer.distrib_optimizer import DistributedOptimizer
from megatron.core.optimizer.optimizer import Float16OptimizerWithFloat16Params
from torch import Tensor

MOMENTS = ("exp_avg", "exp_avg_sq")
WEIGHT = "fp32_param"  # the weight itself, where the model's own is bfloat16

Part = tuple[Tensor, Tensor, slice | None]  # the model's parameter, the optimizer's, and its range in it if not all


def optimizer_tensors(optimizer: MegatronOptimizer, weights: dict[str, Any], empty: bool = False) -> dict[str, Any]:
    """Return the state of ``optimizer`` as sharded tensors; ``weights`` are the sharded tensors of its model.

    ``empty``: tensors to be filled by loading. All processes call it together.
    """
    named = {id(sharded.data): (name, sharded) for name, sharded in weights.items()}
    found: dict[str, Any] = {}
    for inner in _each(optimizer):
        own = {id(parameter): (value, part) for parameter, value, part in _parts(inner)}
        for parameter in _parameters(inner):
            name, sharded = named[id(parameter)]
            kinds = MOMENTS if parameter.dtype == torch.float32 else (*MOMENTS, WEIGHT)
            for kind in kinds:
                if empty:
                    value = torch.empty(parameter.shape, dtype=torch.float32, device=parameter.device)
                else:
                    value = _whole(inner, kind, parameter, *own.get(id(parameter), (None, None)))
                changed: dict[str, Any] = {"key": f"optimizer.state.{kind}.{sharded.key}", "data": value}
                if not isinstance(sharded, ShardedTensorFactory):
                    changed["dtype"] = value.dtype
                found[f"{kind} {name}"] = replace(sharded, **changed)
    return found


def names_of(weights: dict[str, Any]) -> dict[int, str]:
    """Return the name of every parameter by its ``id``. Loading changes ``weights``, so ask before."""
    return {id(sharded.data): name for name, sharded in weights.items()}


def load_optimizer(optimizer: MegatronOptimizer, names: dict[int, str], loaded: dict[str, Tensor], step: int) -> None:
    """Put loaded tensors into ``optimizer``, and the number of steps that it has taken; ``names``: as ``names_of``."""
    for inner in _each(optimizer):
        for parameter, own, part in _parts(inner):

            def told(kind: str, parameter: Tensor = parameter, own: Tensor = own, part: slice | None = part) -> Tensor:
                whole = loaded[f"{kind} {names[id(parameter)]}"]
                return (whole if part is None else whole.flatten()[part]).reshape(own.shape).to(own.device)

            if own.dtype != parameter.dtype:
                own.data.copy_(told(WEIGHT))
            # torch's AdamW counts in a float tensor on the CPU: one for every parameter, never shared
            moments = {kind: told(kind).clone() for kind in MOMENTS}
            inner.optimizer.state[own] = {"step": torch.tensor(float(step)), **moments}


def adam_step(optimizer: MegatronOptimizer) -> int:
    """Return how many steps the optimizer has taken. All processes call it together.

    A process may own no piece of a distributed optimizer's state, so the largest count of all is the answer.
    """
    counts = [int(state["step"]) for inner in _each(optimizer) for state in inner.optimizer.state.values()]
    device = next(parameter.device for inner in _each(optimizer) for parameter in _parameters(inner))
    step = torch.tensor(max(counts, default=0), device=device)
    torch.distributed.all_reduce(step, op=torch.distributed.ReduceOp.MAX)
    return int(step)


def _each(optimizer: MegatronOptimizer) -> list[Any]:
    return list(getattr(optimizer, "chained_optimizers", [optimizer]))


def _parameters(inner: Any) -> list[Tensor]:
    """Return the parameters of the model that ``inner`` has to do with, in an order that all copies share."""
    if isinstance(inner, DistributedOptimizer):
        return [parameter for buffer in inner.buffers for parameter in buffer.param_index_map]
    return [parameter for parameter, _, _ in _parts(inner)]


def _parts(inner: Any) -> Iterator[Part]:
    """Yield every parameter that ``inner`` updates, or updates a range of."""
    if isinstance(inner, DistributedOptimizer):
        for parameter, (group, order) in inner.model_param_group_index_map.items():
            place = inner._get_model_param_range_map(parameter)["param"]
            yield parameter, inner.optimizer.param_groups[group]["params"][order], slice(place.start, place.end)
    elif isinstance(inner, Float16OptimizerWithFloat16Params):
        groups = zip(inner.float16_groups, inner.fp32_from_float16_groups, strict=True)
        for model_group, own_group in (*groups, *((group, group) for group in inner.fp32_from_fp32_groups)):
            yield from ((parameter, own, None) for parameter, own in zip(model_group, own_group, strict=True))
    else:
        yield from ((parameter, parameter, None) for parameter in inner.get_parameters())


def _whole(inner: Any, kind: str, parameter: Tensor, own: Tensor | None, part: slice | None) -> Tensor:
    """Return the state of a whole parameter; where copies share it, each adds its range to zeros."""
    if own is not None:
        value = own.detach() if kind == WEIGHT else inner.optimizer.state[own][kind]
        if part is None:
            return value
    whole = torch.zeros(parameter.numel(), dtype=torch.float32, device=parameter.device)
    if own is not None:
        whole[part] = value
    torch.distributed.all_reduce(whole, group=inner.data_parallel_group)
    return whole.view(parameter.shape)
