"""The signals, sources and sizes of the documents that entered a stage of rules: one part at a time, without a text.

Parts are written in one order, so where no document left in between, a signal's rows stand beside the documents' own
without a look at ids. Where some left, ids are joined, which takes many times as long (benchmarks/whatif.py).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tilth.corpus.chain import Stored
from tilth.corpus.document import ID
from tilth.corpus.errors import UserError
from tilth.corpus.store import DROPS, SIGNALS, part_name, read_arrow


@dataclass(frozen=True, eq=False)
class Entering:
    """Documents of one part. ``codes`` int64 are places in ``sources``, ``sizes`` int64 bytes of text.

    ``signals`` float64 are as they were asked for; ``ids`` are empty unless they were asked for.
    """

    sources: list[str]
    codes: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    signals: list[npt.NDArray[np.float64]]
    ids: pa.Array


def read_entering(stored: Stored, signals: Sequence[str], *, ids: bool = False) -> Iterator[Entering]:
    """Yield what entered a stage, part by part. Raises ``UserError`` where a signal was not measured before it."""
    for part in range(stored.parts):
        columns = ["source", "bytes", *(["id"] if ids else [])]
        found = _aligned(stored, part, columns, signals)
        if found is None:
            batches = list(stored.entering.read(part, needs=signals))
            found = pa.Table.from_batches(batches) if batches else None
        if found is None or not found.num_rows:
            continue
        codes = found.column("source").combine_chunks().dictionary_encode()
        yield Entering(
            codes.dictionary.to_pylist(),
            codes.indices.to_numpy().astype(np.int64),
            found.column("bytes").to_numpy(),
            [found.column(name).to_numpy().astype(np.float64, copy=False) for name in signals],
            found.column("id").combine_chunks() if ids else pa.array([], ID),
        )


def _aligned(stored: Stored, part: int, columns: Sequence[str], signals: Sequence[str]) -> pa.Table | None:
    """Return the columns of a part side by side, or None where documents left in between and ids must be joined."""
    lineage, name = stored.entering, part_name(part)
    if any((Path(folder) / DROPS / name).is_file() for folder in lineage.dropped):
        return None
    by_folder: dict[str, list[str]] = {}
    for signal in signals:
        if signal not in lineage.signals:
            known = ", ".join(sorted(lineage.signals)) or "none"
            raise UserError(f"signal '{signal}' was not measured before {stored.manifest.name} (measured: {known})")
        by_folder.setdefault(lineage.signals[signal], []).append(signal)
    table = pa.Table.from_batches(list(read_arrow(Path(lineage.text) / name, columns)))
    for folder, names in by_folder.items():
        batches = list(read_arrow(Path(folder) / SIGNALS / name, names, missing_is_empty=True))
        measured = pa.Table.from_batches(batches) if batches else None
        if measured is None or measured.num_rows != table.num_rows:
            return None
        for column in names:
            table = table.append_column(column, measured.column(column))
    return table
