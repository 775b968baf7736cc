"""Spans of many documents that an edit replaces: found by kernels, applied and recorded as whole columns.

A rule that edits lines makes twenty edits in a page. As Python objects they would cost more than finding them; as
columns they are cut out of the batch's buffer in two copies, one of what stays and one of what goes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tilth.corpus.document import EDIT, ID, text_bytes, text_digests, utf8_buffers
from tilth.corpus.stage import Outcome
from tilth.filters.kernel import kernel
from tilth.filters.texts import Texts


@dataclass(frozen=True, eq=False)
class Spans:
    """Edits of a batch, ascending and apart from each other.

    ``starts`` and ``ends`` are int64 byte positions in the batch's buffer, ``rows`` the int64 number of each one's
    document; ``rules`` and ``replacements`` int64 are places in the two lists of names and texts.
    """

    rows: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    rules: npt.NDArray[np.int64]
    replacements: npt.NDArray[np.int64]
    rule_names: Sequence[str]
    replacement_texts: Sequence[str]

    def __len__(self) -> int:
        return len(self.rows)


def edited(texts: Texts, spans: Spans) -> Texts:
    """Return the texts after the edits."""
    pieces, bounds = _packed(spans.replacement_texts)
    sizes = np.diff(bounds)[spans.replacements] - (spans.ends - spans.starts)
    shift = np.bincount(spans.rows, weights=sizes, minlength=len(texts)).astype(np.int64)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.diff(texts.offsets) + shift)])
    after = np.empty(int(offsets[-1]), np.uint8)
    data = texts.data.view()
    data.flags.writeable = False  # the kernels are compiled for one kind of array only
    bounds_of = np.array([texts.offsets[0], texts.offsets[-1]])
    _replace(data, bounds_of, spans.starts, spans.ends, spans.replacements, pieces, bounds, after)
    return Texts(after, offsets)


def edit_batch(batch: pa.RecordBatch, spans: Spans) -> Outcome:
    """Return what becomes of a batch of documents: all go on, with the edits of their texts recorded."""
    if not len(spans):
        return Outcome(kept=batch)
    changed = np.unique(spans.rows)
    mask = np.zeros(batch.num_rows, np.bool_)
    mask[changed] = True
    before = Texts.of(batch.column("text"))
    after = edited(before, spans)
    text = _strings(after.data, after.offsets).filter(pa.array(mask))
    return Outcome(kept=with_texts(batch, mask, text), edits=edit_columns(batch.column("id"), before, spans))


def with_texts(batch: pa.RecordBatch, mask: npt.NDArray[np.bool_], text: pa.Array) -> pa.RecordBatch:
    """Return the documents with other texts where ``mask`` is true; what is derived from a text follows it."""
    for name, values in (("text", text), ("bytes", text_bytes(text)), ("digest", text_digests(text))):
        place = batch.schema.get_field_index(name)
        column = pc.replace_with_mask(batch.column(name), pa.array(mask), values.cast(batch.column(name).type))
        batch = batch.set_column(place, batch.schema.field(name), column)
    return batch


def gathered(texts: Texts, starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> Texts:
    """Return the pieces of the buffer from ``starts`` to ``ends`` as texts of their own."""
    sizes = np.concatenate([np.zeros(1, np.int64), np.cumsum(ends - starts)])
    pieces = np.empty(int(sizes[-1]), np.uint8)
    data = texts.data.view()
    data.flags.writeable = False  # the kernels are compiled for one kind of array only
    _copy(data, starts, ends, pieces)
    return Texts(pieces, sizes)


def edit_columns(ids: pa.Array, before: Texts, spans: Spans) -> pa.RecordBatch:
    """Return the edits as rows of the schema ``EDIT``: positions are bytes of each document's own text."""
    begins = before.offsets[spans.rows]
    originals = gathered(before, spans.starts, spans.ends)
    rules = pa.DictionaryArray.from_arrays(pa.array(spans.rules), pa.array(list(spans.rule_names), pa.string()))
    texts = pa.array(list(spans.replacement_texts), pa.string())
    columns = {
        "id": ids.take(pa.array(spans.rows)),
        "start": pa.array(spans.starts - begins),
        "end": pa.array(spans.ends - begins),
        "replacement": texts.take(pa.array(spans.replacements)),
        "original": _strings(originals.data, originals.offsets).cast(pa.string()),
        "rule": rules.cast(pa.string()),
        "other": pa.nulls(len(spans), ID),
    }
    return pa.RecordBatch.from_arrays([columns[field.name] for field in EDIT], schema=EDIT)


def _strings(data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64]) -> pa.Array:
    """Return the texts ``data[offsets[i] : offsets[i + 1]]`` as an array, without a copy."""
    return pa.LargeStringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(data))


def _packed(texts: Sequence[str]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Return the bytes of some texts and where each begins."""
    data, offsets = utf8_buffers(pa.array(list(texts), pa.large_string()))
    return np.ascontiguousarray(data[: offsets[-1]]), offsets


@kernel
def _copy(data: np.ndarray, starts: np.ndarray, ends: np.ndarray, out: np.ndarray) -> None:
    """Write the bytes of all spans one after another."""
    place = 0
    for span in range(len(starts)):
        for at in range(starts[span], ends[span]):
            out[place] = data[at]
            place += 1


@kernel
def _replace(
    data: np.ndarray,
    bounds: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    replacements: np.ndarray,
    pieces: np.ndarray,
    piece_bounds: np.ndarray,
    out: np.ndarray,
) -> None:
    """Write the bytes from ``bounds[0]`` to ``bounds[1]`` with every span replaced by its piece."""
    place = 0
    at = bounds[0]
    for span in range(len(starts) + 1):
        stop = starts[span] if span < len(starts) else bounds[1]
        while at < stop:
            out[place] = data[at]
            place += 1
            at += 1
        if span < len(starts):
            for byte in range(piece_bounds[replacements[span]], piece_bounds[replacements[span] + 1]):
                out[place] = pieces[byte]
                place += 1
            at = ends[span]
