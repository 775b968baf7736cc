"""Ids that several records carry: counted, reported, and told apart by the records' places.

A corpus of many crawls repeats ids, and a run that stops at the first helps nobody. So the parts are read as if every
id were unique; then the driver looks for ids that occur twice (each turn a share of the ids, as many turns as the
memory allowed asks for), and only the parts that hold such an id are read again, with the set of them. Every record
with a repeated id, the first one too, is then known by id and place, so the outcome depends on no order: not of files,
workers or engines.

The set is stored before anything is read again. Whoever was killed in between finds it, and a part that was already
mended is not taken for one whose ids were unique all along.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tilth.corpus.document import ID, halves
from tilth.corpus.store import ArrowWriter, Lineage, read_arrow

REPEATED = pa.schema(
    [
        pa.field("id", ID, nullable=False),  # document_id(source, the records' own id)
        pa.field("source", pa.string(), nullable=False),
        pa.field("records", pa.int64(), nullable=False),  # how many carry it
    ]
)
FILE = "repeated.arrow"
SORT_BYTES = 48  # of memory an id: twice itself, and its first half in order


def read_repeated(folder: Path) -> pa.Table:
    """Return the repeated ids of a reading stage (schema REPEATED): no rows where none were found so far."""
    return pa.Table.from_batches(read_arrow(folder / FILE, missing_is_empty=True), schema=REPEATED)


def write_repeated(folder: Path, rows: pa.Table) -> None:
    """Store repeated ids, sorted, so that they are there whole or not at all."""
    with ArrowWriter(folder / FILE, REPEATED) as writer:
        writer.write(rows.sort_by([("id", "ascending")]).combine_chunks())
        writer.commit()


def find_repeated(folder: Path, parts: int, memory: int = 2 << 30) -> pa.Table:
    """Return the ids that more than one document of a reading stage carries (schema REPEATED).

    Half of ``memory`` bytes are used, but for the ids that are found.
    """
    lineage = Lineage(str(folder))
    documents = sum(batch.num_rows for part in range(parts) for batch in lineage.read(part))
    turns = max(1, -(-documents * SORT_BYTES * 2 // memory))
    several = [_several(lineage, parts, turn, turns) for turn in range(turns)]
    ids, records = (np.concatenate(column) for column in zip(*several, strict=True))
    if not len(ids):
        return REPEATED.empty_table()
    found = pa.array([one.tobytes() for one in ids], ID)
    sources: list[str | None] = [None] * len(found)
    for part in range(parts):
        for batch in lineage.read(part):
            places = pc.index_in(batch.column("id"), value_set=found)
            there = batch.column("source").filter(places.is_valid()).to_pylist()
            for place, source in zip(places.drop_null().to_pylist(), there, strict=True):
                sources[place] = source
    return pa.Table.from_arrays([found, pa.array(sources), pa.array(records)], schema=REPEATED)


def _several(lineage: Lineage, parts: int, turn: int, turns: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the repeated ids of one turn (uint64 of shape (ids, 2)) and how many records carry each."""
    columns = [np.zeros((0, 2), np.uint64)]
    for part in range(parts):
        for batch in lineage.read(part):
            ids = halves(batch.column("id"))
            columns.append(ids[ids[:, 0] % np.uint64(turns) == turn])
    ids = np.concatenate(columns)
    # two documents of a billion share their first eight bytes by chance; nearly all are told apart by them
    same = np.sort(ids[:, 0])
    same = np.unique(same[1:][same[1:] == same[:-1]])
    ids = ids[np.isin(ids[:, 0], same)]
    found, records = np.unique(ids, axis=0, return_counts=True)
    return found[records > 1], records[records > 1]


def parts_with(folder: Path, parts: int, ids: pa.Array) -> list[int]:
    """Return the numbers of the parts that hold a document with one of ``ids``."""
    lineage = Lineage(str(folder))
    return [
        part
        for part in range(parts)
        if any(pc.any(pc.is_in(batch.column("id"), value_set=ids)).as_py() for batch in lineage.read(part))
    ]


def repeated_by_source(rows: pa.Table) -> dict[str, dict[str, int]]:
    """Return, for every source with repeated ids, how many ids repeat and how many records carry them."""
    grouped = rows.group_by("source", use_threads=False).aggregate([("records", "count"), ("records", "sum")])
    return {
        row["source"]: {"ids": row["records_count"], "records": row["records_sum"]}
        for row in sorted(grouped.to_pylist(), key=lambda row: str(row["source"]))
    }


def ids_of(rows: pa.Table, source: str) -> frozenset[bytes]:
    """Return the repeated ids of one source."""
    return frozenset(rows.filter(pc.equal(rows.column("source"), source)).column("id").to_pylist())
