"""Whole documents in rows, in the order of training: ``TrainingOrder`` with best fit in place of cutting.

A row is a sample. Its documents begin at its start and it ends in padding where none fits; only a document longer than
a row is cut, into pieces that fill rows and a last one that is packed like a document. Every token, separators too, is
in one row an epoch. Which rows there are depends on the source's documents; which comes when, on the same schedule.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tilth.corpus.errors import UserError
from tilth.corpus.stage import fingerprint
from tilth.tokenize.mixture import Mixture
from tilth.tokenize.packing import Rows, cut_long, pack_whole
from tilth.tokenize.places import Places
from tilth.tokenize.streams import Stream, Streams
from tilth.tokenize.token_set import TokenSet

VERSION = 1  # raised when the same arguments give other rows or another order


class PackedOrder:
    """Rows of whole documents in the order of training; a row has ``sequence_length + 1`` tokens."""

    def __init__(
        self,
        token_set: TokenSet,
        sequence_length: int,
        seed: int,
        weights: Mapping[str, float] | None = None,
        *,
        budgets: Mapping[str, int] | None = None,
        epochs: Mapping[str, float] | None = None,
        padding: int | None = None,
    ) -> None:
        """Index and pack ``token_set``; ``padding`` is the id that fills rows, by default the separator.

        A budget's tokens are places in rows, padding among them. Raises ``UserError`` as ``TrainingOrder`` does.
        """
        if sequence_length < 1:
            raise UserError(f"sequence_length: found {sequence_length}, expected at least 1; raise it")
        self.token_set = token_set
        self.sequence_length = sequence_length
        self.padding = token_set.encoding.separator if padding is None else padding
        self._streams = Streams.of(token_set)
        self.rows = {
            name: packed_documents(self._streams, stream, sequence_length + 1)
            for name, stream in self._streams.by_source.items()
        }
        samples = {name: rows.count for name, rows in self.rows.items()}
        self.mixture = Mixture(weights, budgets, epochs)
        shares = self.mixture.shares(str(token_set.folder), samples, sequence_length)
        self.places = Places(samples, shares, self.mixture.limits(samples, sequence_length), seed)
        limits = [self.places.limits] if self.places.limits else []
        self.fingerprint = fingerprint(
            "packed order", VERSION, token_set.digest, sequence_length, seed, self.places.shares, self.padding, *limits
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Send the arguments: the other process opens and packs the shards itself."""
        return _again, (self.token_set, self.sequence_length, self.places.seed, self.mixture, self.padding)

    def batch(self, first: int, count: int) -> np.ndarray:
        """Return rows ``first`` to ``first + count - 1``: int64 (count, sequence_length + 1), padded."""
        out = np.full((count, self.sequence_length + 1), self.padding, np.int64)
        for row, (name, starts, lengths) in enumerate(self._pieces(first, count)):
            at = 0
            for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
                self._streams.read(self._streams.by_source[name], start, out[row, at : at + length])
                at += length
        return out

    def filled(self, first: int, count: int) -> np.ndarray:
        """Return how many tokens of every row are no padding: int64 (count,)."""
        return np.array([int(lengths.sum()) for _, _, lengths in self._pieces(first, count)], np.int64)

    def documents_at(self, sample: int) -> list[tuple[str, str]]:
        """Return (document id in hex, source) of every document with a token in row ``sample``, in its order."""
        ((name, starts, lengths),) = self._pieces(sample, 1)
        stream = self._streams.by_source[name]
        return [
            (self._streams.documents(stream, start, start + length)[0].hex(), name)
            for start, length in zip(starts.tolist(), lengths.tolist(), strict=True)
        ]

    def document_of(self, position: int) -> tuple[str, str] | None:
        """Return (document id in hex, source) of the token at ``position`` of a run; None where it is padding."""
        sample, offset = divmod(position, self.sequence_length)
        ((name, starts, lengths),) = self._pieces(sample, 1)
        ends = np.cumsum(lengths)
        piece = int(np.searchsorted(ends, offset, side="right"))
        if piece == len(ends):
            return None
        start = int(starts[piece])
        (found,) = self._streams.documents(self._streams.by_source[name], start, start + 1)
        return found.hex(), name

    def fill(self) -> float:
        """Return the share of all rows, of every source once, that is no padding."""
        used = [rows.used() for name, rows in self.rows.items() if name in self.places.sources]
        return float(sum(one.sum() for one in used)) / (sum(map(len, used)) * (self.sequence_length + 1))

    def _pieces(self, first: int, count: int) -> list[tuple[str, np.ndarray, np.ndarray]]:
        found = []
        for source, row in zip(*(column.tolist() for column in self.places.at(first, count)), strict=True):
            name = self.places.sources[source]
            rows = self.rows[name]
            these = slice(int(rows.firsts[row]), int(rows.firsts[row + 1]))
            found.append((name, rows.starts[these], rows.lengths[these]))
        return found


def packed_documents(streams: Streams, stream: Stream, capacity: int) -> Rows:
    """Pack a source's documents, with their separators, into rows of ``capacity`` tokens."""
    ends = streams.ends(stream)
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]]) if len(ends) else ends
    return pack_whole(*cut_long(starts, ends - starts, capacity), capacity)


def _again(token_set: TokenSet, sequence_length: int, seed: int, mixture: Mixture, padding: int) -> PackedOrder:
    weights, budgets, epochs = mixture.weights, mixture.budgets, mixture.epochs
    return PackedOrder(token_set, sequence_length, seed, weights, budgets=budgets, epochs=epochs, padding=padding)
