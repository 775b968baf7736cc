"""A disk that fills up while a checkpoint is written: one line, and the earlier checkpoints are whole."""

import dataclasses
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tilth.corpus.errors import UserError
from tilth.train import checkpoint, launch
from tilth.train.job import TrainConfig, TrainJob
from tilth.train.layout import Layout
from tilth.train.model import ModelConfig

pytest.importorskip("megatron.core")
pytestmark = pytest.mark.slow


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"this user may not mount a file system: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_is_one_line_and_the_run_goes_on_when_there_is_room(token_folder: Path, small_disk: Path) -> None:
    model = ModelConfig(300, layers=2, hidden_size=64, heads=4, sequence_length=32)  # 0.5 MB, with its state 1.5 MB
    job = TrainJob(model, TrainConfig(steps=6, batch_size=4, checkpoint_every=3), str(token_folder), Layout())
    with pytest.raises(UserError, match=r"no space left on the device for a checkpoint; the earlier ones are whole"):
        launch.train(job, small_disk)
    found = checkpoint.latest(small_disk)
    assert found is not None
    assert found.step in (0, 3)
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    result = launch.train(dataclasses.replace(job), small_disk)
    assert result.steps == 6
    assert not list(small_disk.glob(".step-*"))
