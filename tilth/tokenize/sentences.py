"""A batch's documents as sequences, the way Megatron's files know them: whole, or cut into sentences for BERT."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tilth.tokenize.shards import TokenBatch


@dataclass(frozen=True)
class Sequences:
    """Where sequences lie in a batch's tokens, and how many each document has."""

    starts: np.ndarray  # int64 (sequences,)
    lengths: np.ndarray  # int32 (sequences,)
    of_document: np.ndarray  # int64 (documents,): sequences


def sequences_of(batch: TokenBatch, sentence_ends: Sequence[int] = (), *, keep_separator: bool = True) -> Sequences:
    """Return the sequences of a batch: cut after every token of ``sentence_ends``, separators kept or left out.

    A document that is empty without its separator has no sequence.
    """
    starts, ends = batch.offsets[:-1], batch.offsets[1:]
    if not keep_separator:
        ends = ends - 1
    if not sentence_ends:
        kept = ends > starts
        return Sequences(starts[kept], (ends - starts)[kept].astype(np.int32), kept.astype(np.int64))
    after = np.flatnonzero(np.isin(batch.tokens, np.array(sentence_ends))) + 1
    bounds = np.unique(np.concatenate([after, starts, ends]))
    first, last = bounds[:-1], bounds[1:]
    owner = np.searchsorted(starts, first, side="right") - 1
    inside = last <= ends[owner]  # what lies between a document's end and the next one's start is its separator
    first, last, owner = first[inside], last[inside], owner[inside]
    return Sequences(first, (last - first).astype(np.int32), np.bincount(owner, minlength=len(starts)).astype(np.int64))
