"""Gopher's quality rules with datatrove's limits. Rae et al. 2021, table A1; datatrove 0.10.1, GopherQualityFilter.

Where datatrove divides by zero, a share is undefined here: a text without words fails ``words``, and where a recipe
lifts that rule, it fails the next as undefined.
"""

from typing import Final

import numpy as np

from tilth.filters.blocks import BLOCK, block_mask, lowest
from tilth.filters.characters import SPACE, character_classes
from tilth.filters.kernel import inlined, kernel
from tilth.filters.rules import Preset, Rule, Signals, at_least, at_most, between
from tilth.filters.texts import Texts
from tilth.filters.utf8 import decode, decode_before
from tilth.filters.words import ALL_SYMBOLS, HAS_LETTER

STOP_WORDS: Final = ("the", "be", "to", "of", "and", "that", "have", "with")  # case counts


def measure(texts: Texts) -> Signals:
    """Return the signals of the rules below: float64, one a document, NaN where a share has nothing to divide by."""
    words, lines = texts.words, texts.lines
    data = texts.data.view()
    data.flags.writeable = False  # the kernels are compiled for one kind of array only
    stop_words = np.array([int.from_bytes(word.encode(), "little") for word in STOP_WORDS], np.uint32)
    counts = np.zeros((len(texts), 4), np.int64)
    _count_words(data, words.starts, words.ends, words.rows, words.lengths, words.classes, stop_words, counts)
    marks = np.zeros((len(texts), 2), np.int64)
    _count_marks(data, texts.offsets, marks)
    shapes = np.zeros((len(texts), 2), np.int64)
    _count_lines(data, lines.starts, lines.ends, lines.rows, character_classes(), shapes)
    all_words, all_lines = np.diff(words.rows), np.diff(lines.rows)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "words": counts[:, 0].astype(np.float64),
            "mean_word_length": counts[:, 1] / counts[:, 0],
            "hash_to_words": marks[:, 0] / all_words,
            "ellipsis_to_words": marks[:, 1] / all_words,
            "bullet_lines": shapes[:, 0] / all_lines,
            "ellipsis_lines": shapes[:, 1] / all_lines,
            "alphabetic_words": counts[:, 2] / all_words,
            "stop_words": counts[:, 3].astype(np.float64),
        }


@kernel
def _count_words(
    data: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    rows: np.ndarray,
    lengths: np.ndarray,
    classes: np.ndarray,
    stop_words: np.ndarray,
    counts: np.ndarray,
) -> None:
    """Count, for every document: words that are not all symbols, their characters, words with a letter, stop words.

    ``stop_words`` uint32 are their bytes, at most four, as a little-endian number; each is counted once.
    """
    for document in range(len(rows) - 1):
        proper = characters = alphabetic = seen = 0
        for word in range(rows[document], rows[document + 1]):
            if classes[word] & ALL_SYMBOLS == 0:
                proper += 1
                characters += lengths[word]
            if classes[word] & HAS_LETTER == 0:
                continue
            alphabetic += 1
            size = ends[word] - starts[word]
            if 2 <= size <= 4:
                packed = np.uint32(0)
                for at in range(ends[word] - 1, starts[word] - 1, -1):
                    packed = np.uint32(packed << np.uint32(8) | np.uint32(data[at]))
                for stop in range(len(stop_words)):
                    if packed == stop_words[stop]:
                        seen |= 1 << stop
        distinct = 0
        while seen:
            seen &= seen - 1
            distinct += 1
        counts[document, 0] = proper
        counts[document, 1] = characters
        counts[document, 2] = alphabetic
        counts[document, 3] = distinct


@inlined
def _near_marks(data: np.ndarray, at: int, end: int) -> np.uint64:
    """Return a bit for each of the next 64 bytes that may belong to a mark: a full stop, ``#``, an ellipsis's end."""
    near = np.uint64(0)
    if at + BLOCK > len(data):
        for byte in range(min(BLOCK, end - at)):
            mark = data[at + byte]
            near |= np.uint64(mark == 46 or mark == 35 or mark == 0xA6) << np.uint64(byte)
        return near
    near = block_mask(data, at, 0, 46, 46) | block_mask(data, at, 0, 35, 35) | block_mask(data, at, 0, 0xA6, 0xA6)
    if end - at < BLOCK:
        near &= ~(~np.uint64(0) << np.uint64(end - at))
    return near


@kernel
def _count_marks(data: np.ndarray, offsets: np.ndarray, marks: np.ndarray) -> None:
    """Count, for every document: ``#``; ``...`` (as ``str.count``, without overlap) and the ellipsis character."""
    for document in range(len(offsets) - 1):
        begin, end = offsets[document], offsets[document + 1]
        hashes = ellipses = stops = 0
        last = begin - 2  # the full stop before
        for block in range(begin, end, BLOCK):
            near = _near_marks(data, block, end)
            while near:
                at = block + lowest(near)
                near &= near - np.uint64(1)
                byte = data[at]
                if byte == 46:  # .
                    stops = stops + 1 if at == last + 1 else 1
                    last = at
                    if stops == 3:
                        ellipses += 1
                        stops = 0
                elif byte == 35:  # #
                    hashes += 1
                elif at - begin >= 2 and data[at - 1] == 0x80 and data[at - 2] == 0xE2:
                    ellipses += 1
        marks[document, 0] = hashes
        marks[document, 1] = ellipses


@kernel
def _count_lines(
    data: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    rows: np.ndarray,
    classes: np.ndarray,
    shapes: np.ndarray,
) -> None:
    """Count, for every document: lines that begin with a bullet or a hyphen, lines that end with an ellipsis."""
    for document in range(len(rows) - 1):
        for line in range(rows[document], rows[document + 1]):
            start, end = starts[line], ends[line]
            while start < end:
                code, width = decode(data, start, end)
                if classes[code] & SPACE == 0:
                    if code == 45 or code == 0x2022:  # - and the bullet
                        shapes[document, 0] += 1
                    break
                start += width
            while end > start:
                code, width = decode_before(data, start, end)
                if classes[code] & SPACE == 0:
                    stops = end - start >= 3 and data[end - 1] == 46 and data[end - 2] == 46 and data[end - 3] == 46
                    if stops or code == 0x2026:
                        shapes[document, 1] += 1
                    break
                end -= width


GOPHER_QUALITY = Preset(
    "gopher.datatrove",
    version=1,
    splitting="spacy-like",
    rules=(
        Rule("words", between(50, 100_000)),  # words that are not all symbols
        Rule("mean_word_length", between(3.0, 10.0)),  # characters, of the same words
        Rule("hash_to_words", at_most(0.1)),  # of all words, as is the next
        Rule("ellipsis_to_words", at_most(0.1)),
        Rule("bullet_lines", at_most(0.9)),  # share of lines
        Rule("ellipsis_lines", at_most(0.3)),
        Rule("alphabetic_words", at_least(0.8)),  # share of words with a letter
        Rule("stop_words", at_least(2)),  # distinct, of eight
    ),
    measure=measure,
)
