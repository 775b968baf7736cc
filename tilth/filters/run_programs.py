"""Executes the programs that a file of the user's holds for documents (see ``tilth.filters.programs``)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import orjson
import pyarrow as pa

from tilth.corpus.errors import UserError
from tilth.corpus.stage import Asset, Effect, MapStage, Outcome, drop_rows
from tilth.corpus.store import file_digest
from tilth.filters.edits import apply_edits, edit_rows
from tilth.filters.programs import Chunk, execute
from tilth.filters.spans import with_texts


@dataclass(frozen=True)
class RunPrograms(MapStage):
    """Edits and drops documents as their programs say; those without a program go on.

    Programs come from ``file``, JSON lines ``{"id": 32 hex digits, "program": text}`` where the program may also be a
    list of ``{"program": text, "first": line, "last": line}``, one a chunk; or from the ``field`` of the documents'
    metadata, in the same two forms. Drops have the rules ``NAME.drop_doc`` and ``NAME.little_left``; the signal
    ``NAME.bad`` counts the calls that made no sense.
    """

    file: Asset | None = None
    field: str | None = None

    version: ClassVar[int] = 1
    effect: ClassVar[Effect] = Effect.EDITS
    columns: ClassVar[tuple[str, ...]] = ("text", "url", "date", "language", "metadata")

    @property
    def measures(self) -> tuple[str, ...]:
        """How many calls made no sense."""
        return (f"{self.name}.bad",)

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """Run the programs of a batch. Raises ``UserError`` where a program is not given as text or chunks."""
        text, ids = batch.column("text"), batch.column("id")
        programs = self._programs(batch)
        bad = np.zeros(batch.num_rows)
        reasons: dict[int, str] = {}
        edits = {}
        for row, chunks in programs.items():
            verdict = execute(text[row].as_py(), chunks, self.name)
            bad[row] = verdict.bad
            if verdict.drop is not None:
                reasons[row] = f"{self.name}.{verdict.drop}"
            elif verdict.edits:
                edits[row] = verdict.edits
        gone, mask = np.zeros(batch.num_rows, np.bool_), np.zeros(batch.num_rows, np.bool_)
        gone[list(reasons)], mask[list(edits)] = True, True
        drops = drop_rows(batch, gone, self.name, pa.array(list(reasons.values()), pa.string()))
        signals = {self.measures[0]: pa.array(bad)}
        if not edits:
            return Outcome(batch.filter(pa.array(~gone)), drops, signals=signals)
        changed = pa.array([apply_edits(text[row].as_py().encode(), own).decode() for row, own in edits.items()])
        kept = with_texts(batch, mask, changed).filter(pa.array(~gone))
        rows = edit_rows([ids[row].as_py() for row in edits], list(edits.values()))
        return Outcome(kept, drops, rows, signals)

    def _programs(self, batch: pa.RecordBatch) -> dict[int, list[Chunk]]:
        """Return the programs of a batch by row, in the order of the rows."""
        if self.file is not None:
            known = read_programs(self.file.path, self.file.digest)
            ids = batch.column("id").to_pylist()
            return {row: known[identity] for row, identity in enumerate(ids) if identity in known}
        found = {}
        for row, metadata in enumerate(batch.column("metadata").to_pylist()):
            value = orjson.loads(metadata).get(self.field) if metadata else None
            if value is not None:
                found[row] = chunks_of(value, f"{self.name}: field '{self.field}' of {batch['id'][row].as_py().hex()}")
        return found


@lru_cache(maxsize=2)
def read_programs(path: str, digest: str) -> Mapping[bytes, list[Chunk]]:
    """Read a file of programs, once a process. Raises ``UserError`` that names the line that is wrong."""
    if not Path(path).is_file() or file_digest(Path(path)) != digest:
        raise UserError(f"{path}: is not the file of programs that the recipe was checked with; run it again")
    programs = {}
    for number, line in enumerate(Path(path).read_bytes().splitlines(), 1):
        where = f"{path}:{number}"
        try:
            record = orjson.loads(line)
            identity = bytes.fromhex(record["id"])
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise UserError(f'{where}: expected {{"id": 32 hex digits, "program": ...}}') from error
        programs[identity] = chunks_of(record.get("program"), where)
    return programs


def chunks_of(value: Any, where: str) -> list[Chunk]:
    """Read a program or a list of chunks. Raises ``UserError`` that says where it is wrong."""
    if isinstance(value, str):
        return [Chunk(value)]
    chunks = []
    for item in value if isinstance(value, list) else [None]:
        given: dict[str, Any] = item if isinstance(item, dict) else {}
        program, first, last = given.get("program"), given.get("first", 0), given.get("last")
        if not isinstance(program, str) or type(first) is not int or not (last is None or type(last) is int):
            raise UserError(f"{where}: program: expected a text, or a list of {{program, first, last}}")
        chunks.append(Chunk(program, first, last))
    return chunks
