"""The chain: raw files in, one stored stage after another out; what is stored and still true is not done again.

The fingerprint of a stage is made of its own description and of the fingerprint of the stage before it, down to the
content of the input files, so a changed limit, model or file re-runs that stage and what follows it, and nothing else.
"""

import fcntl
import json
import math
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tilth.corpus.engines import Engine
from tilth.corpus.errors import UserError
from tilth.corpus.ledger import LedgerError
from tilth.corpus.one_pass import TIMES, Pass, Place, pass_name
from tilth.corpus.readers import read_part
from tilth.corpus.readers.chunk import LEFT_OUT, UNREAD
from tilth.corpus.repeated import (
    find_repeated,
    ids_of,
    parts_with,
    read_repeated,
    repeated_by_source,
    write_repeated,
)
from tilth.corpus.sources import Source, check_allowance
from tilth.corpus.splits import Part
from tilth.corpus.stage import Effect, GroupStage, MapStage, Stage, fingerprint
from tilth.corpus.store import (
    DROPS,
    Lineage,
    Manifest,
    PartWriter,
    part_name,
    read_arrow,
    read_receipt,
    receipt_path,
)
from tilth.corpus.tasks import GroupJob, clear_failures, raise_failure

INDEX = "run.json"  # names the folders of a run
READ_VERSION = 2  # raised when readers change what they bring
MEMORY = 2 << 30  # bytes that one process may take
BASE = 400 << 20  # of these, what Python, Arrow, compiled kernels and a batch of texts take
FOLD = 8  # memory of a reduction over the keyed rows that it is given, at most: seen 3 to 6

Digests = Mapping[str, Mapping[str, str]]  # source -> relative name -> xxh3-128 of the file
Progress = Callable[[str, int, int], None]  # stage, parts done, parts in all
Check = Callable[[Manifest, Path], None]  # raises what is wrong with what a stage did, given its folder


class NotStored(Exception):
    """A dry chain came to a stage that would have to run."""


def silent(stage: str, done: int, total: int) -> None:
    """Show no progress."""


@dataclass(frozen=True)
class Stored:
    """A finished stage: what it is, where it lies, and how to read the documents that leave it."""

    folder: Path
    manifest: Manifest
    lineage: Lineage
    upstream: "Stored | None" = None
    reused: bool = False

    @property
    def parts(self) -> int:
        """Number of parts, the same along the whole chain."""
        return len(self.manifest.receipts)

    @property
    def entering(self) -> Lineage:
        """How to read the documents that entered the stage. Raises ``UserError`` for the reading stage itself."""
        if self.upstream is None:
            raise UserError(f"{self.folder}: nothing enters the reading stage but files")
        return self.upstream.lineage

    def stages(self) -> list["Stored"]:
        """Return the chain up to here, first stage first."""
        return [*(self.upstream.stages() if self.upstream else []), self]


@dataclass(frozen=True)
class ReadTask:
    """Read one part of the input."""

    source: Source
    input: Part
    part: int
    folder: Path
    fingerprint: str
    repeated: frozenset[bytes] = frozenset()  # ids of this source that several records carry

    @property
    def name(self) -> str:
        """Stage and part."""
        return f"read part {self.part}"

    def run(self) -> None:
        """Read every slice and commit."""
        with PartWriter(self.folder, self.part, self.fingerprint, Effect.EDITS) as writer:
            for chunk in read_part({self.source.name: self.source}, self.input, self.repeated):
                writer.read(chunk.documents, chunk.drops, chunk.records)
            writer.commit()


@dataclass(frozen=True)
class Chain:
    """Where stages are stored, what runs them, and who is told. A ``dry`` chain finds, and runs nothing.

    ``memory`` is how many bytes one process may take; it decides how rows are spilled, never what comes out.
    """

    root: Path
    engine: Engine
    progress: Progress = silent
    dry: bool = False
    memory: int = MEMORY
    done: list[Stored] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)  # of every stage, by the clock

    def read(self, sources: Mapping[str, Source], parts: Sequence[Part], digests: Digests) -> Stored:
        """Read the input; ``digests`` are those of the files, by source and relative name.

        Ids that several records carry are counted in the description, and their records known by id and place.
        Raises ``UserError`` where a source lost more records than its allowance.
        """
        reading = {name: source.reading for name, source in sources.items()}
        slices = [
            [(cut.source, cut.file.relative, cut.file.format, cut.start, cut.end) for cut in part.slices]
            for part in parts
        ]
        description: dict[str, Any] = {"stage": "Read", "version": READ_VERSION, "name": "read", "sources": reading}
        own = fingerprint(description, digests, slices)
        folder = self._folder(0, "read", own)

        def read_parts(numbers: Sequence[int], repeated: pa.Table) -> None:
            self.engine.run(
                [
                    ReadTask(
                        sources[parts[part].source],
                        parts[part],
                        part,
                        folder,
                        own,
                        ids_of(repeated, parts[part].source),
                    )
                    for part in numbers
                ]
            )
            raise_failure(folder)

        def run(missing: Sequence[int]) -> None:
            known = read_repeated(folder)
            read_parts(missing, known)
            if not any(source.id for source in sources.values()):
                return
            while (found := find_repeated(folder, len(parts), self.memory)).num_rows or known.num_rows:
                known = pa.concat_tables([known, found])
                affected = parts_with(folder, len(parts), known.column("id").combine_chunks())
                if not affected:
                    break
                if found.num_rows:
                    write_repeated(folder, known)
                for part in affected:
                    receipt_path(folder, part).unlink()
                read_parts(affected, known)
            if known.num_rows:
                description["repeated_ids"] = repeated_by_source(known)

        def check(manifest: Manifest) -> None:
            if any(source.id for source in sources.values()):
                check_identity(Stored(folder, manifest, Lineage(str(folder))), self.memory)

        manifest, reused = self._finish(folder, own, 0, description, "edits", (), len(parts), run, check)
        sizes: dict[str, int] = {}
        for part in parts:
            sizes[part.source] = sizes.get(part.source, 0) + part.size
        _check_read(manifest, sources, sizes, folder)  # of what was found too: an allowance may have become smaller
        stored = Stored(folder, manifest, Lineage(str(folder)), None, reused)
        self.done.append(stored)
        return stored

    def apply(self, stage: Stage, upstream: Stored, *, check: Check | None = None) -> Stored:
        """Run a stage over the documents that leave ``upstream``, or find it done.

        ``check`` is given what the stage did and its folder before it counts as done; what it raises leaves the parts
        where they are, so that the same command with another allowance finds them.
        """
        if isinstance(stage, MapStage):
            return self.apply_all([stage], upstream, check=check)[0]
        if not isinstance(stage, GroupStage):
            raise TypeError(f"{stage.name}: neither a MapStage nor a GroupStage")
        place = self._place(stage, upstream.manifest.index + 1, upstream.manifest.fingerprint)

        def run(missing: Sequence[int]) -> None:
            if not missing:
                return
            account = upstream.manifest.account
            keyed = stage.keyed_bytes(account.documents_out, account.bytes_out)
            room = keyed_room(self.memory)
            partitions = max(4, math.ceil(keyed / room))
            check_disk(stage.name, place.folder, keyed)
            self.engine.group(
                GroupJob(stage, upstream.lineage, upstream.parts, partitions, place.folder, place.fingerprint, room),
                missing,
            )

        start = time.perf_counter()
        manifest, reused = self._finish(
            place.folder,
            place.fingerprint,
            upstream.manifest.index + 1,
            stage.describe(),
            stage.effect.value,
            stage.measures,
            upstream.parts,
            run,
            partial(_check_stage, check, upstream, place.folder),
        )
        if check is not None and reused:  # the allowance may have become smaller
            check(manifest, place.folder)
        stored = _stored(stage, place, manifest, upstream, reused=reused)
        self.seconds[stage.name] = time.perf_counter() - start
        self.done.append(stored)
        return stored

    def apply_all(self, stages: Sequence[MapStage], upstream: Stored, *, check: Check | None = None) -> list[Stored]:
        """Run map stages in one pass over the documents that leave ``upstream``; those that are done are found.

        They are stored as if one had been applied after another, file by file. ``check`` as in ``apply``, for each.
        """
        parts, first = upstream.parts, upstream.manifest.index + 1
        places: list[Place] = []
        for number, stage in enumerate(stages):
            fingerprint_before = places[-1].fingerprint if places else upstream.manifest.fingerprint
            places.append(self._place(stage, first + number, fingerprint_before))
        found = [_found(place.folder, place.fingerprint, parts) for place in places]
        start = time.perf_counter()
        if None in found:
            if self.dry:
                raise NotStored(stages[found.index(None)].name)
            missing = [
                set() if manifest is not None else set(_begin(place.folder, place.fingerprint, parts))
                for place, manifest in zip(places, found, strict=True)
            ]
            self._run_pass(stages, places, missing, upstream)
        done: list[Stored] = []
        for number, (stage, place, known) in enumerate(zip(stages, places, found, strict=True)):
            before = done[-1] if done else upstream
            manifest = known or _close(
                place.folder,
                place.fingerprint,
                first + number,
                stage.describe(),
                stage.effect.value,
                stage.measures,
                parts,
                partial(_check_stage, check, before, place.folder),
            )
            if known is not None:
                self.progress(stage.name, parts, parts)
                if check is not None:  # the allowance may have become smaller
                    check(manifest, place.folder)
            done.append(_stored(stage, place, manifest, before, reused=known is not None))
        elapsed = time.perf_counter() - start
        shares = _shares(stages, places)
        for stage in stages:
            self.seconds[stage.name] = elapsed * shares[stage.name]
        self.done.extend(done)
        return done

    def _run_pass(
        self, stages: Sequence[MapStage], places: Sequence[Place], missing: Sequence[set[int]], upstream: Stored
    ) -> None:
        """Run what is missing: for every part the stages that lack it, neighbours together."""
        lineages = [upstream.lineage]
        for stage, place in zip(stages, places, strict=True):
            lineages.append(lineages[-1].after(place.folder, stage.effect.value, stage.measures))
        tasks = [
            Pass(tuple(stages[start:end]), tuple(places[start:end]), lineages[start], part)
            for part in range(upstream.parts)
            for start, end in neighbours([part in lacking for lacking in missing])
        ]
        at_work = [stage for stage, lacking in zip(stages, missing, strict=True) if lacking]
        last = places[max(number for number, lacking in enumerate(missing) if lacking)] if at_work else places[-1]
        with reporting(last.folder, pass_name(at_work or stages), upstream.parts, self.progress):
            self.engine.run(tasks)
        for place in places:
            raise_failure(place.folder)

    def _place(self, stage: Stage, index: int, before: str) -> Place:
        """Return where a stage is stored, after a stage of the fingerprint ``before``."""
        own = fingerprint(stage.describe(), before)
        return Place(self._folder(index, stage.name, own), own)

    def _folder(self, index: int, name: str, own: str) -> Path:
        return self.root / "stages" / f"{index:02d}-{name}-{own[:6]}"

    def _finish(
        self,
        folder: Path,
        own: str,
        index: int,
        description: Mapping[str, Any],
        effect: str,
        measures: tuple[str, ...],
        parts: int,
        run: Callable[[Sequence[int]], None],
        check: Callable[[Manifest], None],
    ) -> tuple[Manifest, bool]:
        """Bring a stage to its end: find what is done and whole, run the rest, check, write the manifest."""
        name = str(description["name"])
        manifest = _found(folder, own, parts)
        if manifest is not None:
            self.progress(name, parts, parts)
            return manifest, True
        if self.dry:
            raise NotStored(name)
        missing = _begin(folder, own, parts)
        with reporting(folder, name, parts, self.progress):
            run(missing)
        raise_failure(folder)
        return _close(folder, own, index, description, effect, measures, parts, check), False


def _found(folder: Path, own: str, parts: int) -> Manifest | None:
    """Return the manifest of a stage that is stored under this fingerprint, with every part whole; or None."""
    manifest = Manifest.read(folder)
    if manifest is None or manifest.fingerprint != own or len(manifest.receipts) != parts:
        return None
    return manifest if all(receipt.whole(folder) for receipt in manifest.receipts) else None


def _begin(folder: Path, own: str, parts: int) -> list[int]:
    """Clear what a stage must not believe, and return the parts that it lacks."""
    clear_failures(folder)
    (folder / "_manifest.json").unlink(missing_ok=True)
    missing = []
    for part in range(parts):
        receipt = read_receipt(folder, part, own)
        if receipt is None or not receipt.whole(folder):
            receipt_path(folder, part).unlink(missing_ok=True)
            missing.append(part)
    return missing


def _close(
    folder: Path,
    own: str,
    index: int,
    description: Mapping[str, Any],
    effect: str,
    measures: tuple[str, ...],
    parts: int,
    check: Callable[[Manifest], None],
) -> Manifest:
    """Gather the receipts of all parts, check what they say, write the manifest."""
    receipts = []
    for part in range(parts):
        receipt = read_receipt(folder, part, own)
        if receipt is None:
            raise RuntimeError(f"{folder}: part {part} was run but not committed")
        receipts.append(receipt)
    manifest = Manifest(index, description, effect, tuple(measures), own, tuple(receipts))
    check(manifest)
    manifest.write(folder)
    return manifest


def _check_stage(check: Check | None, before: Stored, folder: Path, manifest: Manifest) -> None:
    """Raise what is wrong with a stage before it counts as done."""
    _check_entered(manifest, before, folder)
    if check is not None:
        check(manifest, folder)


def _stored(stage: Stage, place: Place, manifest: Manifest, upstream: Stored, *, reused: bool) -> Stored:
    lineage = upstream.lineage.after(place.folder, stage.effect.value, stage.measures)
    return Stored(place.folder, manifest, lineage, upstream, reused)


def neighbours(wanted: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of every unbroken run of true values."""
    start = 0
    for place, value in enumerate([*wanted, False]):
        if not value:
            if place > start:
                yield start, place
            start = place + 1


def _shares(stages: Sequence[MapStage], places: Sequence[Place]) -> dict[str, float]:
    """Return each stage's share of the processor time of a pass, and forget the parts' notes of it."""
    spent = dict.fromkeys((stage.name for stage in stages), 0.0)
    for number, place in enumerate(places):
        folder = place.folder / TIMES
        for path in sorted(folder.glob("*.json")):
            try:
                seconds = json.loads(path.read_bytes())
            except ValueError:  # of a killed run: a note, and nothing that counts
                seconds = []
            for stage, one in zip(stages[number:], seconds, strict=False):
                spent[stage.name] += one
        shutil.rmtree(folder, ignore_errors=True)
    total = sum(spent.values())
    return {name: value / total if total else 1 / len(spent) for name, value in spent.items()}


def keyed_room(memory: int) -> int:
    """Return how many bytes of keyed rows a process with so much memory may hold at once."""
    return max(1 << 20, (memory - BASE) // FOLD)


def check_disk(name: str, folder: Path, keyed: int) -> None:
    """Raise ``UserError`` where the rows that a group stage spills would not fit beside what the disk holds.

    What was spilled before a run was killed counts as room.
    """
    spilled = sum(path.stat().st_size for path in folder.glob("spill-*/keys/*.arrow"))
    free = shutil.disk_usage(folder.parents[1]).free
    if keyed > free + spilled:
        raise UserError(
            f"stage '{name}': its rows need about {keyed / 1e9:,.1f} GB of disk in {folder.parents[1]}, "
            f"{free / 1e9:,.1f} GB are free; free some or choose --runs on another disk"
        )


def _check_entered(manifest: Manifest, upstream: Stored, folder: Path) -> None:
    """Raise ``LedgerError`` unless what entered every part is what left the stage before; such a part is not kept."""
    for receipt, before in zip(manifest.receipts, upstream.manifest.receipts, strict=True):
        came = (receipt.account.documents_in, receipt.account.bytes_in)
        left = (before.account.documents_out, before.account.bytes_out)
        if came != left:
            receipt_path(folder, receipt.part).unlink()
            raise LedgerError(
                f"{folder} part {receipt.part}: {came[0]} documents and {came[1]} bytes came in, "
                f"but {left[0]} and {left[1]} left {upstream.folder.name}"
            )


def _check_read(manifest: Manifest, sources: Mapping[str, Source], sizes: Mapping[str, int], folder: Path) -> None:
    """Hold every source's allowance of damage; raise ``UserError`` for a corpus without a document.

    ``sizes`` are the bytes on disk of every source's files.
    """
    account = manifest.account
    for name, source in sources.items():
        dropped = {rule: counts for rule, counts in account.dropped.get(name, {}).items() if rule not in LEFT_OUT}
        lost = sum(documents for documents, _ in dropped.values())
        if lost:
            records = account.kept.get(name, [0, 0])[0] + lost
            unread = sum(size for rule, (_, size) in dropped.items() if rule in UNREAD)
            example = _first_detail(manifest, folder, name)
            check_allowance(source, records, lost, example, size=sizes.get(name, 0), unread=unread)
    if account.documents_out == 0:
        raise UserError("the corpus is empty: no source holds a readable document; see 'tilth check'")


def _first_detail(manifest: Manifest, folder: Path, source: str) -> str | None:
    """Return file, offset and reason of the first record of a source that could not be read."""
    for receipt in manifest.receipts:
        for batch in read_arrow(folder / DROPS / part_name(receipt.part), missing_is_empty=True):
            lost = pc.and_not(
                pc.equal(batch.column("source"), source), pc.is_in(batch.column("rule"), pa.array(sorted(LEFT_OUT)))
            )
            for row in batch.filter(lost).slice(0, 1).to_pylist():
                return str(row["detail"])
    return None


def check_identity(stored: Stored, memory: int = MEMORY) -> None:
    """Raise ``UserError`` where two documents still have one identity: the ledger could not tell them apart."""
    for source, counts in repeated_by_source(find_repeated(stored.folder, stored.parts, memory)).items():
        raise UserError(
            f"source '{source}': {counts['ids']} ids are also made of another id and a place; name another field as "
            "the source's 'id', or leave 'id' out to identify records by their place"
        )


@contextmanager
def reporting(folder: Path, name: str, parts: int, progress: Progress) -> Iterator[None]:
    """Tell the progress of a stage from the receipts in its folder, whoever writes them."""
    stop = threading.Event()
    receipts = folder / "receipts"

    def count() -> int:
        return sum(1 for path in receipts.glob("part-*.json")) if receipts.is_dir() else 0

    def watch() -> None:
        while not stop.wait(0.2):
            progress(name, count(), parts)

    thread = threading.Thread(target=watch, daemon=True)
    progress(name, count(), parts)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        progress(name, count(), parts)


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold a run folder for one driver at a time.

    Raises ``UserError`` where another holds it or where it cannot be written.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        handle = os.open(root / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise UserError(
            f"{root}: cannot be written ({error.strerror}); change the owner or choose another folder"
        ) from error
    held = [handle]

    def release() -> None:
        while held:
            os.close(held.pop())

    # a forked helper that outlives a killed driver would hold the lock; once released, this does nothing
    os.register_at_fork(after_in_child=release)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"{root}: another run is at work in this folder; wait for it or choose another name"
            ) from error
        yield
    finally:
        if held:  # not in a forked child that comes by here
            fcntl.flock(handle, fcntl.LOCK_UN)
        release()


def open_chain(root: Path) -> list[Stored]:
    """Return the finished stages of a run, first stage first. Raises ``UserError`` where there is no run."""
    index = root / INDEX
    if not index.is_file():
        raise UserError(f"{root}: holds no run (no {INDEX}); start one with 'tilth run'")
    stored: Stored | None = None
    chain = []
    for name in json.loads(index.read_bytes())["stages"]:
        folder = root / "stages" / name
        manifest = Manifest.read(folder)
        if manifest is None:
            break
        lineage = (
            Lineage(str(folder)) if stored is None else stored.lineage.after(folder, manifest.effect, manifest.measures)
        )
        stored = Stored(folder, manifest, lineage, stored, True)
        chain.append(stored)
    return chain
