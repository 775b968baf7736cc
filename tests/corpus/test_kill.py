"""``kill -9`` at any moment, then the same command again: the same bytes as an undisturbed run, and nobody left behind.

A killed run is a process of its own, with workers of its own, in a session of its own: whoever is still in that
session after the kill is an orphan. Kills fall at moments drawn from the measured time of the undisturbed run,
several in a row on one folder, so that they meet a run that goes on where another was killed, too.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
from example_chains import bytes_below, write_corpus

import tilth
from tilth.corpus.chain import locked

RUNS = 4  # folders, each with
KILLS = 5  # in a row before it may finish
PATIENCE = 30  # seconds for orphans to end and for a run to start, on a busy machine


class Attempt:
    """A run that was started and has said that it is at work."""

    def __init__(self, root: Path, base: Path) -> None:
        home = [str(Path(__file__).parent), str(Path(tilth.__file__).parents[1])]
        # a short name: the pool's socket lies below it, and a socket's path has 107 bytes at most
        self.scratch = tempfile.TemporaryDirectory(prefix="kill-")
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("killed_run.py")), str(root), str(base)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(home), "TMPDIR": self.scratch.name},
        )
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        assert said == "at work\n", self.process.communicate()[1]

    def finish(self) -> None:
        """Wait for the end, which must be a good one."""
        _, errors = self.process.communicate()
        assert self.process.returncode == 0, errors

    def kill(self, after: float) -> bool:
        """Kill the run, and no other process, ``after`` seconds; tell whether it was still at work."""
        try:
            self.process.wait(after)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()  # for the run alone: an orphan would hold its pipes open
        return self.process.returncode == -signal.SIGKILL

    def orphans(self) -> list[str]:
        """Return the processes of the run's session that are alive."""
        found = []
        for process in psutil.process_iter(["status", "cmdline"]):
            try:
                if os.getsid(process.pid) == self.process.pid and process.info["status"] != psutil.STATUS_ZOMBIE:
                    found.append(f"{process.pid} {process.info['cmdline']}")
            except ProcessLookupError:
                continue
        return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes], float]:
    """The input, the files of an undisturbed run, and the seconds it was at work."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write_corpus(folder / "in", 150)
    attempt = Attempt(folder / "run", folder / "in")
    start = time.monotonic()
    attempt.finish()
    seconds = time.monotonic() - start
    return folder / "in", dict(bytes_below(folder / "run/stages")), seconds


def test_the_undisturbed_run_has_many_parts(undisturbed: tuple[Path, dict[str, bytes], float]) -> None:
    _, files, _ = undisturbed
    assert len([name for name in files if name.startswith("00-read") and "receipts" in name]) >= 30
    assert len([name for name in files if name.endswith("_manifest.json")]) == 7
    assert not [name for name in files if "spill" in name or ".tmp" in name or "times" in name]


@pytest.mark.parametrize("seed", range(RUNS))
def test_a_killed_run_ends_with_the_same_bytes_and_leaves_no_orphan(
    tmp_path: Path, undisturbed: tuple[Path, dict[str, bytes], float], seed: int
) -> None:
    base, expected, seconds = undisturbed
    chance = random.Random(seed)
    root = tmp_path / "run"
    attempts = []
    for _ in range(KILLS):
        attempts.append(Attempt(root, base))
        attempts[-1].kill(chance.uniform(0, seconds / 4))
        with locked(root):  # the lock is free at once
            pass
    attempts.append(Attempt(root, base))
    attempts[-1].finish()
    assert dict(bytes_below(root / "stages")) == expected
    waited = time.monotonic() + PATIENCE
    while (orphans := [orphan for attempt in attempts for orphan in attempt.orphans()]) and time.monotonic() < waited:
        time.sleep(0.1)
    assert orphans == []


def test_a_run_in_a_folder_where_another_is_at_work_is_refused(
    tmp_path: Path, undisturbed: tuple[Path, dict[str, bytes], float]
) -> None:
    base, _, _ = undisturbed
    first = Attempt(tmp_path / "run", base)
    with pytest.raises(Exception, match="another run is at work in this folder"), locked(tmp_path / "run"):
        pass
    assert first.kill(0)
    with locked(tmp_path / "run"):
        pass
