"""How a model is cut over processes: tensor x pipeline x data parallel, and the process groups that go with it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tilth.corpus.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch._C._distributed_c10d import Store


@dataclass(frozen=True)
class Layout:
    """The degrees of parallelism. Every layout of one job computes the same run, to rounding."""

    tensor: int = 1  # processes that share each matrix
    pipeline: int = 1  # processes that share the layers, one after the other
    data: int = 1  # copies of the model that share the batch
    sequence_parallel: bool = False  # tensor ranks also share the positions between the matrices: less memory
    distributed_optimizer: bool = False  # data-parallel copies share the optimizer's state: 8 bytes a parameter less
    virtual: int = 1  # model parts of a pipeline stage, taken in turns: stages wait less for each other

    @property
    def processes(self) -> int:
        """Number of processes of a run."""
        return self.tensor * self.pipeline * self.data

    def check(self) -> None:
        """Raise ``UserError`` where the layout makes no sense by itself."""
        for name in ("tensor", "pipeline", "data", "virtual"):
            if getattr(self, name) < 1:
                raise UserError(f"layout.{name}: found {getattr(self, name)}, expected 1 or more")
        if self.virtual > 1 and self.pipeline == 1:
            raise UserError(
                f"layout.virtual: found {self.virtual} with layout.pipeline 1, expected 1: there is no pipeline whose "
                f"stages could take turns; set layout.pipeline above 1 or layout.virtual to 1"
            )
        if self.sequence_parallel and self.tensor == 1:
            raise UserError(
                "layout.sequence_parallel: needs tensor parallelism; set layout.tensor above 1 or turn it off"
            )


@contextmanager
def process_groups(layout: Layout, rank: int, store: "Store | None" = None) -> "Iterator[torch.device]":
    """Join the processes of ``layout`` as ``rank`` and yield the device to compute on; leave them at the end.

    The processes meet at ``store``, or without one at the ``MASTER_ADDR`` and ``MASTER_PORT`` of the environment. With
    CUDA each process takes the device of its local rank and nccl carries the messages, else gloo does on the CPU.
    """
    import os

    import torch
    from megatron.core import parallel_state

    if torch.cuda.is_available():
        backend = "nccl"
        local, devices = int(os.environ.get("LOCAL_RANK", rank)), torch.cuda.device_count()
        if layout.processes > 1 and local >= devices:  # nccl cannot share a device; worlds of one process may
            raise UserError(
                f"layout: needs a GPU for each process of this machine, found {devices}; use fewer processes"
            )
        device = torch.device("cuda", local % devices)
        torch.cuda.set_device(device)
    else:
        backend, device = "gloo", torch.device("cpu")
    if store is None:
        torch.distributed.init_process_group(backend, rank=rank, world_size=layout.processes)
    else:
        torch.distributed.init_process_group(backend, store=store, rank=rank, world_size=layout.processes)
    try:
        parallel_state.initialize_model_parallel(
            tensor_model_parallel_size=layout.tensor,
            pipeline_model_parallel_size=layout.pipeline,
            virtual_pipeline_model_parallel_size=layout.virtual if layout.virtual > 1 else None,
            create_gloo_process_groups=False,
        )
        yield device
    finally:
        parallel_state.destroy_model_parallel()
        torch.distributed.destroy_process_group()


@contextmanager
def alone() -> "Iterator[torch.device]":
    """Be a world of one process: the layout in which seed checkpoints are made and documents are scored."""
    from torch._C._distributed_c10d import HashStore

    with process_groups(Layout(), 0, HashStore()) as device:
        yield device
