"""Where the parts of a stage lie on disk, and the only code that commits one.

A part is up to four Arrow files (documents, signals, drops, edits) and a receipt. Every file is written under a
temporary name, flushed to the disk and renamed; the receipt, with the digest of each, comes last and is the commit.
Whoever is killed in between leaves temporary files that nobody reads. The manifest of the stage gathers the receipts
when all are there.

A stage that edits writes documents. A stage that only measures or drops writes none: its output is read through its
``Lineage``, the parts of the nearest stage that wrote texts without the documents that were dropped since. On the demo
corpus this writes each text twice (read, normalise) where one copy a stage would write it seven times.
"""

import json
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from tilth.corpus.document import DOCUMENT, DROP, EDIT
from tilth.corpus.errors import UserError
from tilth.corpus.ledger import Account, LedgerError
from tilth.corpus.stage import Effect, Outcome

DOCUMENTS, SIGNALS, DROPS, EDITS = ".", "signals", "drops", "edits"
ALWAYS_READ = ("id", "source", "bytes", "digest")
FORMAT = 2  # raised when the layout of a stage folder changes


def part_name(part: int) -> str:
    """Return the file name of a part: the same in every folder of a stage."""
    return f"part-{part:05d}.arrow"


def file_digest(path: Path) -> str:
    """Return the xxh3-128 of a file as 32 hex digits, read in pieces of 4 MiB."""
    state = xxhash.xxh3_128()
    with path.open("rb") as stream:
        while piece := stream.read(4 << 20):
            state.update(piece)
    return state.hexdigest()


def write_atomically(path: Path, data: bytes) -> None:
    """Write a small file so that it is whole or absent, whatever happens in between."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    try:
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def temporary_name(path: Path) -> Path:
    """Return a name beside ``path`` that no other process chooses and that no reader looks at."""
    return path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp")


def is_temporary(path: Path) -> bool:
    """Tell whether ``temporary_name`` made this name."""
    return path.name.startswith(".") and path.name.endswith(".tmp")


@dataclass(frozen=True)
class FileRecord:
    """Size in bytes and xxh3-128 digest of a committed file."""

    bytes: int
    digest: str


@dataclass(frozen=True)
class Receipt:
    """The commit of one part: what the ledger counted and which files hold it."""

    part: int
    fingerprint: str
    account: Account
    files: Mapping[str, FileRecord]  # path relative to the stage folder

    def to_json(self) -> dict[str, Any]:
        """Return JSON's types."""
        files = {name: asdict(record) for name, record in self.files.items()}
        return {
            "format": FORMAT,
            "part": self.part,
            "fingerprint": self.fingerprint,
            "account": self.account.to_json(),
            "files": files,
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "Receipt":
        """Return the receipt that ``to_json`` described."""
        files = {name: FileRecord(**record) for name, record in data["files"].items()}
        return Receipt(data["part"], data["fingerprint"], Account.from_json(data["account"]), files)

    def whole(self, folder: Path) -> bool:
        """Tell whether every file is there with the size and the digest it was committed with."""
        for name, record in self.files.items():
            path = folder / name
            if not path.is_file() or path.stat().st_size != record.bytes or file_digest(path) != record.digest:
                return False
        return True


def receipt_path(folder: Path, part: int) -> Path:
    """Return where the receipt of a part lies."""
    return folder / "receipts" / f"part-{part:05d}.json"


def read_receipt(folder: Path, part: int, fingerprint: str) -> Receipt | None:
    """Return the receipt of a part, or None where it is absent, damaged or of another configuration."""
    path = receipt_path(folder, part)
    if not path.is_file():
        return None
    try:
        data = json.loads(path.read_bytes())
        if data["format"] != FORMAT or data["fingerprint"] != fingerprint:
            return None
        return Receipt.from_json(data)
    except (ValueError, KeyError, TypeError):  # not what to_json gave: whatever it was, it commits nothing
        return None


class ArrowWriter:
    """One Arrow IPC file under a temporary name; nothing exists under its own name before ``commit``.

    As a context manager it leaves nothing behind when it is left with an exception.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.temporary = temporary_name(path)
        self.stream = self.temporary.open("wb")
        # zstd level 1: a third of the disk at about 1 GB/s a core to read
        options = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", compression_level=1), use_threads=False)
        self.writer = pa.ipc.new_file(self.stream, schema, options=options)

    def __enter__(self) -> "ArrowWriter":
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if error is not None:
            self.abandon()

    def write(self, batch: pa.RecordBatch | pa.Table) -> None:
        """Append a batch."""
        self.writer.write(batch)

    def finish(self) -> None:
        """Flush to the disk and take the final name."""
        self.writer.close()
        self.stream.flush()
        os.fsync(self.stream.fileno())
        self.stream.close()
        self.temporary.replace(self.path)

    def commit(self) -> FileRecord:
        """Finish the file; return size and digest."""
        self.finish()
        return FileRecord(self.path.stat().st_size, file_digest(self.path))

    def abandon(self) -> None:
        """Leave nothing behind."""
        self.stream.raw.close()  # the stream's own close would write out its buffer, and fail once more on a full disk
        self.temporary.unlink(missing_ok=True)


class PartWriter:
    """Collects what a stage says about the batches of one part and commits it, if the ledger's law holds.

    Used as a context manager: leaving it with an exception leaves nothing behind.
    """

    def __init__(self, folder: Path, part: int, fingerprint: str, effect: Effect) -> None:
        self.folder = folder
        self.part = part
        self.fingerprint = fingerprint
        self.effect = effect
        self.account = Account()
        self.writers: dict[str, ArrowWriter] = {}

    def __enter__(self) -> "PartWriter":
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        for writer in self.writers.values():
            writer.abandon()

    def _write(self, place: str, batch: pa.RecordBatch, schema: pa.Schema, *, even_empty: bool = False) -> None:
        if batch.num_rows == 0 and not even_empty:
            return
        if place not in self.writers:
            self.writers[place] = ArrowWriter(self.folder / place / part_name(self.part), schema)
        self.writers[place].write(batch)

    def read(self, documents: pa.RecordBatch, drops: pa.RecordBatch, records: int) -> None:
        """Take a chunk that a reader brought: ``records`` = documents + drops, or the part is not committed."""
        self.account.read(documents, drops, records)
        self._write(DOCUMENTS, documents, DOCUMENT, even_empty=True)
        self._write(DROPS, drops, DROP)

    def judge(self, batch: pa.RecordBatch, outcome: Outcome) -> None:
        """Take what a stage said about ``batch``. Raises ``LedgerError`` where that cannot be."""
        try:
            self.account.judge(batch, outcome, self.effect)
        except LedgerError as error:
            raise LedgerError(f"{self.folder} part {self.part}: {error}") from error
        if self.effect is Effect.EDITS:
            self._write(DOCUMENTS, outcome.kept.select(DOCUMENT.names), DOCUMENT, even_empty=True)
        if outcome.signals:
            names = sorted(outcome.signals)
            arrays = [batch.column("id"), *(outcome.signals[name] for name in names)]
            signals = pa.RecordBatch.from_arrays(arrays, names=["id", *names])
            self._write(SIGNALS, signals, signals.schema, even_empty=True)
        self._write(DROPS, outcome.drops, DROP)
        self._write(EDITS, outcome.edits, EDIT)

    def commit(self) -> Receipt:
        """Check the law, name the files, write the receipt. Raises ``LedgerError`` before anything shows."""
        self.account.check(str(self.folder), self.part)
        if self.effect is Effect.EDITS and DOCUMENTS not in self.writers:
            self._write(DOCUMENTS, pa.RecordBatch.from_pylist([], schema=DOCUMENT), DOCUMENT, even_empty=True)
        files = {}
        for place in sorted(self.writers):
            name = (Path(place) / part_name(self.part)).as_posix()
            files[name] = self.writers[place].commit()
        self.writers.clear()
        for place in {DOCUMENTS, SIGNALS, DROPS, EDITS} - {Path(name).parent.as_posix() for name in files}:
            # left by other code under the same version: readers would take it for this part's
            (self.folder / place / part_name(self.part)).unlink(missing_ok=True)
        receipt = Receipt(self.part, self.fingerprint, self.account, files)
        data = json.dumps(receipt.to_json(), sort_keys=True, separators=(",", ":")).encode()
        write_atomically(receipt_path(self.folder, self.part), data)
        return receipt


@dataclass(frozen=True)
class Manifest:
    """What a finished stage is: its description, its fingerprint, the receipts of all its parts."""

    index: int
    description: Mapping[str, Any]
    effect: str
    measures: tuple[str, ...]
    fingerprint: str
    receipts: tuple[Receipt, ...]

    @property
    def name(self) -> str:
        """The stage's name in the recipe."""
        return str(self.description["name"])

    @property
    def account(self) -> Account:
        """The sum of all parts' accounts."""
        return Account.total(receipt.account for receipt in self.receipts)

    def write(self, folder: Path) -> None:
        """Write ``_manifest.json``: the last file of a stage."""
        data = {
            "format": FORMAT,
            "index": self.index,
            "description": self.description,
            "effect": self.effect,
            "measures": list(self.measures),
            "fingerprint": self.fingerprint,
            "set_digest": self.account.set_digest,
            "account": self.account.to_json(),
            "parts": [receipt.to_json() for receipt in self.receipts],
        }
        write_atomically(folder / "_manifest.json", json.dumps(data, sort_keys=True, indent=1).encode())

    @staticmethod
    def read(folder: Path) -> "Manifest | None":
        """Return the manifest of a folder, or None where the stage did not finish."""
        path = folder / "_manifest.json"
        if not path.is_file():
            return None
        try:
            data = json.loads(path.read_bytes())
            if data["format"] != FORMAT:
                return None
            return Manifest(
                data["index"],
                data["description"],
                data["effect"],
                tuple(data["measures"]),
                data["fingerprint"],
                tuple(Receipt.from_json(part) for part in data["parts"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path}: not a manifest of tilth ({error}); delete the folder to run the stage again"
            ) from error


@dataclass(frozen=True)
class Lineage:
    """How to read the documents that a stage hands on, at one part.

    ``text`` is the folder whose parts hold the texts, ``dropped`` the folders of the stages since then whose drops are
    to be left out, ``signals`` where each signal was measured.
    """

    text: str
    dropped: tuple[str, ...] = ()
    signals: Mapping[str, str] = field(default_factory=dict)

    def after(self, folder: Path, effect: str, measures: Iterable[str]) -> "Lineage":
        """Return the lineage of the documents that leave a stage, given that of those that enter it."""
        signals = {**self.signals, **dict.fromkeys(measures, str(folder))}
        if effect == "edits":
            return Lineage(str(folder), (), signals)
        dropped = (*self.dropped, str(folder)) if effect == "drops" else self.dropped
        return Lineage(self.text, dropped, signals)

    def read(self, part: int, columns: Sequence[str] = (), needs: Sequence[str] = ()) -> Iterator[pa.RecordBatch]:
        """Yield the batches of a part: ``id``, ``source``, ``bytes``, ``digest``, ``columns``, then the signals needed.

        Only the columns that are asked for are decompressed. Raises ``UserError`` where a signal was never measured.
        """
        names = [*ALWAYS_READ, *(column for column in columns if column not in ALWAYS_READ)]
        gone = self._dropped_ids(part)
        measured = {name: _Measured(self._signal(part, name)) for name in needs}
        for batch in read_arrow(Path(self.text) / part_name(part), names):
            if gone is not None:
                batch = batch.filter(pc.invert(pc.is_in(batch.column("id"), value_set=gone)))
            for name, signal in measured.items():
                batch = batch.append_column(name, signal.of(batch.column("id")))
            yield batch

    def _dropped_ids(self, part: int) -> pa.Array | None:
        tables = [
            pa.Table.from_batches(batches)
            for folder in self.dropped
            if (batches := list(read_arrow(Path(folder) / DROPS / part_name(part), ["id"], missing_is_empty=True)))
        ]
        return pa.concat_tables(tables).column("id").combine_chunks() if tables else None

    def _signal(self, part: int, name: str) -> pa.Table:
        folder = self.signals.get(name)
        if folder is None:
            known = ", ".join(sorted(self.signals)) or "none"
            raise UserError(f"signal '{name}' was not measured before this stage (measured so far: {known})")
        return pa.Table.from_batches(list(read_arrow(Path(folder) / SIGNALS / part_name(part), ["id", name])))


class _Measured:
    """The values of a signal at one part, looked up by id.

    Documents mostly come in the order in which they were measured. Then a slice is what is wanted, and comparing ids is
    thirty times as fast as looking them up.
    """

    def __init__(self, table: pa.Table) -> None:
        self.ids, self.values = (column.combine_chunks() for column in table.columns)
        self.next = 0

    def of(self, ids: pa.Array) -> pa.Array:
        """Return the values of these documents; null where there is none."""
        start, self.next = self.next, self.next + len(ids)
        if self.ids.slice(start, len(ids)).equals(ids):
            return self.values.slice(start, len(ids))
        return self.values.take(pc.index_in(ids, value_set=self.ids))


def read_arrow(
    path: Path, columns: Sequence[str] | None = None, *, missing_is_empty: bool = False
) -> Iterator[pa.RecordBatch]:
    """Yield the record batches of an Arrow IPC file; only ``columns``, in that order, where given.

    Raises ``UserError`` where the file is missing or damaged.
    """
    if missing_is_empty and not path.is_file():
        return
    try:
        with pa.memory_map(str(path)) as source:
            reader = pa.ipc.open_file(source)
            if columns is not None:
                places = [reader.schema.get_field_index(name) for name in columns]
                if -1 in places:
                    absent = columns[places.index(-1)]
                    raise UserError(
                        f"{path}: column '{absent}' not found; columns are {', '.join(reader.schema.names)}"
                    )
                reader = pa.ipc.open_file(source, options=pa.ipc.IpcReadOptions(included_fields=sorted(places)))
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number)
                yield batch if columns is None else batch.select(list(columns))
    except FileNotFoundError as error:
        raise UserError(f"{path}: missing; run the same command again to write it anew") from error
    except (pa.ArrowInvalid, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the disk's; a decoder's has no number
            raise
        raise UserError(f"{path}: damaged ({error}); run the same command again to write it anew") from error
