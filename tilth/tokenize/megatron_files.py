"""Megatron's ``.bin`` and ``.idx``: token sets written as them and read from them, without Megatron.

Such files know neither source nor tokenizer, so importing asks for both and checks what can be checked. The layout is
that of megatron-core 0.16.1, core/datasets/indexed_dataset.py.
"""

import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tilth.corpus.errors import UserError
from tilth.corpus.store import temporary_name, write_atomically
from tilth.tokenize.imported import BATCH_TOKENS, Documents, import_tokens
from tilth.tokenize.sentences import sequences_of
from tilth.tokenize.shards import SHARD_BYTES
from tilth.tokenize.token_set import TokenSet
from tilth.tokenize.tokenizer import Tokenizer

HEADER = b"MMIDIDX\x00\x00"
INDEX_VERSION = 1
TYPES = {1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 8: "uint16"}
UINT16, INT32 = 8, 4


def export_megatron(
    token_set: TokenSet, prefix: Path | str, sentence_ends: Sequence[int] = (), *, keep_separator: bool = True
) -> None:
    """Write ``prefix.bin`` and ``prefix.idx``, the second last: where it stands, both are whole.

    For GPT a document is one sequence. For BERT give the ids after which sentences end, and leave out separators.
    """
    prefix = Path(prefix)
    prefix.parent.mkdir(parents=True, exist_ok=True)
    data_path = prefix.with_name(prefix.name + ".bin")
    prefix.with_name(prefix.name + ".idx").unlink(missing_ok=True)
    lengths, documents = [np.empty(0, np.int32)], [np.zeros(1, np.int64)]
    partial = temporary_name(data_path)
    try:
        with partial.open("wb") as stream:
            for shard in token_set.shards():
                for batch in shard.batches:
                    found = sequences_of(batch, sentence_ends, keep_separator=keep_separator)
                    kept = batch.tokens
                    if not keep_separator:
                        mask = np.ones(len(kept), np.bool_)
                        mask[batch.offsets[1:] - 1] = False
                        kept = kept[mask]
                    stream.write(np.ascontiguousarray(kept).data)
                    lengths.append(found.lengths)
                    documents.append(found.of_document)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(data_path)
    finally:
        partial.unlink(missing_ok=True)
    sizes = np.concatenate(lengths)
    width = token_set.dtype.itemsize
    pointers = (np.cumsum(sizes, dtype=np.int64) - sizes) * width
    indices = np.cumsum(np.concatenate(documents))
    code = UINT16 if width == 2 else INT32  # ids are below 2**31 in any vocabulary
    head = HEADER + struct.pack("<QBQQ", INDEX_VERSION, code, len(sizes), len(indices))
    index = head + sizes.tobytes() + pointers.tobytes() + indices.astype(np.int64).tobytes()
    write_atomically(prefix.with_name(prefix.name + ".idx"), index)


def import_megatron(
    prefixes: Sequence[Path | str],
    tokenizer: Tokenizer,
    source: str,
    folder: Path | str,
    shard_bytes: int = SHARD_BYTES,
) -> TokenSet:
    """Read ``.bin`` and ``.idx`` files as one token set in ``folder``; the sequences of a document are joined.

    Raises ``UserError`` where a file is missing or damaged, or its tokens are not those of ``tokenizer``.
    """
    files = [(Path(prefix).name, _documents(Path(prefix))) for prefix in prefixes]
    return import_tokens(files, tokenizer, source, Path(folder), shard_bytes)


def _documents(prefix: Path) -> Iterator[Documents]:
    index_path, data_path = prefix.with_name(prefix.name + ".idx"), prefix.with_name(prefix.name + ".bin")
    for path in (index_path, data_path):
        if not path.is_file():
            raise UserError(f"{path}: no such file; name both files of a Megatron data set by what they have in common")
    raw = index_path.read_bytes()
    damaged = f"{index_path}: not an index of Megatron, or damaged"
    size = struct.calcsize("<QBQQ")
    if raw[: len(HEADER)] != HEADER or len(raw) < len(HEADER) + size:
        raise UserError(f"{damaged} (its head); export it again")
    version, code, sequences, bounds = struct.unpack_from("<QBQQ", raw, len(HEADER))
    at = len(HEADER) + size
    if version != INDEX_VERSION or code not in TYPES or len(raw) < at + 12 * sequences + 8 * bounds or not bounds:
        raise UserError(f"{damaged} (version {version}, type {code}, {len(raw)} bytes); export it again")
    lengths = np.frombuffer(raw, np.int32, sequences, at).astype(np.int64)
    pointers = np.frombuffer(raw, np.int64, sequences, at + 4 * sequences)
    documents = np.frombuffer(raw, np.int64, bounds, at + 12 * sequences)
    dtype = np.dtype(TYPES[code])
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    if not np.array_equal(pointers, ends[:-1] * dtype.itemsize) or (lengths < 0).any():
        raise UserError(f"{index_path}: its sequences do not lie one after the other; export the data again")
    if data_path.stat().st_size != ends[-1] * dtype.itemsize:
        raise UserError(
            f"{data_path}: found {data_path.stat().st_size} bytes, {index_path.name} says {ends[-1] * dtype.itemsize}; "
            "bring the whole file"
        )
    if documents[0] != 0 or documents[-1] != sequences or (np.diff(documents) < 0).any():
        raise UserError(f"{damaged} (its documents); export it again")
    tokens = np.memmap(data_path, dtype, "r") if ends[-1] else np.empty(0, dtype)
    yield from cut_batches(tokens, ends[documents])


def cut_batches(tokens: np.ndarray, bounds: np.ndarray) -> Iterator[Documents]:
    """Yield documents, given their ``bounds`` (int64, documents + 1) in ``tokens``, about a megatoken at a time."""
    first = 0
    while first < len(bounds) - 1:
        after = int(np.searchsorted(bounds, bounds[first] + BATCH_TOKENS, side="right")) - 1
        after = min(max(after, first + 1), len(bounds) - 1)
        yield tokens[bounds[first] : bounds[after]], bounds[first : after + 1] - bounds[first]
        first = after
