"""Bits per byte by checkpoint and source, added up from the table of documents that the evaluation leaves."""

import math
from collections import defaultdict
from pathlib import Path

import pyarrow as pa

from tilth.corpus.errors import UserError
from tilth.corpus.store import read_arrow
from tilth.report.model import Amount, Evaluation, SourceBits

FILE = "bits_per_byte.arrow"  # one row a document and checkpoint: tilth.eval.bits_per_byte.BITS
ALL = "all sources"


def evaluation(folder: Path) -> Evaluation:
    """Return the evaluation in a folder, sources by name. Raises ``UserError`` where it is absent or empty."""
    path = folder / FILE
    checkpoints: list[str] = []
    amounts: dict[tuple[str, str], Amount] = defaultdict(Amount)
    bits: dict[tuple[str, str], float] = defaultdict(float)
    for batch in read_arrow(path, ["checkpoint", "source", "bytes", "bits"]):
        table = pa.Table.from_batches([batch]).group_by(["checkpoint", "source"], use_threads=False)
        for row in table.aggregate([("bytes", "count"), ("bytes", "sum"), ("bits", "sum")]).to_pylist():
            key = row["checkpoint"], row["source"]
            if row["checkpoint"] not in checkpoints:
                checkpoints.append(row["checkpoint"])
            amounts[key] += Amount(row["bytes_count"], row["bytes_sum"])
            bits[key] += row["bits_sum"]
    if not checkpoints:
        raise UserError(f"{path}: holds no document; run the evaluation again")
    first = checkpoints[0]
    sources = sorted({source for _, source in amounts})
    return Evaluation(
        tuple(checkpoints),
        tuple(
            SourceBits(
                source,
                amounts[first, source],
                {name: _ratio(bits[name, source], amounts[name, source].bytes) for name in checkpoints},
            )
            for source in sources
        ),
        SourceBits(
            ALL,
            sum((amounts[first, source] for source in sources), Amount()),
            {
                name: _ratio(
                    math.fsum(bits[name, source] for source in sources),
                    sum(amounts[name, source].bytes for source in sources),
                )
                for name in checkpoints
            },
        ),
    )


def _ratio(bits: float, size: int) -> float:
    return bits / size if size else math.nan
