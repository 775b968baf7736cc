"""One of four processes that train small models in every layout, one layout after another, and write down the losses.

One start of Megatron serves all layouts: each forms its own group of the first 1, 2 or 4 processes.
"""

import dataclasses
import os
import shutil
import sys
from itertools import product
from pathlib import Path
from typing import Any

import orjson
from conftest import Progressions, made_up_vocabulary

from tilth.train import checkpoint
from tilth.train.job import TrainConfig, TrainJob
from tilth.train.layout import Layout, process_groups
from tilth.train.model import ModelConfig
from tilth.train.worker import run

LLAMA = ModelConfig(300, layers=4, hidden_size=32, heads=4, query_groups=2, sequence_length=32)
GPT2 = dataclasses.replace(
    LLAMA, position="learned", normalization="LayerNorm", activation="gelu", bias=True, tied_embeddings=False
)
BERT = dataclasses.replace(GPT2, kind="bert", tied_embeddings=True, sentence_order=True)
OPTIMISATION = TrainConfig(steps=3, batch_size=8, micro_batch_size=2, learning_rate=3e-3, checkpoint_every=3)

TP1, TP2, PP2, DP2 = Layout(), Layout(tensor=2), Layout(pipeline=2), Layout(data=2)
TP2_PP2, PP2_DP2, SP2 = Layout(2, 2), Layout(1, 2, 2), Layout(2, sequence_parallel=True)
SP2_PP2 = Layout(2, 2, sequence_parallel=True)
PP2_VP2, TP2_PP2_VP2 = Layout(pipeline=2, virtual=2), Layout(2, 2, virtual=2)
SHARED_DP2, SHARED_TP2_DP2 = Layout(data=2, distributed_optimizer=True), Layout(2, 1, 2, distributed_optimizer=True)

FRESH = {
    "llama": (
        LLAMA,
        {"TP1": TP1, "TP2": TP2, "PP2": PP2, "DP2": DP2, "TP2xPP2": TP2_PP2, "PP2xDP2": PP2_DP2, "SP2": SP2},
    ),
    "gpt2": (GPT2, {"TP1": TP1, "TP2": TP2, "PP2": PP2, "SP2xPP2": SP2_PP2}),
    "bert": (
        BERT,
        {"TP1": TP1, "TP2": TP2, "PP2": PP2, "DP2": DP2, "TP2xPP2": TP2_PP2, "SP2": SP2, "shared DP2": SHARED_DP2},
    ),
}
FRESH["llama"][1].update({"shared DP2": SHARED_DP2, "shared TP2xDP2": SHARED_TP2_DP2})
FRESH["llama"][1].update({"PP2xVP2": PP2_VP2, "TP2xPP2xVP2": TP2_PP2_VP2})
FRESH["bert"][1].update({"PP2xVP2": PP2_VP2})
# Three steps in the first layout, then three more in the second, from the first one's checkpoint.
MOVED = {
    "llama": [
        *product(("TP1", "TP2", "PP2", "DP2", "TP2xPP2"), repeat=2),
        ("shared DP2", "TP2xPP2"),
        ("TP2xPP2", "shared DP2"),
        ("shared DP2", "shared TP2xDP2"),
        ("PP2xVP2", "TP2"),
        ("TP2", "TP2xPP2xVP2"),
    ],
    "bert": [
        ("TP1", "TP1"),
        ("TP1", "TP2xPP2"),
        ("TP2xPP2", "DP2"),
        ("DP2", "SP2"),
        ("SP2", "PP2"),
        ("PP2", "shared DP2"),
        ("shared DP2", "TP2"),
    ],
}


def train_in(folder: Path, model: ModelConfig, layout: Layout, steps: int) -> None:
    from torch.distributed import FileStore

    from tilth.train.loop import train
    from tilth.train.objectives.choose import objective_of
    from tilth.train.samples import Material

    rank = int(os.environ["RANK"])
    if rank >= layout.processes:
        return
    job = TrainJob(model, dataclasses.replace(OPTIMISATION, steps=steps, schedule="constant"), "-", layout)
    samples = Progressions(model.vocabulary_size, model.sequence_length)
    material = Material(samples, objective_of(job, None, made_up_vocabulary(model.vocabulary_size)))
    store = FileStore(str(folder / f"store-{steps}"), layout.processes)
    records: list[dict[str, float]] = []
    with process_groups(layout, rank, store) as device:
        train(job, folder, material, device, records.append)
    if rank == 0:
        with (folder / "losses.jsonl").open("ab") as log:
            log.writelines(orjson.dumps(record) + b"\n" for record in records)


def wait_for_all(folder: Path) -> None:
    """Meet the other processes."""
    from datetime import timedelta

    from torch.distributed import FileStore

    store = FileStore(str(folder / "meeting"), int(os.environ["WORLD_SIZE"]))
    number = store.add("round-of-" + os.environ["RANK"], 1)
    store.set(f"{number}-{os.environ['RANK']}", "here")
    store.wait([f"{number}-{rank}" for rank in range(int(os.environ["WORLD_SIZE"]))], timedelta(seconds=120))


def prepare(folder: Path, begin: Path) -> None:
    """Make ``folder`` with the checkpoint ``begin`` in it; the first process does it for all."""
    if os.environ["RANK"] == "0":
        folder.mkdir(parents=True)
        shutil.copytree(begin, folder / begin.name)


def train_naively(folder: Path) -> None:
    """Take the steps of virtual stages with the messages that Megatron's configuration has by default."""
    from unittest.mock import patch

    from tilth.train import build

    ours = build.transformer_config

    def naive(*arguments: Any) -> Any:
        config = ours(*arguments)
        return dataclasses.replace(config, batch_p2p_comm=True, overlap_p2p_comm=False)

    with patch.object(build, "transformer_config", naive):
        train_in(folder, LLAMA, PP2_VP2, 3)


def train_everywhere(base: Path) -> None:
    from tilth.train.loop import write_seed

    for name, (model, layouts) in FRESH.items():
        if os.environ["RANK"] == "0":
            (base / name).mkdir()
            write_seed(TrainJob(model, OPTIMISATION, "-"), base / name)
        for layout in layouts:
            prepare(base / name / layout, base / name / "step-00000000")
        wait_for_all(base)
        for layout, degrees in layouts.items():
            train_in(base / name / layout, model, degrees, 3)
    prepare(base / "naive", base / "llama" / "step-00000000")
    wait_for_all(base)
    train_naively(base / "naive")
    for name, pairs in MOVED.items():
        for first, second in pairs:
            prepare(base / f"moved {name}" / f"{first}-{second}", checkpoint.checkpoints(base / name / first)[-1])
    wait_for_all(base)
    for name, pairs in MOVED.items():
        model, layouts = FRESH[name]
        for first, second in pairs:
            train_in(base / f"moved {name}" / f"{first}-{second}", model, layouts[second], 6)


if __name__ == "__main__":
    run(lambda: train_everywhere(Path(sys.argv[1])))
