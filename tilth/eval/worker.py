"""One process of an evaluation: ``python -m tilth.eval.worker JOB.json``, started by ``tilth.eval.bits_per_byte``.

Every process is a world of its own with the whole model and computes every n-th batch, on one thread: sums of floats
depend on how many threads share them, and the result must not depend on the machine's cores.
"""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from tilth.eval.windows import cut_batches, cut_windows, fill_batch, scored_mask
from tilth.train.checkpoint import Checkpoint, read_checkpoint
from tilth.train.job import parse
from tilth.train.model import ModelConfig
from tilth.train.worker import run

# Logits held at once: 2**25 floats are 134 MB, and the loss needs about three times that.
LOGITS = 2**25
MOST_TOKENS = 8192


def evaluate_share(path: Path) -> None:
    """Compute this process's share of the windows of the job in ``path`` and write their nats beside it."""
    import torch

    torch.set_num_threads(1)
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    job = orjson.loads(path.read_bytes())
    with pa.memory_map(str(path.parent / job["documents"])) as source:
        column = pa.ipc.open_file(source).read_all().column("tokens").combine_chunks()
        tokens, offsets = column.values.to_numpy(), column.offsets.to_numpy()
        with (path.parent / f"progress-{rank}").open("ab", buffering=0) as progress:
            for number, checkpoint in enumerate(job["checkpoints"]):
                found = read_checkpoint(Path(checkpoint))
                scores = score_windows(found, tokens, offsets, job["separator"], rank, world, progress)
                _write(path.parent / f"nats-{number}-{rank}.arrow", scores)


def score_windows(
    checkpoint: Checkpoint,
    tokens: np.ndarray,
    offsets: np.ndarray,
    separator: int,
    rank: int,
    world: int,
    progress: Any,
) -> pa.Table:
    """Return window and nats (float64: of its scored tokens) of every ``world``-th batch, beginning with ``rank``."""
    import torch

    from tilth.train.gpt import build_gpt
    from tilth.train.layout import Layout, alone
    from tilth.train.state import load_state

    model: ModelConfig = parse(ModelConfig, checkpoint.model)
    windows = cut_windows(np.diff(offsets), model.sequence_length)
    most = min(MOST_TOKENS, max(LOGITS // model.padded_vocabulary_size, 1))
    found: list[tuple[np.ndarray, np.ndarray]] = []
    with alone() as device:
        gpt = build_gpt(model, Layout()).to(device)
        load_state(checkpoint.path, gpt, None)
        gpt.eval()
        for rows in list(cut_batches(windows, most))[rank::world]:
            filled = torch.from_numpy(fill_batch(windows, rows, tokens, offsets, separator)).to(device)
            inputs, labels = filled[:, :-1].contiguous(), filled[:, 1:].contiguous()
            positions = torch.arange(inputs.shape[1], device=device).expand_as(inputs)
            counts = torch.from_numpy(scored_mask(windows, rows)).to(device)
            with torch.no_grad():
                losses = gpt(inputs, positions, None, labels=labels).double()
            found.append((rows, torch.where(counts, losses, 0.0).sum(dim=1).cpu().numpy()))
            progress.write(b"%d\n" % int(windows.scored[rows].sum()))
    empty = [(np.zeros(0, np.int64), np.zeros(0))]
    indices, nats = (np.concatenate(part) for part in zip(*(empty + found), strict=True))
    return pa.table({"window": indices, "nats": nats})


def _write(path: Path, table: pa.Table) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def main() -> None:
    """Run the share of the job file that the command line names."""
    path = Path(sys.argv[1])
    run(lambda: evaluate_share(path))


if __name__ == "__main__":
    main()
