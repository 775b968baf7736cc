"""A stage is the only thing an engine runs: a frozen value whose fingerprint follows from what it shows.

A stage never sees a file, a worker or a rank. It is given batches of documents and says what becomes of them; the
store checks that nothing is lost, and the engine decides where it runs.

What a stage may do to a document is declared, because it decides what has to be written: a stage that only measures
or only drops writes no text at all.
"""

import dataclasses
import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from tilth.corpus.document import DROP, EDIT


class Effect(StrEnum):
    """What a stage may do to a document."""

    MEASURES = "measures"  # adds signals; every document goes on as it is
    DROPS = "drops"  # removes documents (and may add signals); texts stay as they are
    EDITS = "edits"  # changes texts by recorded spans (and may drop and measure)


@dataclass(frozen=True)
class Asset:
    """A file that a stage depends on. Its content, not its place, enters the fingerprint."""

    path: str
    digest: str


@dataclass(frozen=True)
class Outcome:
    """What became of a batch: ``kept`` + ``drops`` = the batch, in every document and every byte.

    ``signals`` maps a name to an array with one value for every document of the *input* batch, in its order.
    """

    kept: pa.RecordBatch
    drops: pa.RecordBatch = field(default_factory=lambda: pa.RecordBatch.from_pylist([], schema=DROP))
    edits: pa.RecordBatch = field(default_factory=lambda: pa.RecordBatch.from_pylist([], schema=EDIT))
    signals: Mapping[str, pa.Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Stage(ABC):
    """What every stage has: a name in the recipe, a version of its code, and a fingerprint.

    ``version`` is raised by whoever changes what the code does. ``columns`` are the document columns that are read
    beyond ``id``, ``source``, ``bytes`` and ``digest``, which are always there; ``needs`` are the signals of earlier
    stages that are read, found in the batch as columns of that name.
    """

    name: str

    version: ClassVar[int] = 1
    effect: ClassVar[Effect] = Effect.DROPS
    columns: ClassVar[tuple[str, ...]] = ("text",)

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the signals of earlier stages that this stage reads."""
        return ()

    @property
    def measures(self) -> tuple[str, ...]:
        """Names of the signals that this stage adds."""
        return ()

    def describe(self) -> dict[str, Any]:
        """Return what the fingerprint is made of: class, version and configuration, assets by digest."""
        config = {f.name: plain(getattr(self, f.name)) for f in dataclasses.fields(self)}
        return {"stage": type(self).__name__, "version": self.version, **config}


class MapStage(Stage):
    """A stage that judges every document by itself."""

    @abstractmethod
    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """Say what becomes of the documents of ``batch``. Pure: no globals, no order, no randomness without a seed."""


class GroupStage(Stage):
    """A stage whose verdict on a document depends on others: map to keyed rows, reduce groups, apply to documents."""

    def keyed_bytes(self, documents: int, size: int) -> int:
        """Estimate the bytes of all keyed rows, for ``documents`` documents of ``size`` bytes of text.

        The number of partitions follows from it, and with that the memory of one reduction.
        """
        return documents * 100

    @abstractmethod
    def keys(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return keyed rows: ``key`` (16 bytes), ``id`` (16 bytes), then any payload columns."""

    @abstractmethod
    def reduce(self, rows: pa.Table) -> pa.Table:
        """Return rows about documents, from whole groups.

        ``rows`` holds every row of every key in it, sorted by all columns from the first to the last (a total order),
        with the engine's column ``home`` (int32) beside what ``keys`` returned. The result must hold ``id`` and
        ``home`` of a document that it speaks about, carried through unchanged, and may hold anything else that
        ``apply`` wants. It must not depend on which keys came together.
        """

    @abstractmethod
    def apply(self, batch: pa.RecordBatch, rows: pa.Table) -> Outcome:
        """Say what becomes of ``batch``. ``rows`` holds all reduced rows about its documents (and maybe of others).

        They are sorted by ``id``, then by the other columns, whichever partitions and engine they came from.
        """


def plain(value: Any) -> Any:
    """Turn a configuration value into JSON's types; assets are represented by their digest."""
    if isinstance(value, Asset):
        return value.digest
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        shown = {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"type": type(value).__name__, **shown}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    # JSON has no word for these, and orjson writes all of them as null
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def fingerprint(*parts: Any) -> str:
    """Return the 32-hex-digit SHA-256 prefix of the canonical JSON of ``parts``: equal values, equal fingerprints."""
    data = orjson.dumps([plain(part) for part in parts], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(data).hexdigest()[:32]


def drop_rows(
    batch: pa.RecordBatch,
    mask: np.ndarray,
    stage: str,
    rule: pa.Array | str,
    *,
    value: pa.Array | None = None,
    limit: pa.Array | None = None,
    other: pa.Array | None = None,
) -> pa.RecordBatch:
    """Build the drops for the documents of ``batch`` where ``mask`` (bool, one a document) is true.

    ``rule`` is one name for all, or an array with one value for every *dropped* document, as are the other arrays.
    """
    gone = batch.select(["id", "source", "bytes"]).filter(pa.array(mask))
    rows = gone.num_rows
    rule = pa.array([rule] * rows, pa.string()) if isinstance(rule, str) else rule
    given = {
        "stage": pa.array([stage] * rows, pa.string()),
        "rule": rule,
        "value": value,
        "limit": limit,
        "other": other,
    }
    arrays = [gone.column(name) for name in ("id", "source", "bytes")]
    for column in DROP.names[3:]:
        array = given.get(column)
        kind = DROP.field(column).type
        arrays.append(pa.nulls(rows, kind) if array is None else pc.cast(array, kind))
    return pa.RecordBatch.from_arrays(arrays, schema=DROP)
