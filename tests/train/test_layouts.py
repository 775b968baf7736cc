"""Every layout is the same run: same losses from one seed checkpoint, and from each other's checkpoints."""

import sys
from itertools import product
from pathlib import Path

import orjson
import pytest

from tilth.train.launch import run_workers

pytest.importorskip("megatron.core")
pytestmark = pytest.mark.slow

WORKER = Path(__file__).with_name("layouts_worker.py")
MOVED = ("TP1", "TP2", "PP2", "DP2", "TP2xPP2")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("layouts")
    run_workers([sys.executable, "-W", "ignore", str(WORKER), str(folder)], 4, folder)
    return folder


def records(folder: Path) -> list[dict[str, float]]:
    return [orjson.loads(line) for line in (folder / "losses.jsonl").read_bytes().splitlines()]


@pytest.mark.parametrize(
    ("model", "layout"),
    [
        *(("llama", layout) for layout in ("TP2", "PP2", "DP2", "TP2xPP2", "PP2xDP2", "SP2")),
        *(("gpt2", layout) for layout in ("TP2", "PP2", "SP2xPP2")),
    ],
)
def test_every_layout_has_the_losses_of_one_process(trained: Path, model: str, layout: str) -> None:
    alone, found = records(trained / model / "TP1"), records(trained / model / layout)
    assert abs(found[0]["loss"] - alone[0]["loss"]) <= 1e-5
    assert [row["loss"] for row in found] == pytest.approx([row["loss"] for row in alone], abs=1e-4)
    assert [row["grad_norm"] for row in found] == pytest.approx([row["grad_norm"] for row in alone], rel=1e-3)
    assert alone[2]["loss"] < alone[0]["loss"]


@pytest.mark.parametrize(("first", "second"), product(MOVED, MOVED))
def test_a_checkpoint_of_any_layout_goes_on_in_any_other(trained: Path, first: str, second: str) -> None:
    alone, found = records(trained / "moved" / "TP1-TP1"), records(trained / "moved" / f"{first}-{second}")
    assert [row["step"] for row in found] == [4, 5, 6]
    assert [row["loss"] for row in found] == pytest.approx([row["loss"] for row in alone], abs=1e-4)
