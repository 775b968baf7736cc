"""Windows: runs of ``n`` units (lines, paragraphs, words) that stand more than once, and how all but one are cut.

The best document's first occurrence stays, and what stays is whole: its units are not cut even where they also belong
to a window that goes. So every text that is cut stands in the output once; the peers cut overlapping spans in each
other's survivors.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tilth.corpus.document import ID, halves, text_bytes, text_digests, utf8_buffers
from tilth.corpus.stage import Outcome, drop_rows
from tilth.filters.dedup.clusters import as_bytes
from tilth.filters.edits import Edit, apply_edits, edit_rows
from tilth.filters.kernel import kernel

ROW_BYTES = 60  # of a keyed row: key, id, order, start, home


@dataclass(frozen=True)
class Spans:
    """Where units begin in a batch's buffer: int64 byte positions, ``rows`` int64 of length documents + 1."""

    starts: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]


def window_keys(hashes: npt.NDArray[np.uint64], rows: npt.NDArray[np.int64], n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the 128-bit key of every window of ``n`` units (uint64 of shape (windows, 2)) and where documents' begin.

    ``hashes`` are one uint64 a unit; a document of k units has max(0, k - n + 1) windows, in order.
    """
    counts = np.maximum(np.diff(rows) - n + 1, 0)
    places = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    keys = np.empty((int(places[-1]), 2), np.uint64)
    _roll_pair(hashes, rows, n, places, keys)
    return keys, places


@kernel
def _roll_pair(hashes: np.ndarray, rows: np.ndarray, n: int, places: np.ndarray, keys: np.ndarray) -> None:
    """Roll two polynomials with different bases over the units, each mixed at the end (splitmix64's finaliser)."""
    for lane in range(2):
        base = np.uint64(0x9E3779B97F4A7C15) if lane == 0 else np.uint64(0xD1342543DE82EF95)
        power = np.uint64(1)
        for _ in range(n - 1):
            power = np.uint64(power * base)
        for document in range(len(rows) - 1):
            place, end = places[document], places[document + 1]
            if place == end:
                continue
            first = rows[document]
            value = np.uint64(0)
            for unit in range(first, first + n):
                value = np.uint64(value * base + hashes[unit])
            while True:
                x = np.uint64(value + np.uint64(lane))
                x = np.uint64((x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9))
                x = np.uint64((x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB))
                keys[place, lane] = x ^ (x >> np.uint64(31))
                place += 1
                if place == end:
                    break
                value = np.uint64((value - hashes[first] * power) * base + hashes[first + n])
                first += 1


def keyed_windows(
    keys: npt.NDArray[np.uint64],
    documents: npt.NDArray[np.int64],
    starts: npt.NDArray[np.int64],
    ids: pa.Array,
    order: pa.Array,
) -> pa.RecordBatch:
    """Return keyed rows for windows: their keys, the number of their document in the batch, and their first unit."""
    key = pa.FixedSizeBinaryArray.from_buffers(
        ID, len(keys), [None, pa.py_buffer(np.ascontiguousarray(keys).tobytes())]
    )
    rows = pa.array(documents)
    arrays = [key, ids.take(rows), order.take(rows), pa.array(starts, pa.int64())]
    return pa.RecordBatch.from_arrays(arrays, names=["key", "id", "order", "start"])


def repeated(rows: pa.Table) -> pa.Table:
    """Return the windows that stand more than once: (id, home, start, keep, keeper).

    ``keep`` is true for the one that stays, ``keeper`` the id of its document.
    """
    keys = halves(rows.column("key").combine_chunks()) if rows.num_rows else np.zeros((0, 2), np.uint64)
    new = np.ones(len(keys), bool)
    new[1:] = (keys[1:] != keys[:-1]).any(axis=1)
    several = ~(new & np.append(new[1:], True)) if len(keys) else new
    order = [(name, "ascending") for name in ("key", "order", "id", "start")]
    rows = rows.filter(pa.array(several)).sort_by(order)
    # rows of one key stand together before and after the sort
    keep = new[several]
    keeper = rows.column("id").take(pa.array(np.flatnonzero(keep)[np.cumsum(keep) - 1], pa.int64()))
    return rows.select(["id", "home", "start"]).append_column("keep", pa.array(keep)).append_column("keeper", keeper)


def cut(batch: pa.RecordBatch, rows: pa.Table, spans: Spans, n: int, stage: str, rule: str) -> Outcome:
    """Cut the windows that go out of the texts; a document of which nothing but white space is left is dropped.

    ``rows`` are those of ``repeated`` about the batch's documents (and maybe of others); ``spans`` its units. Every
    edit names the document that keeps what it cuts, a drop the one that keeps most of it.
    """
    place = pc.index_in(rows.column("id").combine_chunks(), value_set=batch.column("id"))
    mine = np.flatnonzero(pc.is_valid(place).to_numpy(zero_copy_only=False))
    document = place.take(pa.array(mine)).to_numpy(zero_copy_only=False)
    start = rows.column("start").to_numpy()[mine]
    keep = rows.column("keep").combine_chunks().take(pa.array(mine)).to_numpy(zero_copy_only=False)
    data, offsets = utf8_buffers(batch.column("text"))
    by_document = np.argsort(document, kind="stable")
    document, start, keep = document[by_document], start[by_document], keep[by_document]
    keeper = rows.column("keeper").combine_chunks().take(pa.array(mine[by_document]))
    bounds = np.flatnonzero(np.diff(document, prepend=-1, append=-1))
    edits: dict[int, list[Edit]] = {}
    for low, high in pairwise(bounds.tolist()):
        row = int(document[low])
        begin, end = int(spans.rows[row]), int(spans.rows[row + 1])
        going = low + np.flatnonzero(~keep[low:high])
        gone = _covered(start[going], n, end - begin)
        gone &= ~_covered(start[low:high][keep[low:high]], n, end - begin)
        if not gone.any():
            continue
        # a unit's keeper is that of the first window that takes it
        names, code = np.unique(as_bytes(keeper.take(pa.array(going))), return_inverse=True)
        by_start = np.argsort(start[going], kind="stable")
        first = np.searchsorted(start[going][by_start], np.arange(end - begin) - n + 1)
        label = np.where(gone, code[by_start][np.minimum(first, len(going) - 1)], -1)
        edges = np.flatnonzero(np.diff(label, prepend=-1, append=-1)).tolist()
        whole = [*(spans.starts[begin:end] - offsets[row]).tolist(), int(offsets[row + 1] - offsets[row])]
        text = data[offsets[row] : offsets[row + 1]].tobytes()
        edits[row] = [
            Edit(
                whole[one],
                whole[other],
                "",
                text[whole[one] : whole[other]].decode(),
                rule,
                names[label[one]].ljust(16, b"\0"),
            )
            for one, other in pairwise(edges)
            if label[one] >= 0
        ]
    return edited(batch, edits, stage, rule)


def _covered(starts: npt.NDArray[np.int64], n: int, units: int) -> npt.NDArray[np.bool_]:
    """Return which of so many units lie in a window that begins at one of ``starts``."""
    steps = np.bincount(starts, minlength=units + n + 1) - np.bincount(starts + n, minlength=units + n + 1)
    return np.asarray(np.cumsum(steps)[:units] > 0)


def edited(batch: pa.RecordBatch, edits: dict[int, list[Edit]], stage: str, rule: str) -> Outcome:
    """Apply the edits by row, ascending; drop the documents that they empty, with the share of bytes that went."""
    if not edits:
        return Outcome(batch)
    text = batch.column("text")
    after = {row: apply_edits(text[row].as_py().encode(), own).decode() for row, own in edits.items()}
    empty = np.zeros(batch.num_rows, bool)
    empty[[row for row, left in after.items() if not left.strip()]] = True
    changed = [row for row in edits if not empty[row]]
    kept = replaced(batch, changed, [after[row] for row in changed]).filter(pa.array(~empty))
    size = batch.column("bytes").to_numpy()
    shares = [sum(edit.end - edit.start for edit in edits[row]) / size[row] for row in np.flatnonzero(empty).tolist()]
    most = [max(edits[row], key=lambda edit: edit.end - edit.start).other for row in np.flatnonzero(empty).tolist()]
    drops = drop_rows(batch, empty, stage, rule, value=pa.array(shares, pa.float64()), other=pa.array(most, ID))
    ids = [batch.column("id")[row].as_py() for row in changed]
    return Outcome(kept, drops, edit_rows(ids, [edits[row] for row in changed]))


def replaced(batch: pa.RecordBatch, rows: Sequence[int], texts: Sequence[str]) -> pa.RecordBatch:
    """Return the batch with other texts in some rows, ascending, and the columns that follow from them."""
    mask = np.zeros(batch.num_rows, bool)
    mask[list(rows)] = True
    changed = pa.array(texts, pa.string())
    for name, values in (("text", changed), ("bytes", text_bytes(changed)), ("digest", text_digests(changed))):
        place = batch.schema.get_field_index(name)
        column = pc.replace_with_mask(batch.column(name), pa.array(mask), values)
        batch = batch.set_column(place, batch.schema.field(name), column)
    return batch
