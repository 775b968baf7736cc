"""A corpus from what is already there: the prose that a Python installation carries, as one JSON-lines file a source.

Downloads make a first try slow and unrepeatable; the packages that Tilth needs hold tens of megabytes of real English
with everything that a pipeline is for: licences copied hundreds of times, tables, code, foreign words, fragments of a
line. Files are read, never imported or run. The corpus depends on the installed versions and nothing else, so a second
call with the same versions finds its manifest and does nothing.
"""

import hashlib
import os
import platform
import re
import sysconfig
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath

import orjson

from tilth.corpus.errors import UserError
from tilth.corpus.store import write_atomically
from tilth.demo import prose

VERSION = 1
"""Raised by whoever changes which text is taken."""

MANIFEST = "harvest.json"
OWN_NAME = "tilth"
UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError, OSError)
"""What reading, decoding and parsing raise about files of others (the third and fourth: nested too deeply); counted."""

LICENCE_NAME = re.compile(r"(?:un)?licen[cs]e|copying|notice|copyright|authors|third.?part", re.IGNORECASE)
NOT_PROSE = re.compile(r"(?:^|/)(?:tests?|data|assets|vendor|\.[^/]*)/|requirements|cmakelists|cacerts", re.IGNORECASE)
"""Folders of tables and word lists, hidden folders, and files that are lists by custom."""

NOT_LIBRARY = frozenset({"site-packages", "dist-packages", "test", "__pycache__", "lib-dynload"})
"""Folders of the standard library that are left out: what others install, and tests that many systems do not ship."""


@dataclass(frozen=True)
class Source:
    """One source of the corpus: which files it reads, and which pieces of them are documents."""

    name: str
    wants: Callable[[PurePosixPath], bool]
    pieces: Callable[[str], Iterator[prose.Piece]]


@dataclass(frozen=True)
class Package:
    """An installed distribution, or the standard library, and the files that it brought: paths below ``root``."""

    name: str
    version: str
    root: Path
    files: tuple[PurePosixPath, ...]


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
    on_progress: Callable[[str, int, int], None] | None = None,
    site_packages: Sequence[Path] | None = None,
    standard_library: Path | None = None,
) -> Harvest:
    """Write the corpus of this Python into ``folder`` and return what it holds; do nothing where it is there already.

    Each source is held under ``maximum_bytes_per_source`` bytes of UTF-8; where there is more, packages take turns, a
    file each, so that no large package crowds the others out. ``on_progress`` is called after every file with the
    source's name and its documents and bytes so far. The last two arguments say where to look, this interpreter's own
    folders if not given.

    A line holds ``id`` (package/path#name), ``text``, ``package``, ``path`` and ``version``.

    Raises ``UserError`` where the folder cannot be written or no text is found.
    """
    if maximum_bytes_per_source < 1:
        raise UserError(f"harvest: maximum_bytes_per_source is {maximum_bytes_per_source}, expected at least 1 byte")
    roots = site_packages if site_packages is not None else _site_packages()
    library = standard_library if standard_library is not None else Path(sysconfig.get_paths()["stdlib"])
    distributions = _distributions(roots)
    python = platform.python_version()
    versions = [(name, found.version) for name, found in distributions]
    settings = [VERSION, python, versions, maximum_bytes_per_source]
    key = hashlib.sha256(orjson.dumps(settings)).hexdigest()[:32]
    before = _read_manifest(folder)
    if before is not None and before.key == key:
        return before

    started = time.monotonic()
    packages = [_standard_library(library, python), *(_package(name, found) for name, found in distributions)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MANIFEST).unlink(missing_ok=True)
        counts = {
            source.name: _gather(source, packages, folder, maximum_bytes_per_source, on_progress) for source in SOURCES
        }
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


def _site_packages() -> list[Path]:
    paths = sysconfig.get_paths()
    return [Path(folder) for folder in dict.fromkeys((paths["purelib"], paths["platlib"]))]


def _distributions(roots: Sequence[Path]) -> list[tuple[str, metadata.Distribution]]:
    """Return the installed distributions by normalised name, in its order; of two of a name the first root's."""
    found: dict[str, metadata.Distribution] = {}
    for distribution in metadata.distributions(path=[str(root) for root in roots]):
        name = distribution.metadata["Name"]
        if name:  # a damaged dist-info folder has none
            found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), distribution)
    return sorted((name, distribution) for name, distribution in found.items() if name != OWN_NAME)


def _package(name: str, distribution: metadata.Distribution) -> Package:
    inside = (PurePosixPath(path) for path in distribution.files or ())
    files = sorted(path for path in inside if not path.is_absolute() and ".." not in path.parts)
    return Package(name, distribution.version, Path(str(distribution.locate_file(""))), tuple(files))


def _standard_library(root: Path, version: str) -> Package:
    files = []
    for parent, folders, names in os.walk(root):
        folders[:] = [folder for folder in folders if folder not in NOT_LIBRARY]
        below = Path(parent).relative_to(root)
        files += [PurePosixPath((below / name).as_posix()) for name in names]
    return Package("python", version, root, tuple(sorted(files)))


def _in_turns(packages: Sequence[Package], source: Source) -> Iterator[tuple[Package, PurePosixPath]]:
    """Yield the files of a source: the first of every package, then the second of every package that has one, ..."""
    queues = [(package, iter([path for path in package.files if source.wants(path)])) for package in packages]
    while queues:
        going = []
        for package, paths in queues:
            path = next(paths, None)
            if path is not None:
                going.append((package, paths))
                yield package, path
        queues = going


def _gather(
    source: Source,
    packages: Sequence[Package],
    folder: Path,
    maximum_bytes: int,
    on_progress: Callable[[str, int, int], None] | None,
) -> Count:
    """Read files until ``maximum_bytes`` would be passed; write the documents in the order of package, path, place."""
    lines: list[tuple[str, PurePosixPath, bytes]] = []
    size = files = unreadable = 0
    full = False
    for package, path in _in_turns(packages, source):
        files += 1
        try:
            content = (package.root / path).read_bytes().decode().replace("\r\n", "\n")
            pieces = [(name, text, len(text.encode())) for name, text in source.pieces(content)]
        except UNREADABLE:
            unreadable += 1
            continue
        for name, text, text_bytes in pieces:
            if size + text_bytes > maximum_bytes:
                full = True
                break
            size += text_bytes
            lines.append((package.name, path, _line(package, path, name, text)))
        if on_progress is not None:
            on_progress(source.name, len(lines), size)
        if full:
            break
    lines.sort(key=lambda line: line[:2])  # stable: the pieces of a file keep their order
    data = b"".join(line for _, _, line in lines)
    write_atomically(folder / f"{source.name}.jsonl", data)
    return Count(len(lines), size, len(data), files, unreadable)


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
