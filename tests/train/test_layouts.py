"""Every layout is the same run: same losses from one seed checkpoint, and from each other's checkpoints."""

import fcntl
import os
import sys
from pathlib import Path

import orjson
import pytest

from tilth.train import checkpoint
from tilth.train.launch import run_workers

pytest.importorskip("megatron.core")
pytestmark = pytest.mark.slow

WORKER = Path(__file__).with_name("layouts_worker.py")
sys.path.insert(0, str(WORKER.parent))
from layouts_worker import FRESH, MOVED  # noqa: E402


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which every layout was trained: once, even where several processes share the tests."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    base = tmp_path_factory.getbasetemp()
    folder = base.parent / f"layouts-{run}" if run else base / "layouts"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            run_workers([sys.executable, "-W", "ignore", str(WORKER), str(folder)], 4, folder)
            (folder / "done").touch()
    return folder


def records(folder: Path) -> list[dict[str, float]]:
    return [orjson.loads(line) for line in (folder / "losses.jsonl").read_bytes().splitlines()]


def adam_step(folder: Path) -> int:
    """The largest count of any parameter's steps, as the last checkpoint has it."""
    import torch

    return int(torch.load(checkpoint.checkpoints(folder)[-1] / "common.pt", weights_only=True)["adam_step"])


@pytest.mark.parametrize(
    ("model", "layout"),
    [(model, layout) for model, (_, layouts) in FRESH.items() for layout in layouts if layout != "TP1"],
)
def test_every_layout_has_the_losses_of_one_process(trained: Path, model: str, layout: str) -> None:
    alone, found = records(trained / model / "TP1"), records(trained / model / layout)
    assert abs(found[0]["loss"] - alone[0]["loss"]) <= 1e-5
    assert [row["loss"] for row in found] == pytest.approx([row["loss"] for row in alone], abs=1e-4)
    assert [row["grad_norm"] for row in found] == pytest.approx([row["grad_norm"] for row in alone], rel=1e-3)
    if model != "bert":  # which guesses other tokens every time
        assert alone[2]["loss"] < alone[0]["loss"]


def test_virtual_stages_with_default_messages_go_wrong_and_ours_do_not(trained: Path) -> None:
    alone = records(trained / "llama" / "TP1")
    naive, ours = records(trained / "naive"), records(trained / "llama" / "PP2xVP2")
    assert naive[0]["grad_norm"] != pytest.approx(alone[0]["grad_norm"], rel=0.1)  # and no word of it
    assert ours[0]["grad_norm"] == pytest.approx(alone[0]["grad_norm"], rel=1e-5)


@pytest.mark.parametrize(
    ("model", "first", "second"), [(model, *pair) for model, pairs in MOVED.items() for pair in pairs]
)
def test_a_checkpoint_of_any_layout_goes_on_in_any_other(trained: Path, model: str, first: str, second: str) -> None:
    folder = trained / f"moved {model}"
    alone, found = records(folder / "TP1-TP1"), records(folder / f"{first}-{second}")
    assert [row["step"] for row in found] == [4, 5, 6]
    assert adam_step(folder / f"{first}-{second}") == 6
    assert [row["loss"] for row in found] == pytest.approx([row["loss"] for row in alone], abs=1e-4)
