"""The held-out documents of a run: they left as drops, and their texts are where they came from."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from tilth.corpus.chain import Stored
from tilth.corpus.document import DOCUMENT
from tilth.corpus.errors import UserError
from tilth.corpus.store import DROPS, part_name, read_arrow

COLUMNS = ("id", "text", "source", "bytes")


def held_out_documents(stages: Sequence[Stored], bytes_per_source: int) -> pa.Table:
    """Return ``id``, ``text``, ``source``, ``bytes`` of what ``stages`` held out, sorted by source and id.

    Of every source as many documents, in the order of their ids, as ``bytes_per_source`` holds, at least one. Ids are
    hashes, so that is a random choice, and the same one whatever else the corpus holds. Raises ``UserError`` where
    nothing was held out.
    """
    tables = [table for stage in stages for part in range(stage.parts) if (table := _of_part(stage, part)) is not None]
    if not tables:
        raise UserError("evaluate: no document was held out; raise the fraction of the stage 'hold-out'")
    table = pa.concat_tables(tables).sort_by([("source", "ascending"), ("id", "ascending")])
    chosen: list[bool] = []
    used: dict[str, int] = {}
    for source, size in zip(table.column("source").to_pylist(), table.column("bytes").to_pylist(), strict=True):
        before = used.get(source, 0)
        used[source] = before + size
        chosen.append(size > 0 and (before == 0 or before + size <= bytes_per_source))
    return table.filter(pa.array(chosen)).combine_chunks()


def _of_part(stage: Stored, part: int) -> pa.Table | None:
    drops = list(read_arrow(stage.folder / DROPS / part_name(part), ["id"], missing_is_empty=True))
    if not drops:
        return None
    ids = pa.Table.from_batches(drops).column("id").combine_chunks()
    batches = [
        batch.filter(pc.is_in(batch.column("id"), value_set=ids)).select(list(COLUMNS))
        for batch in stage.entering.read(part, ["text"])
    ]
    return pa.Table.from_batches(batches, schema=pa.schema([DOCUMENT.field(name) for name in COLUMNS]))
