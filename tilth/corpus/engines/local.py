"""The local engine: datatrove's LocalPipelineExecutor as the pool of processes, our receipts as the truth.

datatrove's own completion markers are not used: they know neither configuration nor content. Its pool waits for ever
when a worker is killed (by the kernel's out-of-memory killer, say), so a watchdog follows the workers and ends the run
with one line instead.

A group is a hash-partitioned spill: one Arrow file a part with one record batch a partition (several, where the rows of
a part are more than may be held at once), one reduction a partition, then one application a part. Spill files are
committed by rename like everything else, so a killed run goes on where it was.
"""

import contextlib
import ctypes
import functools
import itertools
import os
import pickle
import shutil
import signal
import sys
import tempfile
import threading
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import multiprocess
import psutil
import pyarrow as pa
from datatrove.executor.local import LocalPipelineExecutor
from loguru import logger

from tilth.corpus.errors import UserError
from tilth.corpus.store import ArrowWriter, part_name
from tilth.corpus.tasks import GroupJob, Task, run_task

WATCH_SECONDS = 0.5
INTERRUPT_SECONDS = 5.0  # about what an orderly end of the pool takes at most
FORK_SERVER = "tilth.corpus.engines.fork_server"


@dataclass(frozen=True)
class LocalEngine:
    """``workers`` processes on this machine; with one, everything runs in this process."""

    workers: int

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise UserError(f"workers: found {self.workers}, expected at least 1")

    def run(self, tasks: Sequence[Task]) -> None:
        """Run every task; a worker that dies without a word is a ``UserError``."""
        if not tasks:
            return
        workers = min(self.workers, len(tasks))
        if workers == 1:  # a pool costs 40 ms of processor time
            for task in tasks:
                run_task(task)
            return
        with tempfile.TemporaryDirectory(prefix="tilth-") as name:
            executor = _executor(tasks, workers, Path(name))
            with _watchdog(Path(name), len(tasks)):
                executor.run()

    def group(self, job: GroupJob, parts: Sequence[int]) -> None:
        """Spill, reduce, apply; every step in parallel and resumable."""
        spill = job.folder / f"spill-{job.partitions}"
        self.run([task for part in range(job.parts) if not (task := SpillTask(job, part, spill)).path.is_file()])
        if not (job.folder / "failed").is_dir():
            reductions = [ReduceTask(job, number, spill) for number in range(job.partitions)]
            self.run([task for task in reductions if not task.path.is_file()])
        if not (job.folder / "failed").is_dir():
            self.run([ApplyTask(job, part, spill) for part in parts])
        if not (job.folder / "failed").is_dir():
            shutil.rmtree(spill)


@dataclass(frozen=True)
class SpillTask:
    """Write the keyed rows of a part: one record batch a partition, empty ones too, and so again for every round."""

    job: GroupJob
    part: int
    spill: Path

    @property
    def folder(self) -> Path:
        """The stage folder."""
        return self.job.folder

    @property
    def name(self) -> str:
        """Stage, step and part."""
        return f"{self.job.stage.name} keys of part {self.part}"

    @property
    def path(self) -> Path:
        """The spill file."""
        return self.spill / "keys" / part_name(self.part)

    def run(self) -> None:
        """Key the documents and commit."""
        rounds = self.job.keyed(self.part)
        first = next(rounds, {})
        schema = next(iter(first.values())).schema if first else pa.schema([])
        empty = pa.RecordBatch.from_pylist([], schema=schema)
        with ArrowWriter(self.path, schema) as writer:
            for keyed in itertools.chain([first] if first else [], rounds):
                for number in range(self.job.partitions):
                    writer.write(keyed[number].to_batches()[0] if number in keyed else empty)
            writer.finish()


@dataclass(frozen=True)
class ReduceTask:
    """Reduce one partition: one record batch a home, homes ascending."""

    job: GroupJob
    number: int
    spill: Path

    @property
    def folder(self) -> Path:
        """The stage folder."""
        return self.job.folder

    @property
    def name(self) -> str:
        """Stage, step and partition."""
        return f"{self.job.stage.name} partition {self.number}"

    @property
    def path(self) -> Path:
        """The file of reduced rows."""
        return self.spill / "rows" / part_name(self.number)

    def run(self) -> None:
        """Gather the partition from every spill file, reduce it, commit."""
        homes = dict(self.job.reduced_in_turns(self._rows))
        schema = next(iter(homes.values())).schema if homes else pa.schema([])
        with ArrowWriter(self.path, schema) as writer:
            for rows in homes.values():
                writer.write(rows.to_batches()[0])  # the only one: reduced rows come in one chunk
            writer.finish()

    def _rows(self) -> Iterator[pa.Table]:
        """Yield the rows of the partition, from every round of every spill file."""
        for part in range(self.job.parts):
            with pa.memory_map(str(SpillTask(self.job, part, self.spill).path)) as source:
                reader = pa.ipc.open_file(source)
                for place in range(self.number, reader.num_record_batches, self.job.partitions):
                    if (batch := reader.get_batch(place)).num_rows:
                        yield pa.Table.from_batches([batch])


@dataclass(frozen=True)
class ApplyTask:
    """Bring the reduced rows home to one part."""

    job: GroupJob
    part: int
    spill: Path

    @property
    def folder(self) -> Path:
        """The stage folder."""
        return self.job.folder

    @property
    def name(self) -> str:
        """Stage, step and part."""
        return f"{self.job.stage.name} part {self.part}"

    def run(self) -> None:
        """Find the part's rows in every partition and apply them."""
        tables = []
        for number in range(self.job.partitions):
            path = ReduceTask(self.job, number, self.spill).path
            with pa.memory_map(str(path)) as source:
                reader = pa.ipc.open_file(source)
                # homes ascend, one batch each: a search reads a few of them where a scan would read every part's
                index = bisect_left(range(reader.num_record_batches), self.part, key=lambda place: home(reader, place))
                if index < reader.num_record_batches and home(reader, index) == self.part:
                    tables.append(pa.Table.from_batches([reader.get_batch(index)]))
        self.job.apply(self.part, tables)


def home(reader: pa.RecordBatchFileReader, place: int) -> int:
    """Return the part that a batch of reduced rows belongs to."""
    return int(reader.get_batch(place).column("home")[0].as_py())


@dataclass(frozen=True)
class _Ranks:
    """datatrove's pipeline: rank n is task n, found in its own file, so that no rank carries all the others' tasks.

    For the watchdog every worker notes what it is at, which ranks are done, and whether a task raised.
    """

    folder: Path

    def __call__(self, data: object, rank: int, world_size: int) -> None:
        _die_with_parent()  # the fork server, which ends with the driver
        task = pickle.loads((self.folder / f"{rank}.task").read_bytes())  # written by this run, in its own folder
        (self.folder / "workers" / str(os.getpid())).write_text(task.name)
        try:
            run_task(task)
        except BaseException:
            (self.folder / "raised").touch()
            raise
        (self.folder / "done" / str(rank)).touch()


class _QuietExecutor(LocalPipelineExecutor):  # type: ignore[misc]
    """datatrove logs every rank to the terminal, in the driver and in each worker; progress is ours to show."""

    def _run_for_rank(self, rank: int, local_rank: int = 0, node_rank: int = -1) -> Any:
        logger.disable("datatrove")
        return super()._run_for_rank(rank, local_rank, node_rank)


def _executor(tasks: Sequence[Task], workers: int, folder: Path) -> Any:
    logger.disable("datatrove")
    _forks_die_with_driver()
    multiprocess.get_context("forkserver").set_forkserver_preload([FORK_SERVER])
    for place in ("workers", "done"):
        (folder / place).mkdir()
    for rank, task in enumerate(tasks):
        (folder / f"{rank}.task").write_bytes(pickle.dumps(task))
    return _QuietExecutor(
        pipeline=[_Ranks(folder)],
        tasks=len(tasks),
        workers=workers,
        logging_dir=str(folder / "logs"),
        skip_completed=False,
    )


@functools.cache
def _forks_die_with_driver() -> None:
    """End the manager process that datatrove forks when this process is killed: nothing else would."""
    os.register_at_fork(after_in_child=_die_with_parent)


def _die_with_parent() -> None:
    """Have this process killed when its parent ends (Linux only): a killed run leaves nothing at work in its folder."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1 is PR_SET_PDEATHSIG


@contextlib.contextmanager
def _watchdog(folder: Path, tasks: int) -> Iterator[None]:
    """End the wait for a worker that was killed: the pool starts another in its place and waits for its task for ever.

    A pool that comes to its end ends its workers too. So a dead one means something only as long as tasks are left
    and none has raised, and that is looked at after the workers.
    """
    died: list[str] = []
    stop = threading.Event()
    main = threading.main_thread() is threading.current_thread()

    driver = psutil.Process()

    def watch() -> None:
        seen: set[int] = set()
        while not stop.wait(WATCH_SECONDS):
            with contextlib.suppress(psutil.NoSuchProcess):  # a child that ended while it was looked at
                # one that is killed before its first task notes nothing: workers are the fork server's children
                seen.update(worker.pid for child in driver.children() for worker in child.children())
            seen.update(int(note.name) for note in (folder / "workers").iterdir())
            dead = [worker for worker in seen if not psutil.pid_exists(worker)]
            if (folder / "raised").exists() or len(list((folder / "done").iterdir())) == tasks:
                return
            if dead:
                note = folder / "workers" / str(dead[0])
                died.append(note.read_text() if note.exists() else "the run")
                break
        # again and again: a worker that was killed while it waited for work may hold a lock that the pool's end needs
        while main and not stop.is_set():
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            stop.wait(INTERRUPT_SECONDS)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    except KeyboardInterrupt:
        if not died:
            raise
        raise UserError(
            f"{died[0]}: its worker was killed, most likely for want of memory; "
            "run the same command again with fewer workers, finished parts are kept"
        ) from None
    finally:
        stop.set()
        thread.join()
