"""One process of an evaluation: ``python -m tilth.eval.worker JOB.json``, started by ``tilth.eval.bits_per_byte``.

Every process is a world of its own with the whole model and computes every n-th batch, on one thread: sums of floats
depend on how many threads share them, and the result must not depend on the machine's cores.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pyarrow as pa

from tilth.eval.windows import Windows, cut_batches, cut_windows, fill_batch, scored_mask, window_length
from tilth.train.checkpoint import Checkpoint, read_checkpoint
from tilth.train.job import parse
from tilth.train.model import ModelConfig
from tilth.train.worker import run

if TYPE_CHECKING:
    import torch

# Readings of a window by a BERT: a seventh hidden is about the 15 % that it was trained with.
ROUNDS = 7

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
        texts = Texts(column.values.to_numpy(), column.offsets.to_numpy(), job["separator"], job["mask"])
        with (path.parent / f"progress-{rank}").open("ab", buffering=0) as progress:
            for number, checkpoint in enumerate(job["checkpoints"]):
                scores = score_windows(read_checkpoint(Path(checkpoint)), texts, rank, world, progress)
                _write(path.parent / f"nats-{number}-{rank}.arrow", scores)


@dataclass(frozen=True)
class Texts:
    """Tokens of documents, and what stands before and in place of them."""

    tokens: np.ndarray
    offsets: np.ndarray  # int64 (documents + 1,)
    separator: int
    mask: int  # -1: none, which only a BERT would miss


def score_windows(checkpoint: Checkpoint, texts: Texts, rank: int, world: int, progress: Any) -> pa.Table:
    """Return window, nats (float64: of its scored tokens) and correct guesses of every ``world``-th batch.

    The first one is that of number ``rank``.
    """
    import torch

    from tilth.train.build import build_model
    from tilth.train.layout import Layout, alone
    from tilth.train.state import load_state

    config: ModelConfig = parse(ModelConfig, checkpoint.model)
    windows = cut_windows(np.diff(texts.offsets), window_length(checkpoint.model))
    most = min(MOST_TOKENS, max(LOGITS // config.padded_vocabulary_size, 1))
    guess = guess_hidden if config.kind == "bert" else guess_next
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    with alone() as device, torch.no_grad():
        model = build_model(config, Layout()).to(device)
        load_state(checkpoint.path, [model], None)
        model.eval()
        for rows in list(cut_batches(windows, most))[rank::world]:
            nats, right = guess(model, config, windows, rows, texts, device)
            found.append((rows, nats.sum(dim=1).cpu().numpy(), right.sum(dim=1).cpu().numpy()))
            progress.write(b"%d\n" % int(windows.scored[rows].sum()))
    empty = [(np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.int64))]
    columns = (np.concatenate(part) for part in zip(*(empty + found), strict=True))
    return pa.table(dict(zip(("window", "nats", "correct"), columns, strict=True)))


def guess_next(
    model: Any, config: ModelConfig, windows: Windows, rows: np.ndarray, texts: Texts, device: "torch.device"
) -> tuple["torch.Tensor", "torch.Tensor"]:
    """Return nats (float64) and correct guesses (bool), (windows, longest), of the tokens that count."""
    import torch

    filled = torch.from_numpy(fill_batch(windows, rows, texts.tokens, texts.offsets, texts.separator)).to(device)
    inputs, labels = filled[:, :-1].contiguous(), filled[:, 1:].contiguous()
    positions = torch.arange(inputs.shape[1], device=device).expand_as(inputs)
    counts = torch.from_numpy(scored_mask(windows, rows)).to(device)
    return _judged(model(inputs, positions, None), labels, counts, config)


def guess_hidden(
    model: Any, config: ModelConfig, windows: Windows, rows: np.ndarray, texts: Texts, device: "torch.device"
) -> tuple["torch.Tensor", "torch.Tensor"]:
    """Return the same for a model that sees both sides: every token is hidden in one of ``ROUNDS`` readings."""
    import torch

    filled = torch.from_numpy(fill_batch(windows, rows, texts.tokens, texts.offsets, texts.separator)).to(device)
    positions = torch.arange(filled.shape[1], device=device).expand_as(filled)
    counts = torch.from_numpy(scored_mask(windows, rows)).to(device)
    rounds = torch.from_numpy(hidden_rounds(windows, rows)).to(device)
    length = torch.from_numpy(windows.length[rows]).to(device)
    padding = (positions > length[:, None])[:, None, None, :]
    nats = torch.zeros(counts.shape, dtype=torch.float64, device=device)
    right = torch.zeros_like(counts)
    for number in range(ROUNDS):
        hidden = counts & (rounds == number)
        inputs = filled.clone()
        inputs[:, 1:][hidden] = texts.mask
        logits, _ = model(inputs, positions, padding)
        losses, guessed = _judged(logits[:, 1:], filled[:, 1:], hidden, config)
        nats, right = nats + losses, right | guessed
    return nats, right


def hidden_rounds(windows: Windows, rows: np.ndarray) -> np.ndarray:
    """Return in which reading a token is hidden: int64 (windows, longest), from 0 to ``ROUNDS`` - 1.

    It depends on the token's place in its document alone, so it is the same however windows go together.
    """
    places = windows.start[rows, None] + np.arange(int(windows.length[rows].max()))
    # Knuth's multiplicative hash: neighbours fall apart as if by chance
    rounds: np.ndarray = ((places * 2_654_435_761) % 2**32) * ROUNDS >> 32
    return rounds


def _judged(
    logits: "torch.Tensor", labels: "torch.Tensor", counts: "torch.Tensor", config: ModelConfig
) -> tuple["torch.Tensor", "torch.Tensor"]:
    """Return nats and correct guesses where ``counts``; elsewhere nothing. Logits: (windows, longest, vocabulary)."""
    import torch

    known = logits[..., : config.vocabulary_size]
    losses = torch.nn.functional.cross_entropy(known.flatten(0, 1), labels.flatten(), reduction="none")
    nats = losses.view(labels.shape).double()
    return torch.where(counts, nats, 0.0), (known.argmax(dim=-1) == labels) & counts


def _write(path: Path, table: pa.Table) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def main() -> None:
    """Run the share of the job file that the command line names."""
    path = Path(sys.argv[1])
    run(lambda: evaluate_share(path))


if __name__ == "__main__":
    main()
