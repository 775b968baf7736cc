"""Bits per byte by checkpoint and source, added up from the table of documents that the evaluation leaves."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from tilth.corpus.errors import UserError
from tilth.corpus.store import read_arrow
from tilth.report.model import Amount, Evaluation, SourceBits

FILE = "bits_per_byte.arrow"  # one row a document and checkpoint: tilth.eval.bits_per_byte.BITS
ALL = "all sources"
SUMMED = ("bytes", "tokens", "bits", "correct")


def evaluation(folder: Path) -> Evaluation:
    """Return the evaluation in a folder, sources by name. Raises ``UserError`` where it is absent or empty."""
    path = folder / FILE
    checkpoints: list[str] = []
    sums: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for batch in read_arrow(path, ["checkpoint", "source", *SUMMED]):
        table = pa.Table.from_batches([batch]).group_by(["checkpoint", "source"], use_threads=False)
        wanted = [("bytes", "count"), *((name, "sum") for name in SUMMED)]
        for row in table.aggregate(wanted).to_pylist():
            if row["checkpoint"] not in checkpoints:
                checkpoints.append(row["checkpoint"])
            found = sums[row["checkpoint"], row["source"]]
            found["documents"] += row["bytes_count"]
            for name in SUMMED:
                found[name] += row[f"{name}_sum"]
    if not checkpoints:
        raise UserError(f"{path}: holds no document; run the evaluation again")
    sources = sorted({source for _, source in sums})

    def row_of(name: str, parts: Sequence[str]) -> SourceBits:
        totals = {checkpoint: _together(sums[checkpoint, part] for part in parts) for checkpoint in checkpoints}
        first = totals[checkpoints[0]]
        return SourceBits(
            name,
            Amount(first["documents"], first["bytes"]),
            {checkpoint: _ratio(total["bits"], total["bytes"]) for checkpoint, total in totals.items()},
            {checkpoint: _ratio(total["correct"], total["tokens"]) for checkpoint, total in totals.items()},
        )

    return Evaluation(tuple(checkpoints), tuple(row_of(source, [source]) for source in sources), row_of(ALL, sources))


def _together(parts: Iterable[Mapping[str, float]]) -> dict[str, Any]:
    """Add up the sums of sources; bits exactly, so that their order does not matter."""
    parts = list(parts)
    whole = {name: sum(part[name] for part in parts) for name in ("documents", "bytes", "tokens", "correct")}
    return whole | {"bits": math.fsum(part["bits"] for part in parts)}


def _ratio(bits: float, size: int) -> float:
    return bits / size if size else math.nan
