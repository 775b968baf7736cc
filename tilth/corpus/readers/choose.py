"""Which documents of a source are wanted: a sample by a hash of their identity, and none beyond its caps of lines.

The sample is a property of the documents, not of the reading: another order, other parts or one more file choose the
same ones, and a larger share keeps all that a smaller one kept. Documents that could not exceed a cap, because they
have fewer bytes, are not looked at, so the caps cost nothing on ordinary text.
"""

import numpy as np
import pyarrow as pa

from tilth.corpus.document import DROP, halves, utf8_buffers
from tilth.corpus.readers.chunk import LONG_LINE, NOT_SAMPLED, STAGE, TOO_MANY_LINES, Chunk
from tilth.corpus.sources import Source

NEWLINE = ord("\n")
SALT = np.uint64(0x5341_4D50_4C45)  # "SAMPLE": other hashes of identities (holding out, shuffling) must not agree


def chosen(source: Source, relative: str, chunk: Chunk) -> Chunk:
    """Return ``chunk`` with the documents that are wanted; the others are drops."""
    rows = chunk.documents.num_rows
    if rows == 0:
        return chunk
    drops = [chunk.drops]
    keep = np.ones(rows, bool)
    if source.sample < 1:
        place = places(chunk.documents)
        gone = place >= source.sample
        reason = f"{relative}: is not in the sample"
        drops.append(left_out(chunk.documents, gone, NOT_SAMPLED, place, source.sample, reason))
        keep &= ~gone
    sizes = chunk.documents.column("bytes").to_numpy()
    caps = (
        (TOO_MANY_LINES, source.maximum_lines, count_lines, "lines"),
        (LONG_LINE, source.maximum_line_bytes, longest_line, "bytes in one line"),
    )
    for rule, cap, measure, unit in caps:
        if cap is None:
            continue
        for row in np.flatnonzero(keep & (sizes > cap)).tolist():
            found = measure(chunk.documents.column("text"), row)
            if found > cap:
                one = np.zeros(rows, bool)
                one[row] = True
                reason = f"{relative}: has {found} {unit}, at most {cap} are read"
                drops.append(left_out(chunk.documents, one, rule, np.full(rows, float(found)), cap, reason))
                keep[row] = False
    if keep.all():
        return chunk
    lost = pa.Table.from_batches(drops, schema=DROP).combine_chunks().to_batches()
    return Chunk(chunk.documents.filter(pa.array(keep)), lost[0], chunk.records)


def places(documents: pa.RecordBatch) -> np.ndarray:
    """Return where each document lies in [0, 1) by its identity: float64."""
    x = halves(documents.column("id"))[:, 1] ^ SALT
    x = (x ^ (x >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)  # the finaliser of MurmurHash3 (Appleby 2011)
    x = (x ^ (x >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    hashed = x ^ (x >> np.uint64(33))
    share: np.ndarray = (hashed >> np.uint64(11)) * 2.0**-53  # 53 bits make an exact double in [0, 1)
    return share


def count_lines(text: pa.Array, row: int) -> int:
    """Return how many lines a text has."""
    return int(np.count_nonzero(utf8(text, row) == NEWLINE)) + 1


def longest_line(text: pa.Array, row: int) -> int:
    """Return the bytes of a text's longest line."""
    data = utf8(text, row)
    ends = np.concatenate([[-1], np.flatnonzero(data == NEWLINE), [len(data)]])
    return int(np.diff(ends).max()) - 1


def utf8(text: pa.Array, row: int) -> np.ndarray:
    """Return the bytes of one text: uint8."""
    data, offsets = utf8_buffers(text)
    return data[offsets[row] : offsets[row + 1]]


def left_out(
    documents: pa.RecordBatch, gone: np.ndarray, rule: str, value: np.ndarray, limit: float, reason: str
) -> pa.RecordBatch:
    """Return the drops of the documents where ``gone`` is true; ``value`` has one for every document."""
    there = documents.select(["id", "source", "bytes"]).filter(pa.array(gone))
    rows = there.num_rows
    columns = {
        **{name: there.column(name) for name in there.schema.names},
        "stage": pa.array([STAGE] * rows, pa.string()),
        "rule": pa.array([rule] * rows, pa.string()),
        "value": pa.array(value[gone].astype(np.float64)),
        "limit": pa.array(np.full(rows, float(limit))),
        "other": pa.nulls(rows, DROP.field("other").type),
        "detail": pa.array([reason] * rows, pa.string()),
    }
    return pa.RecordBatch.from_arrays([columns[name] for name in DROP.names], schema=DROP)
