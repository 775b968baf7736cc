"""Whole runs with real processes: they end well, or with one clear line, and never leave a process behind."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import psutil
import pytest

from tilth.corpus.errors import UserError
from tilth.train import checkpoint, launch
from tilth.train.job import TrainConfig, TrainJob
from tilth.train.layout import Layout
from tilth.train.model import ModelConfig

pytest.importorskip("megatron.core")
event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
pytestmark = pytest.mark.slow

MODEL = ModelConfig(300, layers=2, hidden_size=32, heads=4, sequence_length=32, dropout=0.1)
OPTIMISATION = TrainConfig(steps=40, batch_size=4, checkpoint_every=10, keep_last=2, tensorboard=True)
PATIENCE = 120.0  # seconds, for machines that do much else


@pytest.fixture(scope="module")
def job(token_folder: Path) -> TrainJob:
    return TrainJob(MODEL, OPTIMISATION, str(token_folder), Layout(tensor=2))


@pytest.fixture(scope="module")
def undisturbed(job: TrainJob, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    steps: list[float] = []
    result = launch.train(job, folder, lambda record: steps.append(record["step"]))
    assert steps == list(range(1, 41))
    assert (result.steps, result.tokens) == (40, 40 * 4 * 32)
    assert (result.checkpoint.name, result.seed.name) == ("step-00000040", "step-00000000")
    return folder


@pytest.fixture
def started() -> Iterator[list[psutil.Process]]:
    """Processes to end should a test fail."""
    processes: list[psutil.Process] = []
    yield processes
    for process in processes:
        if process.is_running():
            process.kill()


def until(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def start(job: TrainJob, folder: Path, started: list[psutil.Process], step: int) -> list[psutil.Process]:
    """Start a run in a process of its own, wait for ``step``, and return that process and its workers."""
    folder.mkdir(exist_ok=True)
    (folder / "given.json").write_bytes(job.to_json())
    code = (
        "import sys; from pathlib import Path; from tilth.train import launch; from tilth.train.job import TrainJob;"
        "launch.train(TrainJob.from_json(Path(sys.argv[1], 'given.json').read_bytes()), Path(sys.argv[1]))"
    )
    environment = {**os.environ, "PYTHONPATH": launch.OURS}
    parent = psutil.Process(subprocess.Popen([sys.executable, "-c", code, str(folder)], env=environment).pid)
    started.append(parent)
    assert until(lambda: len(log(folder)) >= step or not parent.is_running()), "the run did not get that far in time"
    started.extend(parent.children(recursive=True))
    assert len(started) == 3
    return started


def log(folder: Path) -> list[dict[str, float]]:
    path = folder / checkpoint.LOG
    if not path.exists():
        return []
    lines = [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    return [orjson.loads(line) for line in lines]


def untimed(records: list[dict[str, float]]) -> list[dict[str, float]]:
    timed = {"seconds", "tokens_per_second", "tflops", "mfu", "peak_tflops"}
    return [{k: v for k, v in record.items() if k not in timed} for record in records]


def ended(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_a_run_killed_in_its_middle_and_started_again_equals_the_undisturbed_one(
    job: TrainJob, undisturbed: Path, tmp_path: Path, started: list[psutil.Process]
) -> None:
    parent, *workers = start(job, tmp_path, started, step=23)
    parent.kill()
    assert until(lambda: all(ended(worker) for worker in workers)), "a worker outlived the process that started it"
    first = checkpoint.latest(tmp_path)
    assert first is not None
    assert 0 < first.step < 40
    launch.train(job, tmp_path)
    assert untimed(log(tmp_path)) == untimed(log(undisturbed))
    ours, theirs = (sorted((folder / "step-00000040").glob("*.distcp")) for folder in (tmp_path, undisturbed))
    assert [path.read_bytes() for path in ours] == [path.read_bytes() for path in theirs]
    for record in log(tmp_path):
        assert record["tflops"] / record["peak_tflops"] == pytest.approx(record["mfu"], abs=1e-3)
        assert record["peak"] == "cpu: measured"  # type: ignore[comparison-overlap]
    # what TensorBoard shows is the log: every step once, though some were taken twice
    shown = event_accumulator.EventAccumulator(str(tmp_path / "tensorboard"), {"scalars": 0}).Reload()
    assert {"loss", "grad_norm", "lr", "tokens_per_second", "mfu"} <= set(shown.Tags()["scalars"])
    for name in ("loss", "grad_norm", "lr"):
        found = [(event.step, event.value) for event in shown.Scalars(name)]
        assert found == [(record["step"], pytest.approx(record[name], rel=1e-6)) for record in log(tmp_path)]


def own_workers() -> list[psutil.Process]:
    """The training workers of this process, which may have children of other tests, dead ones too."""
    children = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    return [child for child in children if "tilth.train.worker" in child.cmdline()]


@pytest.mark.parametrize("rank", [0, 1])
def test_a_worker_killed_while_it_writes_a_checkpoint_ends_the_others_and_leaves_the_one_before(
    job: TrainJob, tmp_path: Path, started: list[psutil.Process], rank: int
) -> None:
    endless = dataclasses.replace(OPTIMISATION, steps=100_000, schedule="constant", checkpoint_every=1)
    long = dataclasses.replace(job, optimisation=endless)

    def kill_one(record: launch.Record) -> None:
        if not started:
            workers = own_workers()
            started.extend(workers)
            writing = until(lambda: bool(list(tmp_path.glob(".step-*.partial"))))
            next(worker for worker in workers if worker.environ().get("RANK") == str(rank)).send_signal(signal.SIGKILL)
            assert writing

    with pytest.raises(
        UserError, match=rf"^worker {rank} of 2 was killed by signal 9; its last words: nothing \(all of them"
    ):
        launch.train(long, tmp_path, kill_one)
    assert len(started) == 2
    assert all(ended(worker) for worker in started)
    for path in checkpoint.checkpoints(tmp_path):
        checkpoint.read_checkpoint(path)
        checkpoint.check_records(path, checkpoint.file_records(path))


def test_an_interruption_of_the_command_ends_the_workers(
    job: TrainJob, tmp_path: Path, started: list[psutil.Process]
) -> None:
    endless = dataclasses.replace(OPTIMISATION, steps=100_000, schedule="constant")
    long = dataclasses.replace(job, optimisation=endless, layout=Layout())

    def interrupt(record: launch.Record) -> None:
        started.extend(own_workers())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        launch.train(long, tmp_path, interrupt)
    assert len(started) == 1
    assert all(ended(worker) for worker in started)


def test_what_a_worker_says_to_the_user_arrives_as_it_is(job: TrainJob, tmp_path: Path) -> None:
    rate = dataclasses.replace(OPTIMISATION, learning_rate=1e30)
    wild = dataclasses.replace(job, optimisation=rate, layout=Layout())
    with pytest.raises(UserError, match=r"^training stopped at step \d+: (loss|grad_norm) is (nan|inf); lower"):
        launch.train(wild, tmp_path)


def test_a_finished_run_is_recognised_without_starting_anything(job: TrainJob, undisturbed: Path) -> None:
    before = (undisturbed / "worker-0.log").stat().st_mtime_ns
    result = launch.train(job, undisturbed, lambda record: pytest.fail("no step is taken"))
    assert (result.steps, result.checkpoint.name) == (40, "step-00000040")
    assert (undisturbed / "worker-0.log").stat().st_mtime_ns == before


def test_a_folder_of_another_run_is_refused(job: TrainJob, undisturbed: Path) -> None:
    with pytest.raises(UserError, match=r"weights\.north: this checkpoint was trained with None, the job says 1\.0"):
        launch.train(dataclasses.replace(job, weights={"north": 1.0, "south": 1.0}), undisturbed)


def test_a_job_that_cannot_run_starts_nothing(job: TrainJob, tmp_path: Path) -> None:
    engine = dataclasses.replace(OPTIMISATION, attention="transformer-engine")
    wrong = [
        (dataclasses.replace(job, layout=Layout(tensor=3)), "model.heads: found 4"),
        (dataclasses.replace(job, model=dataclasses.replace(MODEL, vocabulary_size=301)), "expected 300, the size"),
        (dataclasses.replace(job, tokens=str(tmp_path / "absent")), "no token set here"),
        (dataclasses.replace(job, optimisation=engine), r"^optimisation\.attention: found transformer-engine, but the"),
    ]
    for one, words in wrong:
        with pytest.raises(UserError, match=words):
            launch.train(one, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_seed_by_itself_is_the_seed_of_the_run(job: TrainJob, undisturbed: Path, tmp_path: Path) -> None:
    path = launch.seed_checkpoint(job, tmp_path)
    for file in path.glob("*.distcp"):
        assert file.read_bytes() == (undisturbed / path.name / file.name).read_bytes()
    assert launch.seed_checkpoint(job, tmp_path) == path
    with pytest.raises(UserError, match="seed: this checkpoint was trained with 0, the job says 4"):
        launch.seed_checkpoint(dataclasses.replace(job, seed=4), tmp_path)


def test_the_launcher_loads_no_torch() -> None:
    code = "import sys, tilth.train.launch, tilth.eval.bits_per_byte; print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": launch.OURS}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert not {"torch", "megatron", "sentencepiece", "tokenizers"} & set(done.stdout.split())


def test_the_workers_stay_quiet(undisturbed: Path) -> None:
    assert [path.read_text() for path in sorted(undisturbed.glob("worker-*.log"))] == ["", ""]
