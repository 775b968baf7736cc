"""Read files of any format as a run would, and hold the ledger's law in every chunk."""

from pathlib import Path
from typing import Any, NamedTuple

from tilth.corpus.readers import read_part
from tilth.corpus.sources import Source, find_files
from tilth.corpus.splits import plan_parts


class Outcome(NamedTuple):
    """What came out of the files of a source."""

    documents: list[dict[str, Any]]
    drops: list[dict[str, Any]]
    records: int

    @property
    def texts(self) -> list[str]:
        return [document["text"] for document in self.documents]

    @property
    def losses(self) -> list[tuple[str, str]]:
        """Rule and detail of every drop."""
        return [(drop["rule"], drop["detail"]) for drop in self.drops]


def read(source: Source, base: Path, part_bytes: int = 1 << 30) -> Outcome:
    """Read all parts in order."""
    documents: list[dict[str, Any]] = []
    drops: list[dict[str, Any]] = []
    records = 0
    uncut = {source.name} if source.limit else set()
    for part in plan_parts(find_files(source, base), part_bytes, uncut):
        for chunk in read_part({source.name: source}, part):
            assert chunk.records == chunk.documents.num_rows + chunk.drops.num_rows
            chunk.documents.validate(full=True)
            chunk.drops.validate(full=True)
            documents += chunk.documents.to_pylist()
            drops += chunk.drops.to_pylist()
            records += chunk.records
    ids = [row["id"] for row in (*documents, *drops)]
    assert len(set(ids)) == len(ids), "two records have one identity"
    return Outcome(documents, drops, records)
