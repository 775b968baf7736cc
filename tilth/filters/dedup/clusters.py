"""Who goes and for whom: stars around survivors, from the stored similarities, in one pass over a total order.

Transitive closure is what left 2 documents of the 859,092 of a source (marin #6854): A is like B, B like C, and Z goes
for A. Here documents are taken in the order of survivors. One goes if, and only if, its similarity with a document that
stays was measured and reaches the threshold; otherwise it stays, and may let others go. So every removal names a
survivor and the similarity with it, and no chain takes what is not like its end. Connected components are still
found: they are the clusters that are listed, and the size that tells a template from a duplicate.

This runs in one process, over the pairs that reach the threshold. Where these need more memory than is allowed, the run
stops and says how much.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tilth.corpus.chain import MEMORY, Stored
from tilth.corpus.document import ID
from tilth.corpus.errors import UserError
from tilth.corpus.store import temporary_name
from tilth.filters.dedup.survivor import Preference
from tilth.filters.kernel import kernel

PAIR_BYTES: Final = 300  # of memory a near pair: measured 240 where every document is in one
REMOVALS: Final = "removals.arrow"  # sorted by id, not compressed: every worker maps the same pages
MEMBERS: Final = "members.arrow"  # all documents of all clusters, the largest cluster first

Ids = npt.NDArray[np.bytes_]

_REMOVAL = pa.schema([("id", ID), ("survivor", ID), ("similarity", pa.float64())])
_MEMBER = pa.schema(
    [
        ("cluster", pa.int64()),  # 0 is the largest
        ("id", ID),
        ("source", pa.string()),
        ("bytes", pa.int64()),
        ("part", pa.int32()),
        ("survivor", ID),  # null: it stays
        ("similarity", pa.float64()),  # with the survivor
    ]
)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs that reach a threshold: ids as S16 (16 bytes), ``similarity`` float64, NaN where nothing was compared.

    ``candidates`` says how many pairs there were at any similarity.
    """

    document: Ids
    hub: Ids
    similarity: npt.NDArray[np.float64]
    candidates: int

    def __len__(self) -> int:
        return len(self.similarity)


def read_pairs(
    head: Stored, prefix: str, threshold: float = 0.0, *, compared: bool = True, memory: int = MEMORY
) -> Pairs:
    """Return the pairs of a stored comparison that reach a threshold, or all candidates where none was made.

    Raises ``UserError`` where they need more than ``memory`` bytes to be decided.
    """
    lists = [f"{prefix}.compared", f"{prefix}.similarity"] if compared else [f"{prefix}.hubs"]
    documents: list[np.ndarray] = [np.zeros(0, "S16")]
    hubs: list[np.ndarray] = [np.zeros(0, "S16")]
    similarities: list[np.ndarray] = [np.zeros(0)]
    candidates = near_pairs = 0
    for part in range(head.parts):
        for batch in head.lineage.read(part, needs=lists):
            column = batch.column(lists[0])
            document = as_bytes(batch.column("id").take(pc.list_parent_indices(column)))
            hub = as_bytes(pc.list_flatten(column))
            if compared:
                similarity = pc.list_flatten(batch.column(lists[1])).to_numpy(zero_copy_only=False)
                near = similarity >= threshold
                candidates += len(near)
            else:
                similarity = np.full(len(hub), np.nan)
                near = document != hub  # a hub names itself
                candidates += int(near.sum())
            documents.append(document[near])
            hubs.append(hub[near])
            similarities.append(similarity[near])
            near_pairs += int(near.sum())
            if near_pairs * PAIR_BYTES > memory:
                raise UserError(
                    f"{head.folder}: deciding over more than {near_pairs:,} near pairs needs more than "
                    f"{near_pairs * PAIR_BYTES / 1e9:,.1f} GB in one process; raise 'memory' in the recipe, or "
                    "remove exact duplicates first ('use: deduplicate')"
                )
    return Pairs(np.concatenate(documents), np.concatenate(hubs), np.concatenate(similarities), candidates)


@dataclass(frozen=True, eq=False)
class Stars:
    """The documents of ``pairs`` in the order of survivors, best first.

    ``survivor`` is the position of the document that one goes for, or its own (int64); ``cluster`` the position of the
    best document of its connected component (int64); ``similarity`` is that with the survivor, NaN for who stays.
    """

    survivor: npt.NDArray[np.int64]
    cluster: npt.NDArray[np.int64]
    similarity: npt.NDArray[np.float64]


def stars(documents: int, later: np.ndarray, earlier: np.ndarray, similarity: np.ndarray) -> Stars:
    """Decide from verified pairs of positions (int64) in the order of survivors, ``earlier`` < ``later``.

    A document that several survivors are like goes for the most similar one, then the best one.
    """
    place = np.lexsort((earlier, -np.nan_to_num(similarity, nan=-1.0), later))
    later, earlier, similarity = later[place], earlier[place], similarity[place]
    bounds = np.searchsorted(later, np.arange(documents + 1)).astype(np.int64)
    survivor, cluster = np.arange(documents), np.arange(documents)
    found = np.full(documents, np.nan)
    _decide(bounds, np.ascontiguousarray(earlier), np.ascontiguousarray(similarity), survivor, cluster, found)
    return Stars(survivor, cluster, found)


@kernel
def _decide(
    bounds: np.ndarray,
    earlier: np.ndarray,
    similarity: np.ndarray,
    survivor: np.ndarray,
    cluster: np.ndarray,
    found: np.ndarray,
) -> None:
    """Walk the documents best first; join components at their best document."""
    for document in range(len(survivor)):
        for pair in range(bounds[document], bounds[document + 1]):
            other = earlier[pair]
            if survivor[other] == other:
                survivor[document], found[document] = other, similarity[pair]
                break
    for document in range(len(survivor)):
        for pair in range(bounds[document], bounds[document + 1]):
            one, other = document, earlier[pair]
            while cluster[one] != one:
                cluster[one] = cluster[cluster[one]]
                one = cluster[one]
            while cluster[other] != other:
                cluster[other] = cluster[cluster[other]]
                other = cluster[other]
            cluster[max(one, other)] = min(one, other)
    for document in range(len(survivor)):
        cluster[document] = cluster[cluster[document]]


def find_clusters(folder: Path, head: Stored, pairs: Pairs, preference: Preference) -> None:
    """Write ``removals.arrow`` and ``members.arrow`` from the pairs that were read at ``head``."""
    named = np.unique(np.concatenate([pairs.document, pairs.hub]))
    known = _known(head, named, preference)
    by_order = np.lexsort((as_bytes(known.column("id")), as_bytes(known.column("order"))))
    known = known.take(pa.array(by_order))
    ids = as_bytes(known.column("id"))
    by_id = np.argsort(ids)

    def position(names: np.ndarray) -> np.ndarray:
        return np.asarray(by_id[np.searchsorted(ids[by_id], names)])

    one, other = position(pairs.document), position(pairs.hub)
    found = stars(len(ids), np.maximum(one, other), np.minimum(one, other), pairs.similarity)
    gone = np.flatnonzero(found.survivor != np.arange(len(ids)))
    gone = gone[np.argsort(ids[gone])]
    column = known.column("id")
    removals = [column.take(pa.array(gone)), column.take(pa.array(found.survivor[gone]))]
    write_table(
        folder / REMOVALS, pa.table([*removals, pa.array(found.similarity[gone], from_pandas=True)], schema=_REMOVAL)
    )
    sizes = np.bincount(found.cluster, minlength=len(ids))
    best_first = np.lexsort((np.arange(len(ids)), found.cluster, -sizes[found.cluster]))
    firsts = found.cluster[best_first]
    new = np.ones(len(firsts), bool)
    new[1:] = firsts[1:] != firsts[:-1]
    stays = pa.array(found.survivor[best_first] == best_first)
    survivor = pc.if_else(stays, pa.scalar(None, ID), column.take(pa.array(found.survivor[best_first])))
    members = known.take(pa.array(best_first))
    columns = [pa.array(np.cumsum(new) - 1), *(members.column(name) for name in ("id", "source", "bytes", "part"))]
    similarity = pa.array(found.similarity[best_first], from_pandas=True)
    write_table(folder / MEMBERS, pa.table([*columns, survivor, similarity], schema=_MEMBER))


def _known(head: Stored, named: npt.NDArray[np.bytes_], preference: Preference) -> pa.Table:
    """Return id, order, source, bytes and part of the documents that are named (sorted); no text is read."""
    tables = []
    for part in range(head.parts):
        for batch in head.lineage.read(part, ("date",), preference.needs):
            batch = batch.filter(pa.array(place_in(named, as_bytes(batch.column("id"))) >= 0))
            columns = [batch.column("id"), preference.order(batch), batch.column("source"), batch.column("bytes")]
            columns.append(pa.array(np.full(batch.num_rows, part, np.int32)))
            tables.append(pa.table(columns, names=["id", "order", "source", "bytes", "part"]))
    return pa.concat_tables(tables).combine_chunks()


def as_bytes(ids: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.bytes_]:
    """View ids as S16, whose order is that of their bytes (it compares as if both were filled up with zeros)."""
    if isinstance(ids, pa.ChunkedArray):
        ids = ids.combine_chunks()
    if len(ids) == 0:
        return np.zeros(0, "S16")
    return np.frombuffer(ids.buffers()[1], "S16")[ids.offset : ids.offset + len(ids)]


def place_in(ascending: npt.NDArray[np.bytes_], ids: npt.NDArray[np.bytes_]) -> npt.NDArray[np.int64]:
    """Return where each id stands in an ascending array, -1 where it does not."""
    if not len(ascending):
        return np.full(len(ids), -1, np.int64)
    place = np.minimum(np.searchsorted(ascending, ids), len(ascending) - 1)
    return np.where(ascending[place] == ids, place, -1)


def write_table(path: Path, table: pa.Table) -> None:
    """Write an uncompressed Arrow IPC file, so that it can be mapped."""
    temporary = temporary_name(path)
    with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    temporary.replace(path)


def read_table(path: Path) -> pa.Table:
    """Map a table that ``write_table`` wrote. Raises ``UserError`` where it is missing or damaged."""
    try:
        with pa.memory_map(str(path)) as source:
            return pa.ipc.open_file(source).read_all()
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"{path}: cannot be read ({error}); run the same command again to write it anew") from error


@dataclass(frozen=True)
class Cluster:
    """One connected component: documents by source, how many of them go, the best document and a few that go."""

    size: int
    bytes: int
    removed: int
    sources: dict[str, int]
    sample: tuple[dict[str, Any], ...]


def largest(folder: Path, count: int, sample: int = 3) -> Iterator[Cluster]:
    """Yield the largest clusters, each with a sample: its best document, then those that go, best first."""
    members = read_table(folder / MEMBERS)
    cluster = members.column("cluster").to_numpy()
    for number in range(count):
        start, end = np.searchsorted(cluster, [number, number + 1]).tolist()
        if start == end:
            return
        rows = members.slice(start, end - start)
        counts = rows.column("source").value_counts().to_pylist()
        counts.sort(key=lambda item: (-item["counts"], item["values"]))
        # the best, then those that go, then others that stay
        stays = rows.column("survivor").is_null().to_numpy()
        stays[0] = False
        shown = rows.take(pa.array(np.argsort(stays, kind="stable")[:sample])).to_pylist()
        yield Cluster(
            rows.num_rows,
            int(pc.sum(rows.column("bytes")).as_py()),
            rows.num_rows - rows.column("survivor").null_count,
            {item["values"]: item["counts"] for item in counts},
            tuple(
                {
                    "id": row["id"].hex(),
                    "source": row["source"],
                    "part": row["part"],
                    "survivor": row["survivor"].hex() if row["survivor"] else None,
                    "similarity": row["similarity"],
                }
                for row in shown
            ),
        )
