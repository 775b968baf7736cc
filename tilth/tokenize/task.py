"""Tokenizing as tasks for an engine: shards and one receipt a part, so that a killed run goes on where it was."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from tilth.corpus.chain import Progress, Stored, reporting
from tilth.corpus.engines import Engine
from tilth.corpus.ledger import LedgerError
from tilth.corpus.stage import fingerprint
from tilth.corpus.store import Lineage, file_digest, is_temporary, receipt_path, write_atomically
from tilth.corpus.tasks import clear_failures, raise_failure
from tilth.tokenize.shards import SHARD_BYTES, TokenPart, tokenize_shards
from tilth.tokenize.token_set import MANIFEST, TokenSet, write_manifest
from tilth.tokenize.tokenizer import Tokenizer

VERSION = 2  # raised when equal documents and an equal tokenizer give another shard


@dataclass(frozen=True)
class TokenizeTask:
    """Tokenize the documents of one part."""

    lineage: Lineage
    part: int
    tokenizer: Path
    folder: Path
    fingerprint: str
    shard_bytes: int = SHARD_BYTES

    @property
    def name(self) -> str:
        """Step and part."""
        return f"tokens part {self.part}"

    def run(self) -> None:
        """Write the shards, then their receipt."""
        batches = self.lineage.read(self.part, ["text"])
        written = tokenize_shards(batches, self.tokenizer, self.folder, self.part, self.shard_bytes)
        data = {"fingerprint": self.fingerprint, "parts": [part.to_json() for part in written]}
        write_atomically(receipt_path(self.folder, self.part), orjson.dumps(data))


def token_fingerprint(stored: Stored, tokenizer: Tokenizer, shard_bytes: int = SHARD_BYTES) -> str:
    """Return what the shards depend on, as one fingerprint."""
    meaning = [tokenizer.digest, tokenizer.separator, shard_bytes]
    return fingerprint("tokens", VERSION, stored.manifest.fingerprint, *meaning)


def find_tokens(folder: Path, own: str, parts: int) -> TokenSet | None:
    """Return the token set of ``folder`` if it is whole and has this fingerprint. Reads every byte of it."""
    if not (folder / MANIFEST).is_file() or _missing(folder, own, parts):
        return None
    return TokenSet.open(folder, verify_digests=True)


def tokenize(
    stored: Stored,
    tokenizer: Tokenizer,
    folder: Path,
    engine: Engine,
    progress: Progress,
    shard_bytes: int = SHARD_BYTES,
) -> TokenSet:
    """Tokenize the documents that leave ``stored`` into ``folder``, or what is missing of them.

    What a killed run left under temporary names is removed: no other run writes here, the run folder is locked. Raises
    ``LedgerError`` unless every document of every source, and every byte, is in a shard.
    """
    own = token_fingerprint(stored, tokenizer, shard_bytes)
    for left in [path for path in folder.glob(".*") if is_temporary(path)]:
        left.unlink()
    clear_failures(folder)
    (folder / MANIFEST).unlink(missing_ok=True)
    missing = _missing(folder, own, stored.parts)
    with reporting(folder, "tokens", stored.parts, progress):
        engine.run([TokenizeTask(stored.lineage, part, tokenizer.path, folder, own, shard_bytes) for part in missing])
    raise_failure(folder)
    parts = [TokenPart.from_json(data) for part in range(stored.parts) for data in _receipt(folder, part)["parts"]]
    token_set = write_manifest(folder, tokenizer, parts)
    counted = {name: [count.documents, count.bytes] for name, count in token_set.sources.items()}
    kept = {name: counts for name, counts in stored.manifest.account.kept.items() if counts[0]}
    if counted != kept:
        (folder / MANIFEST).unlink()
        raise LedgerError(f"{folder}: the shards hold {counted}, the documents were {kept}")
    return token_set


def _receipt(folder: Path, part: int) -> dict[str, Any]:
    data: dict[str, Any] = orjson.loads(receipt_path(folder, part).read_bytes())
    return data


def _missing(folder: Path, own: str, parts: int) -> Sequence[int]:
    """Return the parts without a receipt, with another's receipt, or whose shards are not those of the receipt."""
    return [part for part in range(parts) if not _whole(folder, own, part)]


def _whole(folder: Path, own: str, part: int) -> bool:
    if not receipt_path(folder, part).is_file():
        return False
    data = _receipt(folder, part)
    if data["fingerprint"] != own:
        return False
    shards = [TokenPart.from_json(one) for one in data["parts"]]
    return all((folder / one.name).is_file() and file_digest(folder / one.name) == one.digest for one in shards)
