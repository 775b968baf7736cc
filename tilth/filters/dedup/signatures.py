"""Measures MinHash signatures as a stored signal: another threshold, other bands or a later dump need no new hashing.

A signature of 112 values of 32 bits is 448 bytes a document, about a ninth of the text, and does not compress.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tilth.corpus.errors import UserError
from tilth.corpus.stage import Effect, MapStage, Outcome
from tilth.filters.dedup.minhash import Bits, signatures
from tilth.filters.dedup.shingles import shingles_of
from tilth.filters.dedup.units import Kind, describe, units_of
from tilth.filters.texts import Texts


@dataclass(frozen=True)
class Shingling:
    """What a document is taken for: its runs of ``n`` ``kind`` units."""

    kind: Kind = "words"
    n: int = 5

    def __post_init__(self) -> None:
        """Raise ``UserError`` for a run of nothing."""
        if self.n < 1:
            raise UserError(f"shingle: found n = {self.n}, expected at least 1")


WORDS_5: Final = Shingling()


@dataclass(frozen=True)
class Signatures(MapStage):
    """Add the signal ``signal``: ``hashes`` values of ``bits`` bits as bytes, null for a text without a unit."""

    signal: str
    shingling: Shingling = WORDS_5
    hashes: int = 112
    bits: Bits = 32
    seed: int = 1

    version: ClassVar[int] = 1
    effect: ClassVar[Effect] = Effect.MEASURES

    @property
    def measures(self) -> tuple[str, ...]:
        """The one signal."""
        return (self.signal,)

    def describe(self) -> dict[str, Any]:
        """Add the normalisation and the version of Unicode it follows."""
        return {**super().describe(), **describe()}

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """Measure every text; all documents go on."""
        shingles = shingles_of(units_of(Texts.of(batch.column("text")), self.shingling.kind), self.shingling.n)
        values = signatures(shingles, self.hashes, self.bits, self.seed)
        return Outcome(batch, signals={self.signal: signature_column(values, np.diff(shingles.rows) > 0)})


def signature_column(values: npt.NDArray[np.unsignedinteger], known: npt.NDArray[np.bool_]) -> pa.Array:
    """Return signatures as a column of little-endian bytes, null where not ``known``."""
    kind = pa.binary(values.shape[1] * values.dtype.itemsize)
    data = pa.py_buffer(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes())
    valid = pa.py_buffer(np.packbits(known, bitorder="little").tobytes())
    return pa.FixedSizeBinaryArray.from_buffers(kind, len(values), [valid, data])


def signature_values(column: pa.Array, bits: Bits) -> npt.NDArray[np.unsignedinteger]:
    """Return a column of signatures as numbers, rows x hashes, without a copy; what stands in a null's row is open."""
    width = column.type.byte_width
    data = np.frombuffer(column.buffers()[1], np.uint8)
    rows = data[column.offset * width : (column.offset + len(column)) * width]
    return rows.view("<u4" if bits == 32 else "<u8").reshape(len(column), width * 8 // bits)
