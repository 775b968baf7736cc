"""A source is what the recipe calls a set of files; this file finds them, in one order, and says what each one is.

Nothing here opens a file further than its first ten bytes, except ``input_digests``, which reads every byte once and
remembers the answer by path, size and time of change: xxh3 runs at the speed of the disk, yet a terabyte on a disk of
500 MB/s takes 33 minutes, and a run that changes one threshold should not pay them again.
"""

# ruff: noqa: PTH100, PTH110, PTH112, PTH116, PTH118, PTH123, PTH207, PTH208
# Patterns are text and may begin anywhere; and Path.exists, unlike os.path's, raises where a folder is closed to us.

import difflib
import glob
import itertools
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from os.path import exists, isdir
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Literal, get_args

import orjson
import xxhash

from tilth.corpus.encoding import known_encoding
from tilth.corpus.errors import UserError
from tilth.corpus.remote import is_remote, open_remote, remote_matches, remote_state

Format = Literal["jsonl", "parquet", "arrow", "csv", "tsv", "text", "markdown", "html", "warc", "mediawiki"]
Compression = Literal["gz", "bz2", "xz", "zst"]

FORMATS: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",  # C4 and others name JSON lines so
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".csv": "csv",
    ".tsv": "tsv",
    ".txt": "text",
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".warc": "warc",
    ".wet": "warc",
    ".arc": "warc",
    ".xml": "mediawiki",
}
COMPRESSIONS: dict[str, Compression] = {".gz": "gz", ".bz2": "bz2", ".xz": "xz", ".zst": "zst"}
# RFC 1952, the bzip2 format (with its first block's magic), the .xz format, RFC 8878, Parquet, Arrow IPC
MAGIC = {
    b"\x1f\x8b": ".gz",
    b"BZh91AY&SY": ".bz2",
    b"\xfd7zXZ\0": ".xz",
    b"\x28\xb5\x2f\xfd": ".zst",
    b"PAR1": ".parquet",
    b"ARROW1": ".arrow",
}
COLUMNAR = ("parquet", "arrow")  # packed inside already, and read from their end
READ = f"{', '.join(FORMATS)}, all but .parquet, .arrow and .feather also with {', '.join(COMPRESSIONS)}"

LARGEST_DOCUMENT = 1 << 30  # bytes; a batch of 8 MiB and one more document stays under Arrow's 2 GiB of string offsets


@dataclass(frozen=True)
class Source:
    """Where documents of one domain come from, and under which names their fields lie.

    ``paths`` are files or glob patterns, absolute or relative to the recipe. A field name with dots reaches into
    nested objects (``meta.url``), unless a field has that very name.
    """

    name: str
    paths: tuple[str, ...]
    text: str = "text"
    id: str | None = None  # the record's own id; where None, its place in the file is its identity
    date: str | None = None
    url: str | None = None
    language: str | None = None
    encoding: str = "utf-8"  # or another name, or "detect"; columnar files, HTML and WARC say it themselves
    separator: str | None = None  # of plain text files that hold many documents
    delimiter: str | None = None  # of CSV, in place of a comma
    metadata: tuple[str, ...] | None = None  # further fields to keep, by top-level name; None keeps all of them
    format: Format | None = None  # None: by suffix
    allowance: float = 0.01  # share of records that may be lost to damage before the run stops
    sample: float = 1.0  # share of the documents to keep, chosen by a hash of their identity
    limit: int | None = None  # documents at most, the first ones; such a source is read by one task
    maximum_bytes: int = 64 << 20  # of one record; a longer one becomes a drop, as do the next two
    maximum_lines: int = 1_000_000  # of one document
    maximum_line_bytes: int | None = None  # of a document's longest line
    maximum_seconds: float = 10.0  # of processor time to extract one page or article; a slower one becomes a drop
    repeated: frozenset[bytes] = frozenset()  # identities that several records share, as the run found out

    def __post_init__(self) -> None:
        if not self.name or not self.paths:
            raise UserError(f"source {self.name!r}: expected a name and at least one path; add them")
        if not 0 <= self.allowance <= 1:
            raise UserError(f"source {self.name!r}: allowance is {self.allowance}; expected a share from 0 to 1")
        if not 0 < self.maximum_bytes <= LARGEST_DOCUMENT:
            raise UserError(
                f"source {self.name!r}: maximum_bytes is {self.maximum_bytes}; expected 1 to {LARGEST_DOCUMENT}"
            )
        if self.format not in (None, *get_args(Format)):
            raise UserError(
                f"source {self.name!r}: format is {self.format!r}; expected one of {', '.join(get_args(Format))}"
            )
        if not 0 < self.sample <= 1:
            raise UserError(f"source {self.name!r}: sample is {self.sample}; expected a share above 0, up to 1")
        for field in ("limit", "maximum_lines", "maximum_line_bytes"):
            value = getattr(self, field)
            if value is not None and value < 1:
                raise UserError(f"source {self.name!r}: {field} is {value}; expected at least 1")
        if not self.maximum_seconds > 0:
            raise UserError(
                f"source {self.name!r}: maximum_seconds is {self.maximum_seconds}; expected a number above 0"
            )
        if self.separator == "":
            raise UserError(f"source {self.name!r}: separator is empty; expected what stands between two documents")
        if self.delimiter is not None and (len(self.delimiter) != 1 or self.delimiter in '"\r\n'):
            raise UserError(f"source {self.name!r}: delimiter is {self.delimiter!r}; expected one character")
        object.__setattr__(self, "encoding", known_encoding(self.name, self.encoding))

    @property
    def fields(self) -> dict[str, str]:
        """Document column -> the field of the record that fills it, for the columns that the recipe names."""
        named = {"text": self.text, "id": self.id, "date": self.date, "url": self.url, "language": self.language}
        return {column: field for column, field in named.items() if field is not None}

    @property
    def reading(self) -> dict[str, object]:
        """All that decides what the readers make of a file's bytes: what the fingerprint of the reading is made of."""
        apart = ("name", "paths", "allowance", "repeated")
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name not in apart}


@dataclass(frozen=True)
class SourceFile:
    """One file of a source, as it was when it was found.

    ``relative`` is the name that identities are made of: POSIX, seen from the recipe's folder for a relative pattern,
    from the pattern's last folder without a wildcard for an absolute one. It does not change when the whole moves.
    """

    source: str
    path: str  # absolute, on this machine
    relative: str
    size: int  # bytes on disk
    mtime_ns: int
    format: Format
    compression: Compression | None
    whole: bool = False  # a stream that cannot be entered in its middle, though it is not compressed
    version: str = ""  # of a remote file: what its server says when it changes

    @property
    def splittable(self) -> bool:
        """Whether a reader can begin at any byte."""
        return self.compression is None and not self.whole


def find_files(source: Source, base: str | Path) -> tuple[SourceFile, ...]:
    """Return the files of ``source``, sorted by relative path; relative patterns start at the folder ``base``.

    Raises ``UserError`` where a pattern matches nothing, a file or folder cannot be read, or a name says no format.
    """
    found: dict[str, str] = {}  # absolute path -> relative name
    for pattern in source.paths:
        for path, relative in matches(source, pattern, Path(os.path.abspath(base))):
            found[path] = min(relative, found.get(path, relative))
    files = sorted((source_file(source, path, relative) for path, relative in found.items()), key=lambda f: f.relative)
    for one, two in itertools.pairwise(files):
        if one.relative == two.relative:
            raise UserError(
                f"source {source.name!r}: {one.path!r} and {two.path!r} would both be called {one.relative!r}; "
                "name one folder above both with a wildcard, or make two sources"
            )
    return tuple(files)


def input_digests(
    files: Sequence[SourceFile],
    cache_path: str | Path,
    progress: Callable[[int], None] | None = None,
    *,
    remember: bool = True,
) -> dict[str, str]:
    """Return relative name -> xxh3-128 of the file's bytes (32 hex digits), for the files of one source.

    A file whose path, size and time of change stand in ``cache_path`` is not read again. ``progress`` is told the
    size of each file when it is done. A cache that cannot be understood is built anew: it is never the truth.
    Nothing is written with ``remember`` false.
    """
    cache_path = Path(cache_path)
    known = read_cache(cache_path)
    digests, fresh = {}, dict(known)
    for file in files:
        key = f"{file.size}:{file.mtime_ns}:{file.version}:{file.path}"
        if key not in fresh:
            fresh[key] = file_digest(file)
        digests[file.relative] = fresh[key]
        if progress is not None:
            progress(file.size)
    if remember and fresh != known:
        cache_path.parent.mkdir(parents=True, exist_ok=True)
        temporary = cache_path.with_name(f"{cache_path.name}.{os.getpid()}.tmp")
        temporary.write_bytes(orjson.dumps(fresh, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2))
        temporary.replace(cache_path)
    return digests


def check_allowance(
    source: Source, records: int, lost: int, example: str | None = None, *, size: int = 0, unread: int = 0
) -> None:
    """Raise ``UserError`` where more than the source's allowance of ``records`` was ``lost`` to damage.

    The rest of a broken file counts as one record, however long it is, so whoever knows the ``size`` of the source's
    files and how many bytes of them are ``unread`` (the bytes of drops with the rules "damaged" and
    "decompression_bomb") gives both, and the allowance holds for them too. ``example`` is the detail of one of the
    drops: file, offset and reason.
    """
    what = f"{lost} of {records} records"
    if lost <= source.allowance * records:
        if unread <= source.allowance * size:
            return
        what = f"{unread} of {size} bytes"
    first = f"; the first: {example}" if example else ""
    raise UserError(
        f"source {source.name!r}: {what} cannot be read, allowance is {source.allowance:g}{first}; "
        "mend the files or raise the allowance"
    )


def open_unchanged(file: SourceFile) -> BinaryIO:
    """Open a file for reading bytes; raise ``UserError`` where it is gone or not the one that was found."""
    if is_remote(file.path):
        return open_remote(file)
    try:
        handle = open(file.path, "rb", buffering=1 << 20)  # noqa: SIM115 - the caller closes it
    except OSError as error:
        raise UserError(f"source {file.source!r}: {file.path!r} cannot be opened: {error.strerror}") from error
    status = os.fstat(handle.fileno())
    if (status.st_size, status.st_mtime_ns) != (file.size, file.mtime_ns):
        handle.close()
        raise UserError(f"source {file.source!r}: {file.path!r} has changed since this run began; start the run again")
    return handle


def matches(source: Source, pattern: str, base: Path) -> list[tuple[str, str]]:
    """Return (absolute path, relative name) of every file that ``pattern`` names."""
    if is_remote(pattern):
        return remote_matches(source.name, pattern)
    full = os.path.normpath(base / pattern)
    absolute = Path(pattern).is_absolute()
    if isdir(full):
        raise UserError(f"source {source.name!r}: {pattern!r} is a folder; expected files, e.g. '{pattern}/**/*.jsonl'")
    if exists(full) or not glob.has_magic(pattern):
        root, paths = Path(full).parent, [full] if exists(full) else []
    else:
        root = fixed_root(full)
        require_folders(source, full, root)
        paths = [path for path in glob.glob(full, recursive=True) if not isdir(path)]
    if not paths:
        raise UserError(f"source {source.name!r}: nothing matches {pattern!r}; {nearest(full, root)}")
    start = root if absolute else base
    return [(path, PurePosixPath(os.path.relpath(path, start)).as_posix()) for path in paths]


def source_file(source: Source, path: str, relative: str) -> SourceFile:
    """Describe one file; raise ``UserError`` where it cannot be opened or its name and first bytes do not agree."""
    try:
        relative.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"source {source.name!r}: the file name {relative!r} is not UTF-8; rename it") from error
    name = path.split("?")[0] if is_remote(path) else path
    suffixes = [suffix.lower() for suffix in PurePosixPath(name).suffixes]
    compression = COMPRESSIONS.get(suffixes[-1]) if suffixes else None
    if compression is not None:
        suffixes.pop()
    format = source.format or (FORMATS.get(suffixes[-1]) if suffixes else None)
    if format is None or (format in COLUMNAR and compression is not None):
        raise UserError(f"source {source.name!r}: {path!r} has no suffix that is read; expected {READ}, or set format")
    whole = is_whole(source, format)
    if is_remote(path):
        size, version = remote_state(source.name, path)
        return SourceFile(source.name, path, relative, size, 0, format, compression, whole, version)
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe would wait for ever
            raise UserError(f"source {source.name!r}: {path!r} is not a regular file; leave it out")
        with open(path, "rb") as handle:
            head = handle.read(10)
            status = os.fstat(handle.fileno())
    except OSError as error:
        raise UserError(
            f"source {source.name!r}: {path!r} cannot be opened: {error.strerror}; mend it or leave it out"
        ) from error
    for magic, suffix in MAGIC.items():
        if format not in COLUMNAR and compression is None and head.startswith(magic):
            wanted = "JSON lines" if format == "jsonl" else format
            raise UserError(f"source {source.name!r}: {path!r} holds {suffix} data; expected {wanted}, so rename it")
    return SourceFile(source.name, path, relative, status.st_size, status.st_mtime_ns, format, compression, whole)


def is_whole(source: Source, format: Format) -> bool:
    """Tell whether a file of this format can only be read from its beginning.

    Records of JSON lines, of text with a separator and of MediaWiki dumps begin with bytes that tell so wherever one
    looks, if a byte is what it seems: in UTF-8, and with a separator that cannot overlap itself. Parquet and Arrow
    files have a table of contents. A line break in CSV may stand in quotes, one in WARC in a page.
    """
    if format in COLUMNAR:
        return False
    if source.encoding != "utf-8":
        return True
    if format == "text" and source.separator is not None:
        mark = source.separator
        return any(mark.startswith(mark[start:]) for start in range(1, len(mark)))
    return format not in ("jsonl", "mediawiki")


def fixed_root(pattern: str) -> Path:
    """Return the part of a pattern before its first wildcard: the deepest folder that all matches share by name."""
    parts = Path(pattern).parts
    wild = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:wild])


def require_folders(source: Source, pattern: str, root: Path) -> None:
    """Raise ``UserError`` where a folder on a pattern's way cannot be listed: ``glob`` would skip it in silence."""
    parts = Path(pattern).parts
    for depth in range(len(root.parts), len(parts)):
        for folder in glob.glob(os.path.join(*parts[:depth], ""), recursive=True):
            if not os.access(folder, os.R_OK | os.X_OK, effective_ids=True):
                raise UserError(f"source {source.name!r}: the folder {folder!r} cannot be listed; mend its rights")


def nearest(pattern: str, root: Path) -> str:
    """Say what lies where ``pattern`` looks: the names most like the first one that is missing."""
    folder = root
    while not isdir(folder):
        folder = folder.parent
    missing = Path(pattern).parts[len(folder.parts)]
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        return f"the folder {str(folder)!r} cannot be listed: {error.strerror}"
    if not names:
        return f"the folder {str(folder)!r} is empty"
    close = difflib.get_close_matches(missing, names, n=3, cutoff=0.4) or names[:3]
    return f"in {str(folder)!r} the nearest names are {', '.join(map(repr, close))}"


def read_cache(path: Path) -> dict[str, str]:
    """Return the digests that were kept, or none where the file is missing or broken."""
    try:
        kept = orjson.loads(path.read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):
        return {}
    return {k: v for k, v in kept.items() if isinstance(v, str)} if isinstance(kept, dict) else {}


def file_digest(file: SourceFile) -> str:
    """Return the xxh3-128 of a file's bytes, read in blocks of 1 MiB; of a remote file's size and version."""
    if file.version:
        known: str = xxhash.xxh3_128_hexdigest(f"{file.size} {file.version}".encode())
        return known
    state = xxhash.xxh3_128()
    with open_unchanged(file) as handle:
        while block := handle.read(1 << 20):
            state.update(block)
    digest: str = state.hexdigest()
    return digest
