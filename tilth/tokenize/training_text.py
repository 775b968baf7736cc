"""The text that a tokenizer is trained on: a sample of documents that does not depend on their order, cut into lines.

Every document draws a number from the hash of its text and the seed, and the smallest numbers stay until they fill
the sample. So any reading order, any number of files and any shuffle give the same tokenizer, in one pass that holds
no more than the sample and one document. The price: equal texts stay or leave together.
"""

import heapq
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import cycle

import xxhash

from tilth.corpus.errors import UserError

# The trainer cannot learn from these: it reads U+2581 as a space, skips lines with U+2585 (its own mark for unknown
# characters) or NUL, and treats the tab as a boundary (sentencepiece 0.2.3, src/trainer_interface.cc).
LINE_BREAKS = re.compile("[\n\t\0\u2581\u2585]+")

# The trainer stores positions inside a word in 16 bits, so a word must stay below 65,536 characters; 4,096 is far
# below that and cuts natural lines in fewer than one of a thousand.
LINE_CHARACTERS = 4096


class Smallest:
    """The texts with the smallest numbers, of a little more than ``size`` UTF-8 bytes together."""

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self.seed = seed % 2**64
        self._kept: list[tuple[int, bytes]] = []  # a heap with the largest number on top
        self._total = 0

    def add(self, text: str) -> None:
        """Keep ``text`` if its number is small enough."""
        data = text.encode()
        if not data:
            return
        heapq.heappush(self._kept, (-xxhash.xxh3_128_intdigest(data, self.seed), data))
        self._total += len(data)
        while self._total - len(self._kept[0][1]) >= self.size:
            self._total -= len(heapq.heappop(self._kept)[1])

    def texts(self) -> list[bytes]:
        """Return the texts by their numbers; the last is cut where it fits only in part."""
        found = [data for _, data in sorted(self._kept, reverse=True)]
        if self._total > self.size:
            found[-1] = found[-1][: len(found[-1]) - (self._total - self.size)]
        return found


def sample_texts(texts: Iterable[str], size: int, seed: int) -> list[str]:
    """Return a uniform sample of ``texts`` of at most ``size`` UTF-8 bytes, the same for every order of ``texts``.

    The last text that fits only in part is cut at a character. All texts are returned where they fit.
    """
    sample = Smallest(size, seed)
    for text in texts:
        sample.add(text)
    return [data.decode(errors="ignore") for data in sample.texts()]


def sample_sources(
    texts: Iterable[tuple[str, str]], size: int, seed: int, weights: Mapping[str, float]
) -> Iterator[str]:
    """Return a sample of (source, text) of ``size`` bytes in which every source has its share, by ``weights``.

    A source with less text than its share is repeated, and its last round cut, until it fills it: so is a small domain
    up-sampled. Raises ``UserError`` where weights and sources do not fit each other.
    """
    for name, weight in weights.items():
        if not 0 <= weight < float("inf"):
            raise UserError(f"tokenizer.weights: '{name}' has {weight}, expected a number of at least 0; correct it")
    total = sum(weights.values())
    if not total > 0:
        raise UserError("tokenizer.weights: all are 0, expected one above 0; give a source a weight")
    samples = {name: Smallest(int(size * weight / total), seed) for name, weight in weights.items() if weight > 0}
    seen = set()
    for source, text in texts:
        seen.add(source)
        if source in samples:
            samples[source].add(text)
    if seen != set(weights):
        raise UserError(
            f"tokenizer.weights: found {', '.join(sorted(weights))}, expected one for each of "
            f"{', '.join(sorted(seen)) or 'no source'}; give 0 to a source that is to be left out"
        )
    return (text for name in sorted(samples) for text in _filled(samples[name].texts(), samples[name].size))


def _filled(texts: list[bytes], size: int) -> Iterator[str]:
    """Yield ``texts`` again and again up to ``size`` bytes."""
    for data in cycle(texts):
        if size <= 0:
            return
        yield data[:size].decode(errors="ignore")
        size -= len(data)


def training_lines(texts: Iterable[str]) -> Iterator[str]:
    """Yield the non-empty lines of ``texts``, none longer than ``LINE_CHARACTERS``."""
    for text in texts:
        for line in LINE_BREAKS.split(text):
            for start in range(0, len(line), LINE_CHARACTERS):
                yield line[start : start + LINE_CHARACTERS]
