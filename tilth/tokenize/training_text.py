"""The text that a tokenizer is trained on: a sample of documents that does not depend on their order, cut into lines.

Every document draws a number from the hash of its text and the seed, and the smallest numbers stay until they fill
the sample. So any reading order, any number of files and any shuffle give the same tokenizer, in one pass that holds
no more than the sample and one document. The price: equal texts stay or leave together.
"""

import heapq
import re
from collections.abc import Iterable, Iterator

import xxhash

# The trainer cannot learn from these: it reads U+2581 as a space, skips lines with U+2585 (its own mark for unknown
# characters) or NUL, and treats the tab as a boundary (sentencepiece 0.2.3, src/trainer_interface.cc).
LINE_BREAKS = re.compile("[\n\t\0\u2581\u2585]+")

# The trainer stores positions inside a word in 16 bits, so a word must stay below 65,536 characters; 4,096 is far
# below that and cuts natural lines in fewer than one of a thousand.
LINE_CHARACTERS = 4096


def sample_texts(texts: Iterable[str], size: int, seed: int) -> list[str]:
    """Return a uniform sample of ``texts`` of at most ``size`` UTF-8 bytes, the same for every order of ``texts``.

    The last text that fits only in part is cut at a character. All texts are returned where they fit.
    """
    kept: list[tuple[int, bytes]] = []  # a heap with the largest number on top
    total = 0
    for text in texts:
        data = text.encode()
        if not data:
            continue
        number = xxhash.xxh3_128_intdigest(data, seed % 2**64)
        heapq.heappush(kept, (-number, data))
        total += len(data)
        while total - len(kept[0][1]) >= size:
            total -= len(heapq.heappop(kept)[1])
    kept.sort(reverse=True)
    if total > size:
        number, last = kept[-1]
        kept[-1] = (number, last[: len(last) - (total - size)])
    return [data.decode(errors="ignore") for _, data in kept]


def training_lines(texts: Iterable[str]) -> Iterator[str]:
    """Yield the non-empty lines of ``texts``, none longer than ``LINE_CHARACTERS``."""
    for text in texts:
        for line in LINE_BREAKS.split(text):
            for start in range(0, len(line), LINE_CHARACTERS):
                yield line[start : start + LINE_CHARACTERS]
