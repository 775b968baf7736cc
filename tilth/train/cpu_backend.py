"""Lets Megatron-core run where there is no CUDA: the device calls that it makes without asking are answered by the CPU.

Megatron-core 0.16.1 allocates with ``device="cuda"``, asks tensors for their CUDA type name and keeps CUDA generators:
about thirty places on the way of a GPT. Rewriting ``torch`` for good would leak into everything else in the process;
here a scoped function mode and seven redirected functions do it inside one ``with`` block, and everything is as before
when it ends. It costs a Python call for each torch call, too little to be seen beside plain PyTorch
(benchmarks/step.py).

Two consequences to know of: the CPU's generator plays the part of the CUDA generator, and ``Tensor.type()`` says
``torch.cuda.FloatTensor`` of a tensor on the CPU while the block lasts. So enter it in training processes only.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import torch
from torch.overrides import TorchFunctionMode

CPU = torch.device("cpu")


class CudaOnCpu(TorchFunctionMode):
    """Answers torch calls that name a CUDA device with the CPU."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run ``func`` on the CPU whatever device it asked for."""
        named = dict(kwargs or {})
        if func is torch.Tensor.cuda:
            return args[0]
        if _is_cuda(named.get("device")):
            named["device"] = CPU
        if func is torch.Tensor.to:
            args = tuple(CPU if _is_cuda(value) else value for value in args)
        result = func(*args, **named)
        if func is torch.Tensor.type and isinstance(result, str):
            return result.replace("torch.", "torch.cuda.", 1)
        return result


def _is_cuda(device: object) -> bool:
    if isinstance(device, torch.device):
        return device.type == "cuda"
    return isinstance(device, str) and device.startswith("cuda")


@contextmanager
def cuda_or_cpu() -> Iterator[None]:
    """Let the block compute on CUDA, or where there is none, on the CPU in its place."""
    with nullcontext() if torch.cuda.is_available() else cuda_on_cpu():
        yield


@contextmanager
def cuda_on_cpu() -> Iterator[None]:
    """Answer Megatron's CUDA calls with the CPU for as long as the block lasts, then restore every function."""
    from megatron.core.tensor_parallel import random as megatron_random

    def generator_state(*_: object, **__: object) -> torch.Tensor:
        return torch.random.get_rng_state()

    def set_generator_state(state: torch.Tensor, *_: object, **__: object) -> None:
        torch.random.set_rng_state(state)

    redirected: list[tuple[Any, str, Callable[..., Any]]] = [
        (torch.cuda, "current_device", lambda: CPU),
        (torch.cuda, "synchronize", lambda *_: None),
        (torch.cuda, "get_rng_state", generator_state),
        (torch.cuda, "set_rng_state", set_generator_state),
        (torch.cuda, "manual_seed", lambda seed: torch.default_generator.manual_seed(seed)),
        (megatron_random, "_get_cuda_rng_state", generator_state),
        (megatron_random, "_set_cuda_rng_state", set_generator_state),
    ]
    with ExitStack() as stack:
        for owner, name, replacement in redirected:
            stack.enter_context(patch.object(owner, name, replacement))
        stack.enter_context(CudaOnCpu())
        yield
