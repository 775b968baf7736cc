"""The order in which a model sees its samples: a function of (seed, epoch, source), and of nothing else.

Not of how long the run will be, nor of how many readers share it, nor of where it was interrupted: a run made longer
begins with the same samples, and two runs of a study differ only where their recipes do. (In Megatron-core 0.16.1, a
run extended past an epoch keeps none of its first 200 samples; docs/decisions/sample-order.md.)

A source's documents, each ended by the separator, are one stream in canonical order. Sample ``i`` of the source is
tokens ``[i * length, (i + 1) * length]``: length + 1 tokens, the last of which is the first of the next sample, so that
every token is predicted once an epoch, but for the stream's first and the fewer than ``length`` at its end that fill no
sample: the tail.

Nothing is copied and nothing is written: the index is a few numbers for every run of documents of one source.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import xxhash

from tilth.corpus.errors import UserError
from tilth.corpus.stage import fingerprint
from tilth.tokenize.blend import BLOCK, Blend, whole_shares
from tilth.tokenize.shards import TokenBatch
from tilth.tokenize.token_set import TokenSet

VERSION = 1  # raised when the same arguments give another order

# Permutations that are kept for every source: the epoch that is read and the one that follows.
KEPT_EPOCHS = 2


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


class TrainingOrder:
    """Samples of a token set in the order of training.

    ``sources`` are those that have samples; ``left_out`` maps the others to their tokens: sources of weight 0 and,
    where no weights are given, sources too small for one sample. Without weights every source is seen once in the first
    ``sum(samples_per_epoch)`` samples; with weights each repeats at its own pace.
    """

    def __init__(
        self, token_set: TokenSet, sequence_length: int, seed: int, weights: Mapping[str, float] | None = None
    ) -> None:
        """Index ``token_set``. ``weights``: shares of the samples, one for every source, of any scale.

        Raises ``UserError`` where seed or sequence length are out of range, a source has no weight or a weight no
        source, a source of positive weight is too small for one sample, or all are.
        """
        if not 0 <= seed < 2**63:
            raise UserError(f"seed: found {seed}, expected a whole number from 0 to 2**63 - 1; change it")
        if sequence_length < 1:
            raise UserError(f"sequence_length: found {sequence_length}, expected at least 1; raise it")
        self.token_set = token_set
        self.sequence_length = sequence_length
        self.seed = seed
        self.weights = None if weights is None else dict(weights)
        streams, self._batches = _index(token_set)
        samples = {name: max(stream.tokens - 1, 0) // sequence_length for name, stream in streams.items()}
        shares = _shares(token_set, sequence_length, samples, weights)
        self.sources = tuple(sorted(shares))
        self.samples_per_epoch = {name: samples[name] for name in self.sources}
        self.left_out = {name: stream.tokens for name, stream in streams.items() if name not in shares}
        self._streams = [streams[name] for name in self.sources]
        self._tokens = [batch.tokens for batch in self._batches]
        self._blend = Blend(np.array([shares[name] for name in self.sources], np.int64))
        self._permutations: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()
        self._block = lru_cache(maxsize=2)(self._places_of_block)
        self.fingerprint = fingerprint(
            "training order",
            VERSION,
            token_set.digest,
            sequence_length,
            seed,
            {name: shares[name] for name in self.sources},
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Send the arguments, not the maps: the other process opens the shards itself."""
        return TrainingOrder, (self.token_set, self.sequence_length, self.seed, self.weights)

    def batch(self, first: int, count: int) -> np.ndarray:
        """Return samples ``first`` to ``first + count - 1``: int64 (count, sequence_length + 1).

        Position in a run is ``first * sequence_length`` tokens. Readers that share a run ask for disjoint ranges.
        """
        out = np.empty((count, self.sequence_length + 1), np.int64)
        sources, starts = self._places(first, count)
        for row, (source, start) in enumerate(zip(sources.tolist(), starts.tolist(), strict=True)):
            self._read(self._streams[source], start, out[row])
        return out

    def documents_at(self, sample: int) -> list[tuple[str, str]]:
        """Return (document id in hex, source) of every document with a token in ``sample``, in its order."""
        sources, starts = self._places(sample, 1)
        source, start = int(sources[0]), int(starts[0])
        found = []
        for number, first, last in _runs(self._streams[source], start, start + self.sequence_length + 1):
            batch = self._batches[number]
            rows = np.searchsorted(batch.offsets, [first, last - 1], side="right") - 1
            ids = batch.documents.column("id").slice(rows[0], rows[1] - rows[0] + 1)
            found += [(id.hex(), self.sources[source]) for id in ids.to_pylist()]
        return found

    def repeats(self, samples: int) -> dict[str, float]:
        """Return how many epochs of every source are in the first ``samples``."""
        counts = self._blend.counts(samples).tolist()
        return {name: count / self.samples_per_epoch[name] for name, count in zip(self.sources, counts, strict=True)}

    def state(self, samples: int) -> dict[str, Any]:
        """Return what a checkpoint after ``samples`` samples has to remember: JSON's types."""
        return {"samples": samples, "tokens": samples * self.sequence_length, "fingerprint": self.fingerprint}

    def resume(self, state: Mapping[str, Any]) -> int:
        """Return the sample to go on with. Raises ``UserError`` where ``state`` was saved with another order."""
        if state["fingerprint"] != self.fingerprint:
            raise UserError(
                f"{self.token_set.folder}: the checkpoint was trained on order {state['fingerprint']}, found "
                f"{self.fingerprint}: tokens, seed, sequence length or weights changed; restore them or start a new run"
            )
        return int(state["samples"])

    def _places(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return source and first token in its stream for samples from ``first`` on: int64 (count,) each."""
        if first < 0 or count < 0:
            raise ValueError(f"samples {first} to {first + count}: expected numbers of at least 0")
        number, offset = divmod(first, BLOCK)
        blocks = [self._block(block) for block in range(number, -(-(first + count) // BLOCK))]
        if not blocks:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        sources, starts = (
            blocks[0] if len(blocks) == 1 else (np.concatenate(column) for column in zip(*blocks, strict=True))
        )
        return sources[offset : offset + count], starts[offset : offset + count]

    def _places_of_block(self, block: int) -> tuple[np.ndarray, np.ndarray]:
        """Return source and first token for the ``BLOCK`` samples of a block: worked out together, ten times faster."""
        sources = self._blend.sources(block * BLOCK, BLOCK)
        starts = np.empty(BLOCK, np.int64)
        seen = self._blend.counts(block * BLOCK)
        for source in np.unique(sources).tolist():
            rows = np.flatnonzero(sources == source)
            epochs, places = np.divmod(
                seen[source] + np.arange(len(rows)), self.samples_per_epoch[self.sources[source]]
            )
            for epoch in np.unique(epochs).tolist():
                these = epochs == epoch
                starts[rows[these]] = self._permutation(source, epoch)[places[these]]
        return sources, starts * self.sequence_length

    def _permutation(self, source: int, epoch: int) -> np.ndarray:
        key = (source, epoch)
        if key not in self._permutations:
            kept = [other for other in self._permutations if other[0] == source]
            for other in kept[: len(kept) + 1 - KEPT_EPOCHS]:
                del self._permutations[other]
            name = self.sources[source]
            self._permutations[key] = permutation(self.seed, epoch, name, self.samples_per_epoch[name])
        self._permutations.move_to_end(key)
        return self._permutations[key]

    def _read(self, stream: Stream, start: int, out: np.ndarray) -> None:
        """Copy ``len(out)`` tokens of ``stream`` from ``start`` on."""
        at = 0
        for number, first, last in _runs(stream, start, start + len(out)):
            after = at + last - first
            out[at:after] = self._tokens[number][first:last]
            at = after


def permutation(seed: int, epoch: int, source: str, count: int) -> np.ndarray:
    """Return the order of a source's samples in an epoch: a permutation of 0 to count - 1, uint32 or int64.

    Sorts the raw output of a Philox generator, whose stream NumPy promises to keep (NEP 19; that of ``permutation`` it
    does not), keyed by the xxh3-128 of the arguments. Equal numbers, one in 2**64, keep their order.
    """
    key = xxhash.xxh3_128_intdigest(f"{seed}/{epoch}/{source}".encode())
    order = np.argsort(np.random.Philox(key=key).random_raw(count), kind="stable")
    return order.astype(np.uint32) if count <= 2**32 else order


def _runs(stream: Stream, start: int, end: int) -> list[tuple[int, int, int]]:
    """Return (record batch, first token, token after the last) for the tokens ``start`` to ``end`` of a stream."""
    run = int(np.searchsorted(stream.starts, start, side="right")) - 1
    found = []
    while start < end:
        last = min(end, int(stream.starts[run + 1]))
        offset = int(stream.offsets[run]) - int(stream.starts[run])
        found.append((int(stream.batches[run]), offset + start, offset + last))
        start = last
        run += 1
    return found


def _index(token_set: TokenSet) -> tuple[dict[str, Stream], list[TokenBatch]]:
    """Return every source's stream, by name, and the record batches that they point into."""
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
    return {name: _stream(pieces) for name, pieces in runs.items()}, batches


def _stream(pieces: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Stream:
    numbers, offsets, lengths = (np.concatenate(column) for column in zip(*pieces, strict=True))
    return Stream(np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]), numbers, offsets)


def _shares(
    token_set: TokenSet, sequence_length: int, samples: Mapping[str, int], weights: Mapping[str, float] | None
) -> dict[str, int]:
    """Return every source's share of the samples as a whole number above zero."""
    if weights is None:
        shares = {name: count for name, count in samples.items() if count > 0}
        if not shares:
            raise UserError(
                f"{token_set.folder}: no source fills one sample of {sequence_length + 1} tokens "
                f"({token_set.total.tokens} tokens in all); shorten sequence_length or add text"
            )
        return shares
    known, given = set(samples), set(weights)
    if known != given:
        raise UserError(
            f"weights: found {', '.join(sorted(given)) or 'none'}, expected one for each of "
            f"{', '.join(sorted(known))}; give 0 to a source that is to be left out"
        )
    shares = whole_shares(weights)
    small = sorted(name for name in shares if samples[name] == 0)
    if small:
        tokens = token_set.sources[small[0]].tokens
        raise UserError(
            f"weights: source '{small[0]}' has {tokens} tokens, expected at least {sequence_length + 1} for one "
            "sample; give it weight 0, shorten sequence_length or add text"
        )
    return shares
