"""Tokenizing as tasks for an engine: one shard and one receipt a part, so that a killed run goes on where it was."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from tilth.corpus.chain import Progress, Stored, reporting
from tilth.corpus.engines import Engine
from tilth.corpus.ledger import LedgerError
from tilth.corpus.stage import fingerprint
from tilth.corpus.store import Lineage, file_digest, part_name, receipt_path, write_atomically
from tilth.corpus.tasks import clear_failures, raise_failure
from tilth.tokenize.shards import TokenPart, tokenize_part
from tilth.tokenize.token_set import MANIFEST, TokenSet, write_manifest
from tilth.tokenize.tokenizer import Tokenizer

VERSION = 1  # raised when equal documents and an equal tokenizer give another shard


@dataclass(frozen=True)
class TokenizeTask:
    """Tokenize the documents of one part."""

    lineage: Lineage
    part: int
    tokenizer: Path
    folder: Path
    fingerprint: str

    @property
    def name(self) -> str:
        """Step and part."""
        return f"tokens part {self.part}"

    def run(self) -> None:
        """Write the shard, then its receipt."""
        batches = self.lineage.read(self.part, ["text"])
        written = tokenize_part(batches, self.tokenizer, self.folder / part_name(self.part))
        data = {"fingerprint": self.fingerprint, "part": written.to_json()}
        write_atomically(receipt_path(self.folder, self.part), orjson.dumps(data))


def token_fingerprint(stored: Stored, tokenizer: Tokenizer) -> str:
    """Return what the shards depend on, as one fingerprint."""
    return fingerprint("tokens", VERSION, stored.manifest.fingerprint, tokenizer.digest)


def find_tokens(folder: Path, own: str, parts: int) -> TokenSet | None:
    """Return the token set of ``folder`` if it is whole and has this fingerprint. Reads every byte of it."""
    if not (folder / MANIFEST).is_file() or _missing(folder, own, parts):
        return None
    return TokenSet.open(folder, verify_digests=True)


def tokenize(stored: Stored, tokenizer: Tokenizer, folder: Path, engine: Engine, progress: Progress) -> TokenSet:
    """Tokenize the documents that leave ``stored`` into ``folder``, or what is missing of them.

    Raises ``LedgerError`` unless every document of every source, and every byte, is in a shard.
    """
    own = token_fingerprint(stored, tokenizer)
    clear_failures(folder)
    (folder / MANIFEST).unlink(missing_ok=True)
    missing = _missing(folder, own, stored.parts)
    with reporting(folder, "tokens", stored.parts, progress):
        engine.run([TokenizeTask(stored.lineage, part, tokenizer.path, folder, own) for part in missing])
    raise_failure(folder)
    parts = [TokenPart.from_json(_receipt(folder, part)["part"]) for part in range(stored.parts)]
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
    """Return the parts without a receipt, with another's receipt, or whose shard is not the one of the receipt."""
    missing = []
    for part in range(parts):
        if receipt_path(folder, part).is_file():
            data = _receipt(folder, part)
            shard = folder / part_name(part)
            if data["fingerprint"] == own and shard.is_file() and file_digest(shard) == data["part"]["digest"]:
                continue
        missing.append(part)
    return missing
