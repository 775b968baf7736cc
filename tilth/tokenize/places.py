"""Which sample of which source comes when: a function of (seed, epoch, source) and of the mixture, and of nothing else.

A permutation for every source and epoch, and a schedule that says which source is next. Both can be asked for any
sample, so nothing depends on the length of a run, on its readers or on where it was interrupted.
"""

from collections import OrderedDict
from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import xxhash

from tilth.corpus.errors import UserError
from tilth.tokenize.blend import BLOCK, Blend, CappedBlend

# Permutations that are kept for every source: the epoch that is read and the one that follows.
KEPT_EPOCHS = 2


class Places:
    """The order of samples. ``total`` is where it ends: None unless every source has a limit."""

    def __init__(
        self, samples: Mapping[str, int], shares: Mapping[str, int], limits: Mapping[str, int], seed: int
    ) -> None:
        """``samples``: those of an epoch; ``shares`` and ``limits``: as ``Mixture`` gives them, in samples."""
        if not 0 <= seed < 2**63:
            raise UserError(f"seed: found {seed}, expected a whole number from 0 to 2**63 - 1; change it")
        self.seed = seed
        self.sources = tuple(sorted(shares))
        self.samples_per_epoch = {name: samples[name] for name in self.sources}
        self.shares = {name: shares[name] for name in self.sources}
        self.limits = {name: limits[name] for name in self.sources if name in limits}
        array = np.array(list(self.shares.values()), np.int64)
        self.total: int | None = None
        self._blend: Blend | CappedBlend = Blend(array)
        if self.limits:
            capped = CappedBlend(array, np.array([self.limits.get(name, -1) for name in self.sources], np.int64))
            self.total = capped.total
            self._blend = capped
        self._permutations: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()
        self._block = lru_cache(maxsize=2)(self._of_block)

    def at(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the source and its sample for ``count`` samples from ``first`` on: int64 (count,) each.

        Raises ``UserError`` past the end of a mixture whose sources are all limited.
        """
        if first < 0 or count < 0:
            raise ValueError(f"samples {first} to {first + count}: expected numbers of at least 0")
        if self.total is not None and first + count > self.total:
            raise UserError(
                f"mixture: epochs and budgets end after {self.total} samples, found a run that asks for "
                f"{first + count}; raise them or train fewer steps"
            )
        number, offset = divmod(first, BLOCK)
        blocks = [self._block(block) for block in range(number, -(-(first + count) // BLOCK))]
        if not blocks:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        sources, places = (
            blocks[0] if len(blocks) == 1 else (np.concatenate(column) for column in zip(*blocks, strict=True))
        )
        return sources[offset : offset + count], places[offset : offset + count]

    def counts(self, samples: int) -> dict[str, int]:
        """Return how many of the first ``samples`` are of each source."""
        return dict(zip(self.sources, self._blend.counts(samples).tolist(), strict=True))

    def epochs(self, samples: int) -> dict[str, float]:
        """Return how many epochs of every source are in the first ``samples``."""
        return {name: count / self.samples_per_epoch[name] for name, count in self.counts(samples).items()}

    def _of_block(self, block: int) -> tuple[np.ndarray, np.ndarray]:
        """Return source and sample for the ``BLOCK`` samples of a block: worked out together, ten times faster."""
        first = block * BLOCK
        count = BLOCK if self.total is None else min(BLOCK, self.total - first)
        sources = self._blend.sources(first, count)
        places = np.empty(count, np.int64)
        seen = self._blend.counts(first)
        for source in np.unique(sources).tolist():
            rows = np.flatnonzero(sources == source)
            size = self.samples_per_epoch[self.sources[source]]
            epochs, within = np.divmod(seen[source] + np.arange(len(rows)), size)
            for epoch in np.unique(epochs).tolist():
                these = epochs == epoch
                places[rows[these]] = self._permutation(source, epoch)[within[these]]
        return sources, places

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


def permutation(seed: int, epoch: int, source: str, count: int) -> np.ndarray:
    """Return the order of a source's samples in an epoch: a permutation of 0 to count - 1, uint32 or int64.

    Sorts the raw output of a Philox generator, whose stream NumPy promises to keep (NEP 19; that of ``permutation`` it
    does not), keyed by the xxh3-128 of the arguments. Equal numbers, one in 2**64, keep their order.
    """
    key = xxhash.xxh3_128_intdigest(f"{seed}/{epoch}/{source}".encode())
    order = np.argsort(np.random.Philox(key=key).random_raw(count), kind="stable")
    return order.astype(np.uint32) if count <= 2**32 else order
