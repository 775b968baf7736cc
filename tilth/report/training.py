"""What a model was trained on and how it went: the token shards' manifest and the log of the steps.

A log of a million steps is drawn as 600 means of neighbouring steps: a figure has no more points across on any screen,
and a mean shows what single steps hide.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tilth.report.model import Amount, TokenCount, TokenSummary, TrainingCurve
from tilth.report.recorded import field_of, read_lines, read_object

POINTS = 600
COLUMNS = ("tokens", "loss", "lr", "seconds", "tokens_per_second")


def token_summary(folder: Path, reading: Mapping[str, Mapping[str, Any]]) -> TokenSummary:
    """Return what every source brings to training, most tokens first; only the manifest is read.

    ``reading``: what ``run.json`` says of how often training read each source; empty where nothing was trained.
    """
    path = folder / "_manifest.json"
    data = read_object(path)
    sources = [
        TokenCount(
            name,
            Amount(int(count["documents"]), int(count["bytes"])),
            int(count["tokens"]),
            float(reading[name]["epochs"]) if name in reading else None,
        )
        for name, count in field_of(data, "sources", path).items()
    ]
    sources.sort(key=lambda count: (-count.tokens, count.source))
    return TokenSummary(
        int(field_of(data, "vocabulary_size", path)), str(field_of(data, "tokenizer", path)), tuple(sources)
    )


def training_curve(path: Path) -> TrainingCurve | None:
    """Return the curve in a ``log.jsonl``, or None where no step was taken."""
    columns = _columns(path)
    steps = len(columns["loss"])
    if steps == 0:
        return None
    width = max(1, -(-steps // POINTS))
    tokens, loss, rate, _, speed = (_means(columns[name], width) for name in COLUMNS)
    return TrainingCurve(
        steps=steps,
        tokens=int(columns["tokens"][-1]),
        seconds=float(np.sum(columns["seconds"])),
        median_speed=float(np.median(columns["tokens_per_second"])),
        first_loss=float(columns["loss"][0]),
        last_loss=float(loss[-1]),
        steps_a_point=width,
        at_tokens=tuple(tokens),
        loss=tuple(loss),
        learning_rate=tuple(rate),
        tokens_per_second=tuple(speed),
    )


def _columns(path: Path) -> Mapping[str, Sequence[float]]:
    columns: dict[str, list[float]] = {name: [] for name in COLUMNS}
    for record in read_lines(path):
        for name, values in columns.items():
            values.append(_number(record, name, path))
    return columns


def _number(record: dict[str, Any], name: str, path: Path) -> float:
    return float(field_of(record, name, path))


def _means(values: Sequence[float], width: int) -> list[float]:
    """Return the means of ``width`` neighbours; the last mean may be of fewer."""
    starts = np.arange(0, len(values), width)
    sums = np.add.reduceat(np.asarray(values, float), starts)
    return list((sums / np.diff(np.append(starts, len(values)))).tolist())
