"""A corpus from what is already there: the prose that a Python installation carries, as one JSON-lines file a source.

Downloads make a first try slow and unrepeatable; the packages that Tilth needs hold tens of megabytes of real English
with everything that a pipeline is for: licences copied hundreds of times, tables, code, foreign words, fragments of a
line. Files are read, never imported or run. The corpus depends on the installed versions and nothing else, so a second
call with the same versions finds its manifest and does nothing.
"""

import hashlib
import platform
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path, PurePosixPath

import orjson

from tilth.corpus.errors import UserError
from tilth.corpus.store import write_atomically
from tilth.demo import installed, prose
from tilth.demo.installed import Package

VERSION = 1
"""Raised by whoever changes which text is taken."""

MANIFEST = "harvest.json"
UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError, OSError)
"""What reading, decoding and parsing raise about files of others (the third and fourth: nested too deeply); counted."""

LICENCE_NAME = re.compile(r"(?:un)?licen[cs]e|copying|notice|copyright|authors|third.?part", re.IGNORECASE)
NOT_PROSE = re.compile(r"(?:^|/)(?:tests?|data|assets|vendor|\.[^/]*)/|requirements|cmakelists|cacerts", re.IGNORECASE)
"""Folders of tables and word lists, hidden folders, and files that are lists by custom."""


@dataclass(frozen=True)
class Source:
    """One source of the corpus: which files it reads, and which pieces of them are documents."""

    name: str
    wants: Callable[[PurePosixPath], bool]
    pieces: Callable[[str], Iterator[prose.Piece]]


@dataclass(frozen=True)
class Count:
    """What one source gave. ``bytes`` is UTF-8 of the texts alone, ``file_bytes`` the size of the JSON-lines file."""

    documents: int
    bytes: int
    file_bytes: int
    files: int  # files read
    unreadable: int  # files that could not be decoded or parsed


@dataclass(frozen=True)
class Harvest:
    """A corpus on disk: ``folder`` holds one ``NAME.jsonl`` for every name in ``sources``, and the manifest."""

    folder: Path
    sources: dict[str, Count]
    python: str
    packages: int
    key: str
    seconds: float  # of the harvest itself, also where it was found again
    reused: bool

    @property
    def documents(self) -> int:
        """Documents of all sources."""
        return sum(count.documents for count in self.sources.values())

    @property
    def bytes(self) -> int:
        """UTF-8 bytes of the texts of all sources."""
        return sum(count.bytes for count in self.sources.values())

    def path(self, source: str) -> Path:
        """Return the JSON-lines file of ``source``."""
        return self.folder / f"{source}.jsonl"


def _is_licence(path: PurePosixPath) -> bool:
    return bool(LICENCE_NAME.match(path.name)) and path.suffix.lower() not in {".py", ".pyi", ".pyc", ".so", ".h"}


def _is_note(path: PurePosixPath) -> bool:
    if _is_licence(path) or path.parts[0].endswith((".dist-info", ".egg-info")):
        return False
    return path.suffix.lower() in {".md", ".rst", ".txt"} and not NOT_PROSE.search(str(path))


SOURCES = (
    Source("reference", lambda path: path.match("pydoc_data/topics.py"), prose.topics),
    Source("docstrings", lambda path: path.suffix == ".py" and path.parts[0] != "pydoc_data", prose.docstrings),
    Source("packages", lambda path: path.match("*.dist-info/METADATA"), prose.description),
    Source("licences", _is_licence, prose.whole),
    Source("changelogs", _is_note, prose.whole),
    Source("comments", lambda path: path.suffix == ".py", prose.hash_comments),
    Source("headers", lambda path: path.suffix in {".h", ".hpp", ".cuh"}, prose.c_comments),
)


def harvest(
    folder: Path,
    *,
    maximum_bytes_per_source: int = 10_000_000,
    on_progress: Callable[[int, int], None] | None = None,
    site_packages: Sequence[Path] | None = None,
    standard_library: Path | None = None,
) -> Harvest:
    """Write the corpus of this Python into ``folder`` and return what it holds; do nothing where it is there already.

    Each source is held under ``maximum_bytes_per_source`` bytes of UTF-8; where there is more, packages take turns, a
    file each, so that no large package crowds the others out. ``on_progress`` is called with the files that are done
    and all that there are; a source that is full is done with all of its own. The last two arguments say where to look,
    in this interpreter's own folders if not given.

    A line holds ``id`` (package/path#name), ``text``, ``package``, ``path`` and ``version``.

    Raises ``UserError`` where the folder cannot be written or no text is found.
    """
    if maximum_bytes_per_source < 1:
        raise UserError(f"harvest: maximum_bytes_per_source is {maximum_bytes_per_source}, expected at least 1 byte")
    library = standard_library or installed.standard_library()
    distributions = installed.distributions(installed.site_packages() if site_packages is None else site_packages)
    python = platform.python_version()
    versions = [(name, distribution.version) for name, distribution in distributions.items()]
    settings = [VERSION, python, versions, maximum_bytes_per_source]
    key = hashlib.sha256(orjson.dumps(settings)).hexdigest()[:32]
    before = _read_manifest(folder)
    if before is not None and before.key == key:
        return before

    started = time.monotonic()
    packages = [installed.read_library(library)]
    packages += [installed.read_distribution(name, distribution) for name, distribution in distributions.items()]
    files = {source: _in_turns(packages, source) for source in SOURCES}
    total = sum(map(len, files.values()))
    earlier = 0
    counts: dict[str, Count] = {}

    def progress(done: int) -> None:
        if on_progress is not None:
            on_progress(earlier + done, total)

    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MANIFEST).unlink(missing_ok=True)
        for source, own in files.items():
            target = folder / f"{source.name}.jsonl"
            counts[source.name] = _gather(source, own, target, maximum_bytes_per_source, progress)
            earlier += len(own)
            progress(0)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot write the corpus: {error.strerror or error}; name a writable folder"
        ) from error
    done = Harvest(
        folder, counts, python, len(packages), key, seconds=round(time.monotonic() - started, 3), reused=False
    )
    if not done.documents:
        raise UserError(
            f"{library}: found no text in this Python's standard library or packages, expected at least its "
            "docstrings; run from an environment made by `make demo`"
        )
    _write_manifest(done)
    return done


def _in_turns(packages: Sequence[Package], source: Source) -> list[tuple[Package, PurePosixPath]]:
    """Return the files of a source: the first of every package, then the second of every package that has one, ..."""
    queues = [[(package, path) for path in package.files if source.wants(path)] for package in packages]
    return [file for turn in zip_longest(*queues) for file in turn if file is not None]


def _gather(
    source: Source,
    files: Sequence[tuple[Package, PurePosixPath]],
    target: Path,
    maximum_bytes: int,
    progress: Callable[[int], None],
) -> Count:
    """Read files until ``maximum_bytes`` would be passed; write the documents in the order of package, path, place."""
    lines: list[tuple[str, bytes]] = []
    size = read = unreadable = 0
    full = False
    for package, path in files:
        try:
            content = (package.root / path).read_bytes().decode().replace("\r\n", "\n")
            pieces = [(name, text, len(text.encode())) for name, text in source.pieces(content)]
        except UNREADABLE:
            pieces = []
            unreadable += 1
        for name, text, text_bytes in pieces:
            full = size + text_bytes > maximum_bytes
            if full:
                break
            size += text_bytes
            lines.append((package.name, _line(package, path, name, text)))
        read += 1
        progress(read)
        if full:
            break
    lines.sort(key=lambda line: line[0])  # stable: a package's files came in their order
    data = b"".join(line for _, line in lines)
    write_atomically(target, data)
    return Count(len(lines), size, len(data), read, unreadable)


def _line(package: Package, path: PurePosixPath, name: str, text: str) -> bytes:
    identity = f"{package.name}/{path}" + (f"#{name}" if name else "")
    record = {"id": identity, "text": text, "package": package.name, "path": str(path), "version": package.version}
    return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)


def _write_manifest(done: Harvest) -> None:
    shown = {
        "key": done.key,
        "version": VERSION,
        "python": done.python,
        "packages": done.packages,
        "documents": done.documents,
        "bytes": done.bytes,
        "seconds": done.seconds,
        "sources": {name: asdict(count) for name, count in done.sources.items()},
    }
    layout = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    write_atomically(done.folder / MANIFEST, orjson.dumps(shown, option=layout))


def _read_manifest(folder: Path) -> Harvest | None:
    """Return the harvest that a folder holds; nothing where it has none or its files are not those of the manifest."""
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        shown = orjson.loads(path.read_bytes())
        counts = {name: Count(**count) for name, count in shown["sources"].items()}
        done = Harvest(
            folder, counts, shown["python"], shown["packages"], shown["key"], seconds=shown["seconds"], reused=True
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None  # not a manifest of this version: harvest again
    sizes = {name: done.path(name).stat().st_size for name in counts if done.path(name).is_file()}
    return done if sizes == {name: count.file_bytes for name, count in counts.items()} else None
