"""A full disk ends a run with one line, and the same command goes on once there is room."""

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB of its own; the machine's own disk is never filled."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a small tmpfs")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_one_line_and_the_run_goes_on_when_there_is_room(tmp_path: Path, small_disk: Path) -> None:
    chance = random.Random(1)
    with (tmp_path / "data.jsonl").open("w") as stream:
        for _ in range(6000):
            stream.write(json.dumps({"text": chance.randbytes(400).hex()}) + "\n")
    (tmp_path / "recipe.yaml").write_text(
        "name: case\npart_size: 500 KB\nsources: [{name: a, path: data.jsonl}]\nstages: [{use: deduplicate}]\n"
    )
    command = [sys.executable, "-m", "tilth.cli", "run", str(tmp_path / "recipe.yaml"), "--until", "deduplicate",
               "--runs", str(small_disk / "runs"), "--json"]  # fmt: skip
    full = subprocess.run(command, capture_output=True, text=True, check=False)
    assert full.returncode == 1
    assert "the disk is full" in full.stderr and full.stderr.count("\n") == 1, full.stderr
    finished = {path: path.stat().st_mtime_ns for path in small_disk.rglob("part-*.arrow")}
    assert finished
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["stages"][-1]["documents_out"] == 6000
    assert finished == {path: path.stat().st_mtime_ns for path in finished}


def test_a_disk_that_fills_while_a_scorer_is_saved_is_no_damaged_model(tmp_path: Path, small_disk: Path) -> None:
    for name, words in (("law", "the council shall amend"), ("web", "click to win offers")):
        lines = [json.dumps({"text": f"{words} {number}"}) + "\n" for number in range(40)]
        (tmp_path / f"{name}.jsonl").write_text("".join(lines))
    (tmp_path / "recipe.yaml").write_text(
        "name: case\nsources: [{name: law, path: law.jsonl}, {name: web, path: web.jsonl}]\n"
        "stages: [{use: score, train: {positive: [law], negative: [web], dimension: 4}}]\n"  # a model of 3.2 MB
    )
    command = [sys.executable, "-m", "tilth.cli", "run", str(tmp_path / "recipe.yaml"), "--until", "quality",
               "--runs", str(small_disk / "runs"), "--json"]  # fmt: skip
    full = subprocess.run(command, capture_output=True, text=True, check=False)
    assert full.returncode == 1
    assert "the disk is full" in full.stderr and full.stderr.count("\n") == 1, full.stderr
    assert not list(small_disk.rglob("*model.bin*"))
