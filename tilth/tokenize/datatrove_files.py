"""datatrove's token files (``.ds``, ``.ds.index``, ``.ds.metadata``) read as a token set.

A ``.ds`` file is bare tokens; its index is where documents end, as uint64; the first line of its metadata ends in the
bytes of a token (datatrove 0.10.1, pipeline/tokens/tokenizer.py).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tilth.corpus.errors import UserError
from tilth.tokenize.imported import Documents, import_tokens
from tilth.tokenize.megatron_files import cut_batches
from tilth.tokenize.shards import SHARD_BYTES
from tilth.tokenize.token_set import TokenSet
from tilth.tokenize.tokenizer import Tokenizer


def import_datatrove(
    paths: Sequence[Path | str], tokenizer: Tokenizer, source: str, folder: Path | str, shard_bytes: int = SHARD_BYTES
) -> TokenSet:
    """Read ``.ds`` files as one token set in ``folder``.

    Raises ``UserError`` where a file is missing or damaged, or its tokens are not those of ``tokenizer``.
    """
    files = [(Path(path).name, _documents(Path(path), tokenizer)) for path in paths]
    return import_tokens(files, tokenizer, source, Path(folder), shard_bytes)


def _documents(path: Path, tokenizer: Tokenizer) -> Iterator[Documents]:
    index = path.with_name(path.name + ".index")
    for file in (path, index):
        if not file.is_file():
            raise UserError(f"{file}: no such file; a datatrove token file needs its index beside it")
    width = _width(path.with_name(path.name + ".metadata")) or tokenizer.dtype.itemsize
    if index.stat().st_size % 8 or path.stat().st_size % width:
        raise UserError(f"{path}: cut short, or not tokens of {width} bytes; bring the whole file and its index")
    ends = np.fromfile(index, np.uint64).astype(np.int64)
    bounds = np.concatenate([np.zeros(1, np.int64), ends])
    tokens = np.memmap(path, np.uint16 if width == 2 else np.uint32, "r") if path.stat().st_size else np.empty(0)
    if bounds[-1] != len(tokens) or (np.diff(bounds) < 0).any():
        raise UserError(
            f"{path}: found {len(tokens)} tokens, {index.name} says {bounds[-1]}; bring the file and the index that "
            "belong together"
        )
    yield from cut_batches(tokens, bounds)


def _width(metadata: Path) -> int | None:
    """Return the bytes of a token as the metadata say; None where there are none."""
    if not metadata.is_file():
        return None
    first = metadata.read_text(encoding="utf-8").split("\n", 1)[0]
    width = first.rpartition("|")[2]
    if width not in ("2", "4"):
        raise UserError(f"{metadata}: found '{first}', expected a tokenizer's name, | and 2 or 4; correct it")
    return int(width)
