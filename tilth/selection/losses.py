"""The losses of documents under a ladder of models, as a table: one row a document, one column a model.

Tilth writes such a table from checkpoints or a local model folder; a user may bring one from anywhere. Columns are
``id`` (32 hex digits or 16 bytes; with a column ``source``, the record's own id) and one number a model, in bits a byte
or any other measure that orders the models of one document.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tilth.corpus.document import ID, document_id
from tilth.corpus.errors import UserError
from tilth.corpus.store import temporary_name

NAMES = ("id", "source")


@dataclass(frozen=True)
class Losses:
    """``values`` is float64, documents x models; ``ids`` 16 bytes each."""

    models: tuple[str, ...]
    ids: pa.Array = field(repr=False)
    values: np.ndarray = field(repr=False)

    def of(self, models: Sequence[str], ids: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """Return which of ``ids`` (row numbers, int64) have losses, and these: float64, rows x ``models``.

        Raises ``UserError`` for a model without losses, or where no document has any.
        """
        for name in models:
            if name not in self.models:
                raise UserError(f"losses: model '{name}' not found; the table has {', '.join(self.models)}")
        places = pc.index_in(ids, value_set=self.ids)
        rows = np.flatnonzero(pc.is_valid(places).to_numpy(zero_copy_only=False))
        if not len(rows):
            raise UserError(
                f"losses: none of the {len(ids)} sampled documents is among the {len(self.ids)} of the table; score "
                "the sample of this run"
            )
        found = pc.drop_null(places).to_numpy(zero_copy_only=False)
        columns = [self.models.index(name) for name in models]
        return rows, self.values[found][:, columns]


def read_losses(path: Path) -> Losses:
    """Read a Parquet table of losses. Raises ``UserError`` where it is missing, damaged or lacks ids or models."""
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such table of losses; correct the path") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(
            f"{path}: not a Parquet table ({' '.join(str(error).split())[:120]}); write it again"
        ) from error
    if "id" not in table.column_names:
        raise UserError(f"{path}: column 'id' not found; columns are {', '.join(table.column_names)}")
    models = tuple(
        name for name in table.column_names if name not in NAMES and pa.types.is_floating(table.field(name).type)
    )
    if not models:
        raise UserError(f"{path}: no column of numbers found, expected one a model beside 'id'; write it again")
    ids = document_ids(path, table)
    if len(pc.unique(ids)) != len(ids):
        raise UserError(f"{path}: a document stands in it twice, expected one row each; remove one")
    values = [pc.fill_null(table.column(name).cast(pa.float64()), float("nan")).to_numpy() for name in models]
    return Losses(models, ids, np.stack(values, axis=1))


def document_ids(path: Path, table: pa.Table) -> pa.Array:
    """Return the ids of a table: 16 bytes each. Raises ``UserError`` for what is no id."""
    column = table.column("id").combine_chunks()
    if pa.types.is_binary(column.type) or pa.types.is_fixed_size_binary(column.type):
        return column.cast(ID)
    texts = column.cast(pa.string()).to_pylist()
    if "source" in table.column_names:
        sources = table.column("source").cast(pa.string()).to_pylist()
        return pa.array([document_id(str(s), str(i)) for s, i in zip(sources, texts, strict=True)], ID)
    try:
        return pa.array([bytes.fromhex(text) for text in texts], pa.binary()).cast(ID)
    except (ValueError, TypeError) as error:
        raise UserError(
            f"{path}: column 'id' holds {texts[0]!r}, expected 32 hex digits, or a column 'source' beside it"
        ) from error


def write_losses(path: Path, ids: pa.Array, values: Mapping[str, np.ndarray]) -> None:
    """Write a table of losses, whole or not at all: ``values`` holds one float64 array a model."""
    import pyarrow.parquet as pq

    columns = {"id": pa.array([name.hex() for name in ids.to_pylist()]), **{k: pa.array(v) for k, v in values.items()}}
    temporary = temporary_name(path)
    try:
        pq.write_table(pa.table(columns), temporary, compression="zstd")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
