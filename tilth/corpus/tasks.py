"""What engines run: small picklable values, one a part, each of which commits its own result.

A task says nothing to the engine but that it came to its end; what it did stands in the store. So a task may run twice,
on another machine, or after a crash, and the bytes are the same.
"""

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tilth.corpus.document import halves
from tilth.corpus.errors import UserError
from tilth.corpus.stage import GroupStage
from tilth.corpus.store import Lineage, PartWriter, is_temporary, write_atomically

ROOM: Final = 200_000_000  # bytes of keyed rows held at once; their reduction takes about five times as much


class Task(Protocol):
    """One unit of work, picklable and repeatable."""

    @property
    def folder(self) -> Path:
        """The stage folder that it writes to."""

    @property
    def name(self) -> str:
        """What to call it in a message."""

    def run(self) -> None:
        """Do the work and commit it."""


@dataclass(frozen=True)
class GroupJob:
    """A group stage over all parts, as three functions that any engine can string together.

    Keyed rows are cut into ``partitions`` by their key, so that whole groups meet; ``home`` is the part of the document
    that a row speaks about, and brings the reduced rows back to it. The number of partitions follows from the number of
    documents and the memory allowed, never from the workers. ``room`` is how many bytes of keyed rows are held at once.
    """

    stage: GroupStage
    lineage: Lineage
    parts: int
    partitions: int
    folder: Path
    fingerprint: str
    room: int = ROOM

    def keyed(self, part: int) -> Iterator[dict[int, pa.Table]]:
        """Yield the keyed rows of a part by partition, those that are not empty, whenever ``room`` is full."""
        held: list[pa.RecordBatch] = []
        for batch in self.lineage.read(part, self.stage.columns, self.stage.needs):
            rows = self.stage.keys(batch)
            if rows.num_rows:
                held.append(rows.append_column("home", pa.array(np.full(rows.num_rows, part, np.int32))))
            if sum(rows.nbytes for rows in held) > self.room:
                yield self._cut(pa.Table.from_batches(held))
                held = []
        if held:
            yield self._cut(pa.Table.from_batches(held))

    def _cut(self, rows: pa.Table) -> dict[int, pa.Table]:
        """Return rows by partition."""
        partition = partition_of(rows.column("key").combine_chunks(), self.partitions)
        order = np.argsort(partition, kind="stable")
        bounds = np.searchsorted(partition[order], np.arange(self.partitions + 1)).tolist()
        rows = rows.take(pa.array(order))
        pairs = enumerate(pairwise(bounds))
        return {
            number: rows.slice(start, end - start).combine_chunks() for number, (start, end) in pairs if end > start
        }

    def reduced(self, tables: Sequence[pa.Table]) -> Iterator[tuple[int, pa.Table]]:
        """Reduce all rows of one partition; yield (home, rows) for every part that they speak about, ascending."""
        yield from by_home([self.stage.reduce(sorted_by_key(pa.concat_tables(tables)))] if tables else [])

    def reduced_in_turns(self, rows: Callable[[], Iterator[pa.Table]]) -> Iterator[tuple[int, pa.Table]]:
        """Reduce what ``rows`` brings of one partition; where that is more than ``room``, read it again and again.

        Every turn takes some of the keys, chosen by their first eight bytes. A single key is never cut.
        """
        size, tables = 0, list[pa.Table]()
        for table in rows():
            size += table.nbytes
            tables = [*tables, table] if size <= self.room else []
        turns = -(-size // self.room)
        if turns <= 1:
            yield from self.reduced(tables)
            return
        results = []
        for turn in range(turns):
            tables = [table for whole in rows() if (table := self._of_turn(whole, turn, turns)).num_rows]
            if tables:
                results.append(self.stage.reduce(sorted_by_key(pa.concat_tables(tables))))
        yield from by_home(results)

    def _of_turn(self, rows: pa.Table, turn: int, turns: int) -> pa.Table:
        """Return the rows whose key is for this turn."""
        place = partition_of(rows.column("key").combine_chunks(), self.partitions * turns)
        return rows.filter(pa.array(place // self.partitions == turn))

    def apply(self, part: int, tables: Sequence[pa.Table]) -> None:
        """Apply the reduced rows to the documents of a part and commit it."""
        rows = pa.concat_tables(tables) if tables else self.no_rows()
        # by every column: tables come in the order of partitions on one engine, in any order on another
        names = ["id", *(name for name in rows.column_names if name != "id")]
        rows = rows.sort_by([(name, "ascending") for name in names]).combine_chunks()
        with PartWriter(self.folder, part, self.fingerprint, self.stage.effect) as writer:
            for batch in self.lineage.read(part, self.stage.columns, self.stage.needs):
                writer.judge(batch, self.stage.apply(batch, rows))
            writer.commit()

    def no_rows(self) -> pa.Table:
        """Return the empty table of reduced rows: what ``reduce`` makes of nothing."""
        batch = next(self.lineage.read(0, self.stage.columns, self.stage.needs)).slice(0, 0)
        keyed = self.stage.keys(batch)
        keyed = keyed.append_column("home", pa.array([], pa.int32()))
        return self.stage.reduce(pa.Table.from_batches([keyed]))


def sorted_by_key(rows: pa.Table) -> pa.Table:
    """Return rows sorted by all columns, the key first, in one chunk.

    Most keys differ in their first eight bytes, which numpy sorts ten times as fast as Arrow sorts columns; what does
    not is put in order by Arrow.
    """
    rows = rows.combine_chunks()
    heads = halves(rows.column("key").combine_chunks())[:, 0].byteswap() if rows.num_rows else np.zeros(0, np.uint64)
    order = np.argsort(heads)
    same = heads[order][1:] == heads[order][:-1]
    tied = np.flatnonzero(np.append(same, False) | np.append(False, same)) if rows.num_rows else np.zeros(0, np.int64)
    if len(tied):
        some = rows.take(pa.array(order[tied]))
        within = pc.sort_indices(some, [(name, "ascending") for name in some.column_names]).to_numpy()
        order[tied] = order[tied][within]
    return rows.take(pa.array(order)).combine_chunks()


def by_home(results: Sequence[pa.Table]) -> Iterator[tuple[int, pa.Table]]:
    """Yield (home, rows) for every part that reduced rows speak about, ascending, its rows sorted by id."""
    if not results:
        return
    result = pa.concat_tables(results).sort_by([("home", "ascending"), ("id", "ascending")])
    homes, starts = np.unique(result.column("home").to_numpy(), return_index=True)
    bounds = [*starts.tolist(), result.num_rows]
    for home, (start, end) in zip(homes.tolist(), pairwise(bounds), strict=True):
        yield home, result.slice(start, end - start).combine_chunks()


def partition_of(keys: pa.Array, partitions: int) -> np.ndarray:
    """Return the partition of every 16-byte key: its first eight bytes modulo ``partitions``."""
    data = np.frombuffer(keys.buffers()[1], np.uint64)[keys.offset * 2 : (keys.offset + len(keys)) * 2]
    return (data[::2] % np.uint64(partitions)).astype(np.int64)


def failure_folder(folder: Path) -> Path:
    """Return where tasks of a stage leave the message of a failure that the user can mend."""
    return folder / "failed"


def run_task(task: Task) -> None:
    """Run a task in a worker. A ``UserError`` is left in the store for the driver, and tasks that follow do nothing.

    So the message crosses every engine's process boundary as it is, and no engine prints a traceback for it. Other
    exceptions are defects and go up.
    """
    failures = failure_folder(task.folder)
    if failures.is_dir():
        return
    try:
        task.run()
    except UserError as error:
        _leave_failure(failures, task.name, str(error))
    except OSError as error:
        message = storage_message(error, task.folder)
        if message is None:
            raise
        _leave_failure(failures, task.name, message)


def _leave_failure(failures: Path, name: str, message: str) -> None:
    try:
        write_atomically(failures / f"{name}.txt", message.encode())
    except OSError as error:
        # a full disk cannot take the note either: the exception itself must carry it
        raise UserError(message) from error


def storage_message(error: OSError, folder: Path) -> str | None:
    """Return one line for the storage errors that a user can mend, or None for any other."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{folder}: the disk is full; free some space and run the same command again, finished parts are kept"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{error.filename or folder}: permission denied; change the owner or choose another run folder"
    return None


def raise_failure(folder: Path) -> None:
    """Raise the first failure that tasks left behind, if any, as ``UserError``."""
    failures = failure_folder(folder)
    if failures.is_dir():
        notes = sorted(path for path in failures.iterdir() if not is_temporary(path))
        if notes:
            raise UserError(notes[0].read_text())


def clear_failures(folder: Path) -> None:
    """Forget the failures of an earlier attempt and the temporary files of a killed one."""
    failures = failure_folder(folder)
    if failures.is_dir():
        for path in failures.iterdir():
            path.unlink()
        failures.rmdir()
    if folder.is_dir():
        for root, _, names in os.walk(folder):
            for name in names:
                if is_temporary(Path(name)):
                    (Path(root) / name).unlink(missing_ok=True)
