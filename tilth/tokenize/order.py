"""The order in which a model sees its samples: a function of (seed, epoch, source), and of nothing else.

Not of how long the run will be, nor of how many readers share it, nor of where it was interrupted: a run made longer
begins with the same samples, and two runs of a study differ only where their recipes do. (In Megatron-core 0.16.1, a
run extended past an epoch keeps none of its first 200 samples; docs/decisions/sample-order.md.)

A source's documents, each ended by the separator, are one stream in canonical order. Sample ``i`` of the source is
tokens ``[i * length, (i + 1) * length]``: length + 1 tokens, the last of which is the first of the next sample, so that
every token is predicted once an epoch, but for the stream's first and the fewer than ``length`` at its end that fill no
sample: the tail. ``tilth.tokenize.packed_order`` cuts no document in place of that.

Nothing is copied and nothing is written: the index is a few numbers for every run of documents of one source.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tilth.corpus.errors import UserError
from tilth.corpus.stage import fingerprint
from tilth.tokenize.mixture import Mixture
from tilth.tokenize.places import Places
from tilth.tokenize.streams import Streams
from tilth.tokenize.token_set import TokenSet

VERSION = 1  # raised when the same arguments give another order


class TrainingOrder:
    """Samples of a token set in the order of training.

    ``sources`` are those that have samples; ``left_out`` maps the others to their tokens: sources of weight 0 and,
    where no weights are given, sources too small for one sample. Without weights every source is seen once in the first
    ``sum(samples_per_epoch)`` samples; with weights each repeats at its own pace, up to its ``epochs``.
    """

    def __init__(
        self,
        token_set: TokenSet,
        sequence_length: int,
        seed: int,
        weights: Mapping[str, float] | None = None,
        *,
        budgets: Mapping[str, int] | None = None,
        epochs: Mapping[str, float] | None = None,
    ) -> None:
        """Index ``token_set``. ``weights`` or ``budgets`` (tokens): one for every source; ``epochs``: at most.

        Raises ``UserError`` where seed or sequence length are out of range, a source has no weight or a weight no
        source, a source of positive weight is too small for one sample, or all are.
        """
        if sequence_length < 1:
            raise UserError(f"sequence_length: found {sequence_length}, expected at least 1; raise it")
        self.token_set = token_set
        self.sequence_length = sequence_length
        self.seed = seed
        self.mixture = Mixture(weights, budgets, epochs)
        self._streams = Streams.of(token_set)
        streams = self._streams.by_source
        samples = {name: max(stream.tokens - 1, 0) // sequence_length for name, stream in streams.items()}
        shares = self.mixture.shares(str(token_set.folder), samples, sequence_length)
        self.places = Places(samples, shares, self.mixture.limits(samples, sequence_length), seed)
        self.sources = self.places.sources
        self.samples_per_epoch = self.places.samples_per_epoch
        self.left_out = {name: stream.tokens for name, stream in streams.items() if name not in shares}
        self._ordered = [streams[name] for name in self.sources]
        limits = [self.places.limits] if self.places.limits else []
        self.fingerprint = fingerprint(
            "training order", VERSION, token_set.digest, sequence_length, seed, self.places.shares, *limits
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Send the arguments, not the maps: the other process opens the shards itself."""
        return _again, (self.token_set, self.sequence_length, self.seed, self.mixture)

    def batch(self, first: int, count: int) -> np.ndarray:
        """Return samples ``first`` to ``first + count - 1``: int64 (count, sequence_length + 1).

        Position in a run is ``first * sequence_length`` tokens. Readers that share a run ask for disjoint ranges.
        """
        out = np.empty((count, self.sequence_length + 1), np.int64)
        sources, places = self.places.at(first, count)
        for row, (source, place) in enumerate(zip(sources.tolist(), places.tolist(), strict=True)):
            self._streams.read(self._ordered[source], place * self.sequence_length, out[row])
        return out

    def documents_at(self, sample: int) -> list[tuple[str, str]]:
        """Return (document id in hex, source) of every document with a token in ``sample``, in its order."""
        sources, places = self.places.at(sample, 1)
        source, start = int(sources[0]), int(places[0]) * self.sequence_length
        found = self._streams.documents(self._ordered[source], start, start + self.sequence_length + 1)
        return [(id.hex(), self.sources[source]) for id in found]

    def document_of(self, position: int) -> tuple[str, str]:
        """Return (document id in hex, source) of the input token at ``position``, in tokens since the run's start."""
        sample, offset = divmod(position, self.sequence_length)
        sources, places = self.places.at(sample, 1)
        source, start = int(sources[0]), int(places[0]) * self.sequence_length + offset
        (found,) = self._streams.documents(self._ordered[source], start, start + 1)
        return found.hex(), self.sources[source]

    def repeats(self, samples: int) -> dict[str, float]:
        """Return how many epochs of every source are in the first ``samples``."""
        return self.places.epochs(samples)

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


def _again(token_set: TokenSet, sequence_length: int, seed: int, mixture: Mixture) -> TrainingOrder:
    return TrainingOrder(
        token_set, sequence_length, seed, mixture.weights, budgets=mixture.budgets, epochs=mixture.epochs
    )
