"""Tokens that another tool wrote, as a token set: every id checked, every document ended by the one separator.

Files of bare tokens do not say whose they are. What shows a wrong tokenizer is refused: ids outside its vocabulary, and
another tokenizer's separator at the end of every document (datatrove issue 489).
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

from tilth.corpus.document import ID, document_id
from tilth.corpus.errors import UserError
from tilth.tokenize.shards import Encoding, write_shards
from tilth.tokenize.token_set import TokenSet, write_manifest
from tilth.tokenize.tokenizer import Tokenizer

BATCH_TOKENS = 2**20  # tokens that are read at once, or one document

# tokens of some documents, and their bounds: int64 (documents + 1,) from 0 on
Documents = tuple[np.ndarray, np.ndarray]


def import_tokens(
    files: Sequence[tuple[str, Iterable[Documents]]], tokenizer: Tokenizer, source: str, folder: Path, shard_bytes: int
) -> TokenSet:
    """Write a token set of one source from (name, documents); a document's locator is ``name#number``.

    The separator is put after documents that lack it. ``bytes`` are those of the decoded text. Raises ``UserError``
    where there is no document, or tokens cannot be those of ``tokenizer``.
    """
    parts = []
    for number, (name, documents) in enumerate(files):
        encoded = _encoded(name, documents, tokenizer, source)
        parts += write_shards(encoded, Encoding.of(tokenizer), folder, number, shard_bytes)
    if not sum(part.total.documents for part in parts):
        raise UserError(f"{folder}: found no document in {', '.join(name for name, _ in files) or 'no file'}; add some")
    return write_manifest(folder, tokenizer, parts)


def _encoded(
    name: str, documents: Iterable[Documents], tokenizer: Tokenizer, source: str
) -> Iterator[tuple[pa.RecordBatch, np.ndarray, np.ndarray]]:
    number = 0
    for found, bounds in documents:
        _check(name, found, bounds, tokenizer)
        tokens, offsets = separated(found.astype(tokenizer.dtype), bounds, tokenizer.separator)
        count = len(bounds) - 1
        texts = tokenizer.library.decode([found[start:stop].tolist() for start, stop in pairwise(bounds.tolist())])
        columns = [
            pa.array([document_id(source, f"{name}#{number + place}") for place in range(count)], ID),
            pa.array([source] * count, pa.string()),
            pa.array([len(text.encode()) for text in texts], pa.int64()),
        ]
        number += count
        yield pa.record_batch(columns, names=["id", "source", "bytes"]), tokens, offsets


def separated(tokens: np.ndarray, bounds: np.ndarray, separator: int) -> Documents:
    """Put ``separator`` after the documents that do not end with it."""
    starts, ends = bounds[:-1], bounds[1:]
    lacks = ends == starts
    lacks[~lacks] = tokens[ends[~lacks] - 1] != separator
    added = np.insert(tokens, ends[lacks], np.array(separator, tokens.dtype))
    return added, bounds + np.concatenate([np.zeros(1, np.int64), np.cumsum(lacks)])


def _check(name: str, tokens: np.ndarray, bounds: np.ndarray, tokenizer: Tokenizer) -> None:
    size, separator = tokenizer.vocabulary_size, tokenizer.separator
    if len(tokens) and not 0 <= int(tokens.min()) <= (largest := int(tokens.max())) < size:
        wrong = largest if largest >= size else int(tokens.min())
        raise UserError(
            f"{name}: found id {wrong}, expected ids below {size}, the vocabulary of {tokenizer.path}; "
            "name the tokenizer that made the file"
        )
    ends = bounds[1:][np.diff(bounds) > 0]
    last = tokens[ends - 1]
    if len(last) > 1 and (last == last[0]).all() and last[0] != separator:
        raise UserError(
            f"{name}: every document ends with id {last[0]} ({tokenizer.library.piece_of(int(last[0]))!r}), expected "
            f"the separator {separator}; name the tokenizer that made the file, or its separator"
        )
    inside = np.flatnonzero(tokens == separator) + 1
    if len(stray := np.setdiff1d(inside, ends)):
        raise UserError(
            f"{name}: the separator {separator} stands inside a document (token {stray[0] - 1} of those read at once), "
            "expected it at ends only; split the document there"
        )
