"""Finds candidate pairs: documents that share a band, each against the best few of its bucket.

All pairs of a bucket of n documents are n²/2, which is how one boilerplate page eats a day. Here every document of a
bucket is compared with the first ``hubs`` in the order of survivors, 8n pairs at most, and these are the ones that it
could lose to. Small buckets, nearly all, are compared in full.

The pairs of one hub are cut into groups of ``GROUP``, so that the comparison that follows never holds more than that
many texts beside the hub's, however many documents share a page.
"""

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tilth.corpus.document import ID, halves
from tilth.corpus.errors import UserError
from tilth.corpus.stage import Effect, GroupStage, Outcome
from tilth.filters.dedup.bands import band_keys
from tilth.filters.dedup.minhash import Bits
from tilth.filters.dedup.signatures import signature_values
from tilth.filters.dedup.survivor import ANY, Preference

GROUP: Final = 256  # documents compared with a hub together: 1.3 MB of shingles at 650 words each
ROW_BYTES: Final = 52  # of a keyed row: key, id, order, home


@dataclass(frozen=True)
class Candidates(GroupStage):
    """Add two lists of equal length: ``PREFIX.hubs``, the ids to compare a document with, and ``PREFIX.groups``.

    A hub names itself once for every group that it is in. Documents without a signature have empty lists.
    """

    prefix: str
    signature: str
    preference: Preference = ANY
    bands: int = 14
    rows: int = 8
    bits: Bits = 32
    hubs: int = 8

    version: ClassVar[int] = 1
    effect: ClassVar[Effect] = Effect.MEASURES
    columns: ClassVar[tuple[str, ...]] = ("date",)

    def __post_init__(self) -> None:
        """Raise ``UserError`` for numbers below one."""
        for name in ("bands", "rows", "hubs"):
            if getattr(self, name) < 1:
                raise UserError(f"{self.name}: {name}: found {getattr(self, name)}, expected at least 1")

    @property
    def needs(self) -> tuple[str, ...]:
        """The signature, and the quality that survivors are chosen by."""
        return (self.signature, *self.preference.needs)

    @property
    def measures(self) -> tuple[str, ...]:
        """The two lists."""
        return (f"{self.prefix}.hubs", f"{self.prefix}.groups")

    def keyed_bytes(self, documents: int, size: int) -> int:
        """One row a document and band."""
        return documents * self.bands * ROW_BYTES

    def keys(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Key every document with a signature by each of its bands; its place in the order comes along."""
        batch = batch.filter(pc.is_valid(batch.column(self.signature)))
        values = signature_values(batch.column(self.signature), self.bits)
        if batch.num_rows and values.shape[1] < self.bands * self.rows:
            raise UserError(
                f"{self.name}: {self.bands} bands of {self.rows} rows need {self.bands * self.rows} hashes, "
                f"signal '{self.signature}' has {values.shape[1]}; raise 'hashes' or lower one of them"
            )
        keys = band_keys(values[:, : self.bands * self.rows], self.bands, self.rows) if batch.num_rows else b""
        data = pa.py_buffer(keys.tobytes() if isinstance(keys, np.ndarray) else keys)
        repeat = pa.array(np.repeat(np.arange(batch.num_rows), self.bands))
        arrays = [
            pa.FixedSizeBinaryArray.from_buffers(ID, len(repeat), [None, data]),
            batch.column("id").take(repeat),
            self.preference.order(batch).take(repeat),
        ]
        return pa.RecordBatch.from_arrays(arrays, names=["key", "id", "order"])

    def reduce(self, rows: pa.Table) -> pa.Table:
        """Return (id, home, hub, group): whom a document is compared with, and in which group of the hub."""
        keys = halves(rows.column("key").combine_chunks()) if rows.num_rows else np.zeros((0, 2), np.uint64)
        new = np.ones(len(keys), bool)
        new[1:] = (keys[1:] != keys[:-1]).any(axis=1)
        alone = new & np.append(new[1:], True)
        # most buckets hold one document: only the others are put in order
        rows = rows.filter(pa.array(~alone)).sort_by(
            [("key", "ascending"), ("order", "ascending"), ("id", "ascending")]
        )
        bucket = np.cumsum(new[~alone]) if len(rows) else np.zeros(0, np.int64)
        # rows of one bucket stand together before and after the sort, so the bounds of the buckets did not move
        starts = np.flatnonzero(new[~alone])
        first = starts[bucket - 1] if len(rows) else np.zeros(0, np.int64)
        rank = np.arange(len(bucket)) - first
        size = np.diff(np.append(starts, len(bucket)))[bucket - 1] if len(rows) else np.zeros(0, np.int64)
        members, hubs, groups = [], [], []
        for place in range(self.hubs):
            behind = np.flatnonzero(rank > place)
            members.append(behind)
            hubs.append(first[behind] + place)
            groups.append((rank[behind] - place - 1) // GROUP)
            # the hub itself, in every group that somebody is in
            own = np.flatnonzero((rank == place) & (size > place + 1))
            times = (size[own] - place - 2) // GROUP + 1
            members.append(np.repeat(own, times))
            hubs.append(np.repeat(own, times))
            groups.append(np.arange(times.sum()) - np.repeat(np.cumsum(times) - times, times))
        return unique_rows(
            rows.select(["id", "home"])
            .take(pa.array(np.concatenate(members)))
            .append_column("hub", rows.column("id").take(pa.array(np.concatenate(hubs))))
            .append_column("group", pa.array(np.concatenate(groups), pa.int32()))
        )

    def apply(self, batch: pa.RecordBatch, rows: pa.Table) -> Outcome:
        """Gather the rows of every document; a pair that several bands found counts once, in its first group."""
        rows = unique_rows(rows.filter(pc.is_in(rows.column("id"), value_set=batch.column("id"))))
        ids, hubs = rows.column("id").combine_chunks(), rows.column("hub").combine_chunks()
        if rows.num_rows:
            own, other = halves(ids), halves(hubs)
            again = np.zeros(rows.num_rows, bool)
            again[1:] = (own[1:] == own[:-1]).all(axis=1) & (other[1:] == other[:-1]).all(axis=1)
            rows = rows.filter(pa.array(~again | (own == other).all(axis=1)))
        hubs_list, groups_list = lists_of(batch.column("id"), rows, ["hub", "group"])
        return Outcome(batch, signals=dict(zip(self.measures, (hubs_list, groups_list), strict=True)))


def unique_rows(rows: pa.Table) -> pa.Table:
    """Return every distinct row once, sorted by id, then by the columns after it."""
    names = ["id", *(name for name in rows.column_names if name not in ("id", "home")), "home"]
    rows = rows.select(names).group_by(names, use_threads=False).aggregate([])
    return rows.sort_by([(name, "ascending") for name in names]).combine_chunks()


def lists_of(ids: pa.Array, rows: pa.Table, columns: list[str]) -> list[pa.Array]:
    """Return, for every id, the values of its rows in each column as a list; ``rows`` are sorted by id."""
    place = pc.index_in(rows.column("id").combine_chunks(), value_set=ids)
    known = np.flatnonzero(pc.is_valid(place).to_numpy(zero_copy_only=False))
    place = place.take(pa.array(known)).to_numpy(zero_copy_only=False)
    order = known[np.argsort(place, kind="stable")]
    offsets = np.concatenate([[0], np.cumsum(np.bincount(place, minlength=len(ids)))]).astype(np.int32)
    return [
        pa.ListArray.from_arrays(pa.array(offsets), rows.column(name).combine_chunks().take(pa.array(order)))
        for name in columns
    ]
