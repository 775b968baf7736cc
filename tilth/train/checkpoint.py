"""Checkpoint folders: complete or absent, each with a manifest that says which run, which step and which samples.

A checkpoint is written as ``.step-00000300.partial``, its manifest last, and renamed to ``step-00000300``. So a folder
with the final name is whole, whatever was killed when. The manifest has the size and the digest of every file: sizes
are looked at whenever a checkpoint is opened, digests before its tensors are loaded.

Nothing here loads torch; the tensors themselves are the business of ``tilth.train.state``.
"""

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from tilth.corpus.errors import UserError
from tilth.corpus.store import FileRecord, file_digest

MANIFEST = "manifest.json"
LOG = "log.jsonl"
FORMAT = 2
NAME = re.compile(r"step-(\d{8})")
PARTIAL = re.compile(r"\.step-\d{8}\.partial")


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint on disk, as its manifest describes it."""

    path: Path
    step: int  # steps taken
    samples: int  # sequences consumed
    tokens: int  # positions predicted
    fingerprint: str  # of everything that decided the run up to here
    identity: Mapping[str, Any]  # what the fingerprint was made of
    model: Mapping[str, Any]  # fields of the ModelConfig
    guard: Mapping[str, Any] = field(default_factory=dict)  # what the guard against bad steps remembers


def read_checkpoint(path: Path) -> Checkpoint:
    """Open the manifest at ``path``; raises ``UserError`` where files are missing or of another size than it says."""
    manifest = _manifest(path)
    for name, record in manifest["files"].items():
        file = path / name
        found = file.stat().st_size if file.is_file() else "no file"
        if found != record["bytes"]:
            raise _damaged(file, f"found {found}, expected {record['bytes']} bytes")
    fields = ("step", "samples", "tokens", "fingerprint", "identity", "model")
    return Checkpoint(path=path, **{name: manifest[name] for name in fields}, guard=manifest.get("guard", {}))


def file_records(path: Path, rank: int = 0, world: int = 1) -> dict[str, FileRecord]:
    """Return size and digest of every ``world``-th file of a checkpoint, its manifest left out, from ``rank`` on."""
    files = sorted(file for file in path.iterdir() if file.name != MANIFEST)
    return {file.name: FileRecord(file.stat().st_size, file_digest(file)) for file in files[rank::world]}


def check_records(path: Path, found: Mapping[str, FileRecord]) -> None:
    """Raise ``UserError`` naming the first file of the checkpoint at ``path`` that is not what was written."""
    for name, record in _manifest(path)["files"].items():
        expected, now = FileRecord(**record), found.get(name)
        if now is None or now.bytes != expected.bytes:
            raise _damaged(path / name, f"found {now.bytes if now else 'no file'}, expected {expected.bytes} bytes")
        if now.digest != expected.digest:
            raise _damaged(path / name, f"found a content with the digest {now.digest}, expected {expected.digest}")


def checkpoints(folder: Path) -> list[Path]:
    """Paths of the whole checkpoints in ``folder``, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if NAME.fullmatch(path.name))


def latest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint in ``folder``, if there is one."""
    paths = checkpoints(folder)
    return read_checkpoint(paths[-1]) if paths else None


def partial_path(folder: Path, step: int) -> Path:
    """Return where the checkpoint of ``step`` is written before it is whole."""
    return folder / f".step-{step:08d}.partial"


def make_empty(path: Path) -> None:
    """Make the folder ``path``, without anything that an earlier attempt left in it."""
    if path.exists():
        shutil.rmtree(path)
    path.mkdir(parents=True)


def commit(partial: Path, manifest: Mapping[str, Any], files: Mapping[str, FileRecord]) -> Path:
    """Write the manifest with the records of the ``files``, flush everything and give the folder its final name."""
    step = int(manifest["step"])
    complete = {"format": FORMAT, **manifest, "files": {name: asdict(record) for name, record in files.items()}}
    data = orjson.dumps(complete, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)
    for path in partial.iterdir():
        _flush(path)
    with (partial / MANIFEST).open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    _flush(partial)
    final = partial.parent / f"step-{step:08d}"
    if final.exists():
        shutil.rmtree(final)
    partial.rename(final)
    _flush(partial.parent)
    return final


def prune(folder: Path, keep_last: int, keep_every: int = 0) -> None:
    """Delete unfinished folders, and all checkpoints but the seed's, the last ones and multiples of ``keep_every``."""
    for path in folder.iterdir():
        if PARTIAL.fullmatch(path.name):
            shutil.rmtree(path)
    later = [path for path in checkpoints(folder) if path.name != f"step-{0:08d}"]
    for path in later[: max(len(later) - keep_last, 0)]:
        if keep_every and int(path.name.removeprefix("step-")) % keep_every == 0:
            continue
        # Renamed first: a folder with a final name is whole even while it is being deleted.
        gone = path.rename(path.parent / f".{path.name}.partial")
        shutil.rmtree(gone)


def cut_log(folder: Path, step: int) -> int:
    """Cut ``log.jsonl`` back to the lines of the first ``step`` steps and return its size in bytes."""
    path = folder / LOG
    if not path.exists():
        return 0
    data = path.read_bytes()
    kept = 0
    for line in data.splitlines(keepends=True):
        if not line.endswith(b"\n") or orjson.loads(line)["step"] > step:
            break
        kept += len(line)
    if kept < len(data):
        os.truncate(path, kept)
    return kept


def _manifest(path: Path) -> dict[str, Any]:
    file = path / MANIFEST
    try:
        found: dict[str, Any] = orjson.loads(file.read_bytes())
    except FileNotFoundError as error:
        raise UserError(f"{path}: no checkpoint: {MANIFEST} is missing; name a folder like step-00000300") from error
    except orjson.JSONDecodeError as error:
        raise _damaged(file, f"not JSON ({error})") from error
    if found.get("format") != FORMAT:
        raise UserError(f"{file}: format: found {found.get('format')!r}, expected {FORMAT}; written by another version")
    return found


def _damaged(file: Path, what: str) -> UserError:
    return UserError(f"{file}: {what}; the checkpoint is damaged, delete {file.parent} to go on from an older one")


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
