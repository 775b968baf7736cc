"""Who stays among duplicates: a declared total order, packed into 16 bytes a document that sort as it does.

The peers keep whichever document roots the union-find or comes first in a thread. Here the order is part of the recipe:
by default the source's priority, so that domain text never loses to a web copy, then the newest, then the longest, then
the smallest id, which settles every tie. Packed, an order costs 16 bytes a row of a shuffle instead of four columns.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tilth.corpus.document import ID
from tilth.corpus.errors import UserError

Criterion = Literal["source", "quality", "newest", "oldest", "longest", "shortest"]
DEFAULT: Final[tuple[Criterion, ...]] = ("source", "quality", "newest", "longest")
# a year, alone or with month and day, as ISO 8601 writes them; whatever follows (a time) is not looked at
_DATE: Final = r"^(?P<year>\d{4})(?:-?(?P<month>\d{2})(?:-?(?P<day>\d{2}))?)?(?:$|[^0-9])"


@dataclass(frozen=True)
class Preference:
    """An order of documents, best first: ``by`` names its criteria, then the id decides.

    ``priority`` names sources, best first; others come after, all alike. ``quality`` is the signal (a number, higher is
    better) that the criterion of that name reads; without a signal it says nothing. Documents without a date come after
    those with one, whichever way dates are taken, and so do those without a quality.
    """

    priority: tuple[str, ...] = ()
    by: tuple[Criterion, ...] = DEFAULT
    quality: str | None = None

    def __post_init__(self) -> None:
        """Raise ``UserError`` for a criterion given twice."""
        kinds = [{"oldest": "newest", "shortest": "longest"}.get(one, one) for one in self.by]
        if len(set(kinds)) < len(kinds):
            raise UserError(f"prefer: found {', '.join(self.by)}, expected every criterion once and one way round")

    @property
    def needs(self) -> tuple[str, ...]:
        """The signals that are read; of the document columns it is ``date``."""
        return (self.quality,) if self.quality is not None and "quality" in self.by else ()

    def order(self, batch: pa.RecordBatch) -> pa.Array:
        """Return 16 bytes a document: the smaller ones are the better documents, equal ones are told apart by id."""
        columns = [self._column(criterion, batch) for criterion in self.by]
        packed = np.zeros((batch.num_rows, 16), np.uint8)
        place = 0
        for column in columns:
            packed[:, place : place + column.shape[1]] = column
            place += column.shape[1]
        return pa.FixedSizeBinaryArray.from_buffers(ID, batch.num_rows, [None, pa.py_buffer(packed.tobytes())])

    def _column(self, criterion: Criterion, batch: pa.RecordBatch) -> npt.NDArray[np.uint8]:
        if criterion == "source":  # 2 bytes
            rank = pc.index_in(batch.column("source"), value_set=pa.array(self.priority, pa.string()))
            return _bytes(pc.fill_null(rank, len(self.priority)).to_numpy(zero_copy_only=False), ">u2")
        if criterion == "quality":  # 4 bytes
            if self.quality is None:
                return np.zeros((batch.num_rows, 0), np.uint8)
            quality = pc.cast(batch.column(self.quality), pa.float32()).to_numpy(zero_copy_only=False)
            return _bytes(descending(quality), ">u4")
        if criterion in ("newest", "oldest"):  # 4 bytes
            days = dates(batch.column("date"))
            later = np.where(days > 0, 99_999_999 - days, 99_999_999) if criterion == "newest" else days
            return _bytes(np.where(days > 0, later, 99_999_999), ">u4")
        size = batch.column("bytes").to_numpy()  # 6 bytes: up to 280 TB
        return _bytes(size if criterion == "shortest" else 2**48 - 1 - size, ">u8")[:, 2:]


ANY: Final = Preference()  # no source before another: the newest, then the longest


def dates(column: pa.Array) -> npt.NDArray[np.int64]:
    """Return dates as numbers, 20191231 or 20190000 for a year alone; 0 where there is none or it is not ISO 8601."""
    parts = pc.extract_regex(column, _DATE)
    total = np.zeros(len(column), np.int64)
    for name, weight in (("year", 10_000), ("month", 100), ("day", 1)):
        digits = pc.struct_field(parts, name)
        digits = pc.if_else(pc.equal(pc.fill_null(digits, ""), ""), "0", digits)
        total += weight * pc.cast(digits, pa.int64()).to_numpy(zero_copy_only=False)
    return total


def descending(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint32]:
    """Return numbers that ascend where float32 values descend; not a number comes last."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    sign = np.uint32(0x80000000)
    ascending = np.where(bits & sign, ~bits, bits | sign)
    return np.where(np.isnan(values), np.uint32(0xFFFFFFFF), ~ascending)


def _bytes(values: npt.NDArray[np.generic], kind: str) -> npt.NDArray[np.uint8]:
    """Return numbers as rows of big-endian bytes, which compare as the numbers do."""
    wide = np.ascontiguousarray(values.astype(kind))
    return wide.view(np.uint8).reshape(len(values), wide.itemsize)
