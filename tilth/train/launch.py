"""Starts the processes of a run on this machine, watches them, and leaves none behind however it ends.

No torchrun: one less agent between the user and the error. If a worker dies the others are ended and its last words
become the error; if this process dies, even by ``kill -9``, the kernel ends the workers (see ``tilth.train.parent``).
"""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import orjson

from tilth.corpus.errors import UserError
from tilth.train import checkpoint, engine_attention, tensorboard
from tilth.train.identity import check_resumable, check_seed
from tilth.train.job import TrainJob
from tilth.train.parent import PARENT
from tilth.train.samples import open_material
from tilth.train.worker import LAST_WORDS, USER_ERROR

POLL = 0.05  # seconds between looks at the workers
GRACE = 5.0  # seconds that a worker has to end before it is killed

WORKER = (sys.executable, "-W", "ignore", "-m", "tilth.train.worker")
OURS = str(Path(__file__).parents[2])  # where this package is imported from, so that workers run the same code

Record = Mapping[str, Any]


@dataclass(frozen=True)
class TrainResult:
    """What a run came to."""

    steps: int
    tokens: int  # positions predicted, over the whole run
    checkpoint: Path  # the last one
    seed: Path  # the checkpoint of step 0
    seconds: float  # of this call; of a run that was finished before, almost none


def train(job: TrainJob, folder: Path, on_step: Callable[[Record], None] | None = None) -> TrainResult:
    """Train ``job`` in ``folder``, or go on where it stopped; returns when its last checkpoint is written.

    ``on_step`` gets one record a step: step, tokens, loss, grad_norm, lr, seconds, tokens_per_second. Raises
    ``UserError`` where the job cannot run, where ``folder`` holds another run, or where a worker died.
    """
    started = perf_counter()
    job.check()
    if job.optimisation.tensorboard:
        tensorboard.check_installed()
    if job.optimisation.attention == engine_attention.CHOICE:
        engine_attention.check_installed()
    data = open_material(job).samples.fingerprint
    found = checkpoint.latest(folder)
    if found is not None:
        check_resumable(job, data, found)
    if found is None or found.step != job.optimisation.steps:
        path = _write_job(job, folder)
        records = follow(folder / checkpoint.LOG, checkpoint.cut_log(folder, found.step if found else 0))
        run_workers(
            [*WORKER, str(path)],
            job.layout.processes,
            folder,
            lambda: [on_step(record) for record in records() if on_step is not None],
        )
    result = finished(job, folder)
    if result is None:
        raise UserError(
            f"{folder}: the workers ended without a checkpoint of step {job.optimisation.steps}; see worker-0.log there"
        )
    return replace(result, seconds=perf_counter() - started)


def finished(job: TrainJob, folder: Path) -> TrainResult | None:
    """Return what ``job`` came to in ``folder``; None where its last checkpoint is not there."""
    found = checkpoint.latest(folder)
    if found is None or found.step != job.optimisation.steps:
        return None
    return TrainResult(found.step, found.tokens, found.path, checkpoint.checkpoints(folder)[0], 0.0)


def seed_checkpoint(job: TrainJob, folder: Path) -> Path:
    """Return the checkpoint of step 0 in ``folder``, written by one process if it is not there yet.

    ``train`` does this by itself; a study that wants the untrained model, or the same one in many places, calls it.
    """
    job.check()
    found = checkpoint.checkpoints(folder)
    if not found:
        run_workers([*WORKER, "--seed", str(_write_job(job, folder))], 1, folder)
        found = checkpoint.checkpoints(folder)
    seed = checkpoint.read_checkpoint(found[0])
    check_seed(job, seed)
    return seed.path


def _write_job(job: TrainJob, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "job.json"
    path.write_bytes(job.to_json())
    return path


def follow(path: Path, offset: int) -> Callable[[], list[Record]]:
    """Return a function that gives the records added to the log at ``path`` since ``offset`` or its last call."""
    position = offset

    def added() -> list[Record]:
        nonlocal position
        if not path.exists():
            return []
        with path.open("rb") as log:
            log.seek(position)
            data = log.read()
        whole = data[: data.rfind(b"\n") + 1]
        position += len(whole)
        return [orjson.loads(line) for line in whole.splitlines()]

    return added


def run_workers(command: Sequence[str], processes: int, folder: Path, watch: Callable[[], Any] | None = None) -> None:
    """Run ``command`` in as many ``processes`` as asked for until all have ended well; ``watch`` is called meanwhile.

    Each process gets RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT and its share of the cores; what it prints
    goes to ``worker-RANK.log`` in ``folder``. Raises ``UserError`` with a dead worker's last words. None outlives the
    call.
    """
    port = _free_port()
    for old in folder.glob("worker-*.log"):
        old.unlink()
    workers: list[subprocess.Popen[bytes]] = []
    try:
        for rank in range(processes):
            with (folder / f"worker-{rank}.log").open("wb") as output:
                workers.append(
                    subprocess.Popen(
                        command,
                        env=_environment(rank, processes, port),
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,  # Ctrl-C reaches us alone; we end the workers
                    )
                )
        while any(worker.poll() is None for worker in workers) and not any(worker.returncode for worker in workers):
            if watch is not None:
                watch()
            sleep(POLL)
        if any(worker.returncode for worker in workers):
            sleep(10 * POLL)  # the one that failed first may still be writing why
            raise UserError(_last_words(workers, folder))
        if watch is not None:
            watch()
    finally:
        _end(workers)


def _environment(rank: int, processes: int, port: int) -> dict[str, str]:
    threads = str(max(1, (os.cpu_count() or 1) // processes))  # unless the user said how many
    environment = {
        **os.environ,
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", threads),
        "CUDA_DEVICE_MAX_CONNECTIONS": "1",  # Megatron asks for it where tensor parallel work overlaps
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": os.pathsep.join(path for path in (OURS, os.environ.get("PYTHONPATH")) if path),
        PARENT: str(os.getpid()),
    }
    if sys.platform == "linux":
        environment.setdefault(
            "GLOO_SOCKET_IFNAME", "lo"
        )  # else gloo resolves the host's name, which may have no address
    return environment


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _last_words(workers: Sequence[subprocess.Popen[bytes]], folder: Path) -> str:
    """Say which worker failed and why; one that failed by itself before those that only lost their neighbour."""

    def culprit(rank: int) -> tuple[bool, bool, int]:
        status = workers[rank].poll() or 0
        return (status != USER_ERROR, status >= 0, rank)

    rank = min((rank for rank in range(len(workers)) if workers[rank].poll()), key=culprit)
    status = workers[rank].returncode
    log = folder / f"worker-{rank}.log"
    lines = log.read_text(errors="replace").splitlines()
    words = (
        [line.removeprefix(LAST_WORDS) for line in lines if line.startswith(LAST_WORDS)] or lines[-1:] or ["nothing"]
    )
    if status == USER_ERROR:
        return words[-1]
    how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
    return f"worker {rank} of {len(workers)} {how}; its last words: {words[-1]} (all of them: {log})"


def _end(workers: Sequence[subprocess.Popen[bytes]]) -> None:
    for worker in workers:
        if worker.poll() is None:
            worker.terminate()
    deadline = perf_counter() + GRACE
    for worker in workers:
        try:
            worker.wait(max(0.0, deadline - perf_counter()))
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
