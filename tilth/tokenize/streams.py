"""A source's documents as one stream of tokens in canonical order, without a copy: a few numbers for every run."""

from dataclasses import dataclass

import numpy as np

from tilth.tokenize.shards import TokenBatch
from tilth.tokenize.token_set import TokenSet


@dataclass(frozen=True)
class Stream:
    """A source's tokens as runs of neighbouring documents in the record batches of the token set."""

    starts: np.ndarray  # int64 (runs + 1,): where a run begins in the stream; last, the tokens of the stream
    batches: np.ndarray  # int32 (runs,): number of the record batch
    offsets: np.ndarray  # int64 (runs,): where the run begins in the batch's tokens

    @property
    def tokens(self) -> int:
        """Length of the stream."""
        return int(self.starts[-1])

    def runs(self, start: int, end: int) -> list[tuple[int, int, int]]:
        """Return (record batch, first token, token after the last) for the tokens ``start`` to ``end``."""
        run = int(np.searchsorted(self.starts, start, side="right")) - 1
        found = []
        while start < end:
            last = min(end, int(self.starts[run + 1]))
            offset = int(self.offsets[run]) - int(self.starts[run])
            found.append((int(self.batches[run]), offset + start, offset + last))
            start = last
            run += 1
        return found


@dataclass(frozen=True)
class Streams:
    """All sources of a token set, and the record batches that their streams point into."""

    by_source: dict[str, Stream]
    batches: list[TokenBatch]

    @staticmethod
    def of(token_set: TokenSet) -> "Streams":
        """Index a token set: maps all shards, reads offsets and sources, no token."""
        batches = [batch for shard in token_set.shards() for batch in shard.batches]
        runs: dict[str, list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = {name: [] for name in token_set.sources}
        for number, batch in enumerate(batches):
            codes = batch.documents.column("source").dictionary_encode()
            places = codes.indices.to_numpy()
            firsts = np.flatnonzero(np.diff(places, prepend=-1))
            bounds = batch.offsets[np.append(firsts, len(places))]
            for place, name in enumerate(codes.dictionary.to_pylist()):
                these = places[firsts] == place
                starts, lengths = bounds[:-1][these], np.diff(bounds)[these]
                runs[name].append((np.full(len(starts), number, np.int32), starts, lengths))
        return Streams({name: _stream(pieces) for name, pieces in runs.items()}, batches)

    def read(self, stream: Stream, start: int, out: np.ndarray) -> None:
        """Copy ``len(out)`` tokens of ``stream`` from ``start`` on."""
        at = 0
        for number, first, last in stream.runs(start, start + len(out)):
            after = at + last - first
            out[at:after] = self.batches[number].tokens[first:last]
            at = after

    def documents(self, stream: Stream, start: int, end: int) -> list[bytes]:
        """Return the ids of the documents that have a token among those from ``start`` to ``end``."""
        found: list[bytes] = []
        for number, first, last in stream.runs(start, end):
            batch = self.batches[number]
            rows = np.searchsorted(batch.offsets, [first, last - 1], side="right") - 1
            found += batch.documents.column("id").slice(rows[0], rows[1] - rows[0] + 1).to_pylist()
        return found

    def ends(self, stream: Stream) -> np.ndarray:
        """Return where every document of ``stream`` ends, after its separator: int64 (documents,)."""
        pieces = [np.empty(0, np.int64)]
        for run, number in enumerate(stream.batches.tolist()):
            start, end = int(stream.starts[run]), int(stream.starts[run + 1])
            first = int(stream.offsets[run])
            offsets = self.batches[number].offsets
            rows = slice(*np.searchsorted(offsets, [first + 1, first + end - start + 1]))
            pieces.append(np.asarray(offsets[rows]) - first + start)
        return np.concatenate(pieces)


def _stream(pieces: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Stream:
    numbers, offsets, lengths = (np.concatenate(column) for column in zip(*pieces, strict=True))
    return Stream(np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]), numbers, offsets)
