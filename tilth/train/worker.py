"""One process of a training run: ``python -m tilth.train.worker JOB.json``, as ``tilth.train.launch`` starts it.

``RANK`` and ``WORLD_SIZE`` say which process of how many this is, as with torchrun; results go beside the job file.
What stops a worker is written as its last line, so that the launcher can quote it.
"""

import os
import sys
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO, Any

import orjson

from tilth.corpus.errors import UserError
from tilth.train import checkpoint
from tilth.train.job import TrainJob
from tilth.train.parent import end_with_parent
from tilth.train.samples import Material, Samples, open_material

LAST_WORDS = "stopped: "  # begins the line that says why a worker ended
USER_ERROR = 3  # exit status where that line is meant for the user as it is


def run(task: Callable[[], None]) -> None:
    """Run ``task`` as the whole of this process, on CUDA or with the CPU in its place, and end the process."""
    end_with_parent()
    status = 0
    try:
        from tilth.train.cpu_backend import cuda_or_cpu

        with cuda_or_cpu():
            task()
    except UserError as error:
        print(f"{LAST_WORDS}{error}", file=sys.stderr)
        status = USER_ERROR
    except BaseException as error:
        traceback.print_exc()
        print(f"{LAST_WORDS}{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}", file=sys.stderr)
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: other processes of the group may be gone, and waiting for them at the end would hang.
    os._exit(status)


def train_job(path: Path) -> None:
    """Train the job in ``path`` as one process of its layout."""
    job = TrainJob.from_json(path.read_bytes())
    job.check()
    train_samples(job, path.parent, open_material(job))


def train_samples(job: TrainJob, folder: Path, material: Material | Samples) -> None:
    """Train ``job`` in ``folder`` on ``material``: the seed's checkpoint first if there is none, then the steps."""
    from tilth.train.layout import process_groups
    from tilth.train.loop import train, write_seed

    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if world != job.layout.processes:
        raise UserError(f"layout: needs {job.layout.processes} processes, found WORLD_SIZE={world}; start as many")
    if rank == 0:
        if checkpoint.latest(folder) is None:
            write_seed(job, folder)
        checkpoint.prune(folder, job.optimisation.keep_last, job.optimisation.keep_every)
    # Joining waits for rank 0, so every process finds the seed.
    with process_groups(job.layout, rank) as device:
        if rank == 0:
            begin = checkpoint.latest(folder)
            checkpoint.cut_log(folder, begin.step if begin else 0)
            at = begin.step if begin else 0
            with (folder / checkpoint.LOG).open("ab", buffering=0) as log, _events(job, folder, at) as events:

                def on_step(record: dict[str, Any]) -> None:
                    _write(log, record)
                    events(record)

                train(job, folder, material, device, on_step)
        else:
            train(job, folder, material, device, lambda record: None)


def _events(job: TrainJob, folder: Path, step: int) -> AbstractContextManager[Callable[[dict[str, Any]], None]]:
    """Return what writes records for TensorBoard, or nothing."""
    if not job.optimisation.tensorboard:
        return nullcontext(lambda record: None)
    from tilth.train.tensorboard import event_writer

    return event_writer(folder, step)


def make_seed(path: Path) -> None:
    """Write the seed checkpoint that the job in ``path`` would begin with, beside it."""
    from tilth.train.loop import write_seed

    job = TrainJob.from_json(path.read_bytes())
    write_seed(job, path.parent)


def _write(log: IO[bytes], record: dict[str, Any]) -> None:
    log.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))


def main() -> None:
    """Run the job file that the command line names; with ``--seed`` only write its seed checkpoint."""
    path = Path(sys.argv[-1])
    run(lambda: make_seed(path) if "--seed" in sys.argv[1:-1] else train_job(path))


if __name__ == "__main__":
    main()
