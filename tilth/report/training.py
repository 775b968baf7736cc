"""What a model was trained on and how it went: the token shards' manifest and the log of the steps.

A log of a million steps is drawn as 600 means of neighbouring steps: a figure has no more points across on any screen,
and a mean shows what single steps hide. A skipped step's loss may be no number, which the log writes as null.
"""

import math
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
    records = list(read_lines(path))
    columns = {name: [_number(record, name, path) for record in records] for name in COLUMNS}
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
        first_loss=next((value for value in columns["loss"] if math.isfinite(value)), math.nan),
        last_loss=float(loss[-1]),
        steps_a_point=width,
        at_tokens=tuple(tokens),
        loss=tuple(loss),
        learning_rate=tuple(rate),
        tokens_per_second=tuple(speed),
        held_out=tuple((r["tokens"], r["held_out_loss"]) for r in records if r.get("held_out_loss") is not None),
        skipped=sum("skipped" in record for record in records),
    )


def _number(record: dict[str, Any], name: str, path: Path) -> float:
    found = field_of(record, name, path)
    return math.nan if found is None else float(found)


def _means(values: Sequence[float], width: int) -> list[float]:
    """Return the means of the numbers among ``width`` neighbours; NaN where there is none. The last may be of fewer."""
    starts = np.arange(0, len(values), width)
    given = np.asarray(values, float)
    known = np.isfinite(given)
    counts = np.add.reduceat(known.astype(int), starts)
    sums = np.add.reduceat(np.where(known, given, 0.0), starts)
    return list(np.where(counts > 0, sums / np.maximum(counts, 1), np.nan).tolist())
