"""Documents taken out of the pool to learn from: so many of each source, chosen by a hash of their id.

What a scorer was trained on must not be among what it selects, so a sample leaves the chain as drops with the rule
``sampled``, and its texts are read again where they came from. PreSelect takes 300 documents of each of the 3,000 most
frequent domains.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tilth.corpus.chain import Stored
from tilth.corpus.document import DOCUMENT
from tilth.corpus.errors import UserError
from tilth.corpus.stage import Effect, MapStage, Outcome, drop_rows
from tilth.corpus.store import DROPS, part_name, read_arrow
from tilth.selection.hashed_ngrams import uniform

RULE = "sampled"
COLUMNS = ("id", "text", "source", "bytes")


@dataclass(frozen=True)
class Sample(MapStage):
    """Drop the documents whose draw by ``seed`` is at most their source's limit: (source, limit), limits 0 to 1."""

    limits: tuple[tuple[str, float], ...]
    seed: int

    effect: ClassVar[Effect] = Effect.DROPS
    columns: ClassVar[tuple[str, ...]] = ()

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """Drop the sample; a drop's value is its draw."""
        draws = uniform(batch.column("id"), self.seed)
        limits = dict(self.limits)
        allowed = np.array([limits.get(source, -1.0) for source in batch.column("source").to_pylist()])
        taken = draws <= allowed
        drops = drop_rows(batch, taken, self.name, RULE, value=pa.array(draws[taken]), limit=pa.array(allowed[taken]))
        return Outcome(batch.filter(pa.array(~taken)), drops)


def sample_limits(stored: Stored, documents: int, sources: int | None, seed: int) -> tuple[tuple[str, float], ...]:
    """Return the limit that takes ``documents`` of each source that leaves ``stored``, or all that it has.

    ``sources``: only so many, those with most documents, the first by name among equals. Reads no text.
    """
    draws: dict[str, list[np.ndarray]] = {}
    for part in range(stored.parts):
        for batch in stored.lineage.read(part):
            found = uniform(batch.column("id"), seed)
            names = np.asarray(batch.column("source").to_numpy(zero_copy_only=False), str)
            for name in np.unique(names):
                draws.setdefault(str(name), []).append(found[names == name])
    all_draws: Mapping[str, np.ndarray] = {name: np.concatenate(found) for name, found in draws.items()}
    largest = sorted(all_draws, key=lambda name: (-len(all_draws[name]), name))[:sources]
    return tuple((name, nth_lowest(all_draws[name], documents)) for name in sorted(largest))


def nth_lowest(values: np.ndarray, number: int) -> float:
    """Return the ``number``-th lowest value, or the highest where there are fewer."""
    place = min(number, len(values)) - 1
    return float(np.partition(values, place)[place])


def sampled_documents(stored: Stored) -> pa.Table:
    """Return ``id``, ``text``, ``source``, ``bytes`` of what a sample took out, sorted by id.

    Raises ``UserError`` where it took nothing.
    """
    schema = pa.schema([DOCUMENT.field(name) for name in COLUMNS])
    batches: list[pa.RecordBatch] = []
    for part in range(stored.parts):
        drops = list(read_arrow(stored.folder / DROPS / part_name(part), ["id"], missing_is_empty=True))
        if drops:
            ids = pa.Table.from_batches(drops).column("id").combine_chunks()
            batches += [
                batch.filter(pc.is_in(batch.column("id"), value_set=ids)).select(list(COLUMNS))
                for batch in stored.entering.read(part, ["text"])
            ]
    table = pa.Table.from_batches(batches, schema=schema)
    if not table.num_rows:
        raise UserError(f"stage '{stored.manifest.name}': took no document; raise its number of documents")
    return table.sort_by("id").combine_chunks()
