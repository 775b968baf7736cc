"""A token set: the shards of one folder and the manifest that says what must be in them.

The manifest is written last and is the only truth: which shards, in which order, made with which tokenizer, of which
size and content. Opening checks every size and every schema (about 0.2 ms a shard); digests, at the speed of the disk,
on request. A shard that the manifest does not name is never read.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tilth.corpus.errors import UserError
from tilth.corpus.stage import fingerprint
from tilth.corpus.store import file_digest, write_atomically
from tilth.tokenize.shards import NOTHING, Encoding, Shard, SourceCount, TokenPart, read_shard
from tilth.tokenize.tokenizer import Tokenizer, token_dtype

MANIFEST = "_manifest.json"
FORMAT = 1  # raised when the layout of the folder or of a shard changes


@dataclass(frozen=True)
class TokenSet:
    """Shards in their canonical order: sorted by name, then rows in the order of the file."""

    folder: Path
    encoding: Encoding
    parts: tuple[TokenPart, ...]

    @staticmethod
    def open(folder: Path | str, *, verify_digests: bool = False) -> "TokenSet":
        """Read the manifest and check that every shard is the one it names.

        ``verify_digests`` reads all bytes. Raises ``UserError`` where the manifest or a shard is missing, damaged,
        changed, or made with another tokenizer.
        """
        folder = Path(folder)
        token_set = _read_manifest(folder)
        for part in token_set.parts:
            _check_part(folder, part, token_set.encoding, verify_digests=verify_digests)
        return token_set

    @property
    def dtype(self) -> np.dtype:
        """The type of the token ids."""
        return token_dtype(self.encoding.vocabulary_size)

    @property
    def sources(self) -> dict[str, SourceCount]:
        """Documents, bytes and tokens of every source, sorted by name."""
        return _by_source(self.parts)

    @property
    def total(self) -> SourceCount:
        """Documents, bytes and tokens of all sources."""
        return sum((part.total for part in self.parts), NOTHING)

    @property
    def digest(self) -> str:
        """32 hex digits that change with any token, any document's id and their order; not with the folder's place."""
        return fingerprint("token set", FORMAT, self.encoding, [part.digest for part in self.parts])

    def shards(self) -> list[Shard]:
        """Map all shards, in canonical order."""
        return [read_shard(self.folder / part.name) for part in self.parts]


def write_manifest(folder: Path | str, tokenizer: Tokenizer, parts: Sequence[TokenPart]) -> TokenSet:
    """Name ``parts`` as the content of ``folder``, after checking that they are there. The last step of tokenizing.

    Raises ``UserError`` where there is no part, a part twice, or a shard that ``TokenSet.open`` would refuse.
    """
    folder = Path(folder)
    ordered = tuple(sorted(parts, key=lambda part: part.name))
    names = [part.name for part in ordered]
    if not names or len(set(names)) < len(names):
        raise UserError(
            f"{folder / MANIFEST}: found parts {names}, expected at least one and each once; tokenize again"
        )
    token_set = TokenSet(folder, Encoding.of(tokenizer), ordered)
    for part in ordered:
        _check_part(folder, part, token_set.encoding, verify_digests=False)
    data = {
        "format": FORMAT,
        **asdict(token_set.encoding),
        "dtype": token_set.dtype.name,
        "digest": token_set.digest,
        **asdict(token_set.total),
        "sources": {name: asdict(count) for name, count in token_set.sources.items()},
        "parts": [part.to_json() for part in ordered],
    }
    write_atomically(folder / MANIFEST, json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False).encode())
    return token_set


def _by_source(parts: Sequence[TokenPart]) -> dict[str, SourceCount]:
    totals: dict[str, SourceCount] = {}
    for part in parts:
        for name, count in part.sources.items():
            totals[name] = totals.get(name, NOTHING) + count
    return dict(sorted(totals.items()))


def _read_manifest(folder: Path) -> TokenSet:
    path = folder / MANIFEST
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: no token set here ({error.strerror}); tokenize first or correct the path") from error
    except ValueError as error:
        raise UserError(f"{path}: not a manifest of tilth ({error}); tokenize again") from error
    try:
        return _token_set(folder, data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: not a manifest of tilth ({error!r}); tokenize again") from error


def _token_set(folder: Path, data: Mapping[str, Any]) -> TokenSet:
    path = folder / MANIFEST
    if data["format"] != FORMAT:
        raise UserError(f"{path}: found format {data['format']}, expected {FORMAT}; tokenize again with this version")
    encoding = Encoding(str(data["tokenizer"]), int(data["vocabulary_size"]), int(data["separator"]))
    token_set = TokenSet(folder, encoding, tuple(TokenPart.from_json(part) for part in data["parts"]))
    if data["digest"] != token_set.digest:
        raise UserError(f"{path}: its digest does not match its parts, so it was edited; tokenize again")
    return token_set


def _check_part(folder: Path, part: TokenPart, encoding: Encoding, *, verify_digests: bool) -> None:
    path = folder / part.name
    if not path.is_file():
        raise UserError(f"{path}: token shard not found, but {MANIFEST} names it; bring it back or tokenize again")
    size = path.stat().st_size
    if size != part.size:
        raise UserError(f"{path}: found {size} bytes, {MANIFEST} says {part.size}; the shard changed, tokenize again")
    found = read_shard(path)
    if found.encoding != encoding:
        raise UserError(
            f"{path}: made with tokenizer {found.encoding.tokenizer} ({found.encoding.vocabulary_size} pieces), "
            f"expected {encoding.tokenizer} ({encoding.vocabulary_size} pieces) as in {MANIFEST}; tokenize again"
        )
    if verify_digests and (digest := file_digest(path)) != part.digest:
        raise UserError(
            f"{path}: found digest {digest}, {MANIFEST} says {part.digest}; the shard changed, tokenize again"
        )
