"""Gopher's rules as dolma measures them. Rae et al. 2021, table A1; dolma 1.2.1, taggers/gopher.py, tagger gopher_v1.

dolma only tags; the limits are those of Dolma's Common Crawl part (Soldaini et al. 2024, appendix on quality filters).
What differs from datatrove under one name: words are what white space parts, their length is a median, stop words count
as often as they stand, bullets are ``*`` and ``-``, and repeated lines and runs count with their first occurrence.
"""

from typing import Final

import numpy as np

from tilth.filters.kernel import kernel
from tilth.filters.repeats import repeated_pieces, repeated_runs
from tilth.filters.rules import Preset, Rule, Signals, at_least, at_most, between
from tilth.filters.texts import Texts
from tilth.filters.words import HAS_LETTER

STOP_WORDS: Final = ("the", "be", "to", "of", "and", "that", "have", "with")  # case counts
TOP: Final = {2: 0.20, 3: 0.18, 4: 0.16}
REPEATED: Final = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
_COUNTED: Final = 64  # word lengths that are counted one by one on the way to the median


def measure(texts: Texts) -> Signals:
    """Return the signals of the rules below: float64, one a document; a share of nothing is 0, as in dolma."""
    words, lines = texts.chunks, texts.every_line
    data = texts.data.view()
    data.flags.writeable = False  # the kernels are compiled for one kind of array only
    stop_words = np.array([int.from_bytes(word.encode(), "little") for word in STOP_WORDS], np.uint32)
    counts = np.zeros((len(texts), 4), np.int64)
    _count_words(data, words.starts, words.ends, words.rows, words.lengths, words.classes, stop_words, counts)
    medians = np.zeros(len(texts), np.float64)
    _find_medians(words.lengths, words.rows, np.zeros(_COUNTED, np.int64), medians)
    shapes = np.zeros((len(texts), 2), np.int64)
    _count_lines(data, lines.starts, lines.ends, lines.rows, shapes)
    number = np.diff(words.rows)
    some, characters = np.maximum(number, 1), np.maximum(counts[:, 0], 1)
    repeated = repeated_pieces(data, lines)
    runs = repeated_runs(data, words, (*TOP, *REPEATED))
    filled = texts.characters > 0  # dolma says nothing of an empty text's lines
    return {
        "words": number.astype(np.float64),
        "median_word_length": medians,
        "symbols_to_words": counts[:, 1] / some,
        "alphabetic_words": counts[:, 2] / some,
        "stop_words": counts[:, 3].astype(np.float64),
        "bullet_lines": shapes[:, 0] / repeated.pieces,
        "ellipsis_lines": shapes[:, 1] / repeated.pieces,
        "repeated_lines": filled * (repeated.later + repeated.firsts) / repeated.pieces,
        "repeated_line_characters": (repeated.later_characters + repeated.firsts_characters) / characters,
        **{f"top_{n}_gram": runs[n].top * runs[n].top_count / characters for n in TOP},
        **{f"repeated_{n}_grams": runs[n].repeated / np.maximum(runs[n].total, 1) for n in REPEATED},
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
    """Count, for every document: characters of words, words with a hash or an ellipsis, with a letter, stop words.

    ``stop_words`` uint32 are their bytes, at most four, as a little-endian number.
    """
    for document in range(len(rows) - 1):
        for word in range(rows[document], rows[document + 1]):
            counts[document, 0] += lengths[word]
            counts[document, 2] += classes[word] & HAS_LETTER != 0
            start, end = starts[word], ends[word]
            packed = np.uint32(0)
            symbol = False
            for at in range(start, end):
                byte = data[at]
                ellipsis = byte == 0xA6 and at - start >= 2 and data[at - 1] == 0x80 and data[at - 2] == 0xE2
                symbol = symbol or ellipsis or byte == 35  # #
                if at - start < 4:
                    packed |= np.uint32(byte) << np.uint32(8 * (at - start))
            counts[document, 1] += symbol
            if 2 <= end - start <= 4:
                for stop in range(len(stop_words)):
                    counts[document, 3] += packed == stop_words[stop]


@kernel
def _find_medians(lengths: np.ndarray, rows: np.ndarray, histogram: np.ndarray, medians: np.ndarray) -> None:
    """Write the median length of every document's words, 0 where it has none. ``histogram`` int64 is room to count."""
    for document in range(len(medians)):
        first, last = rows[document], rows[document + 1]
        size = last - first
        if size == 0:
            continue
        for slot in range(len(histogram)):
            histogram[slot] = 0
        for word in range(first, last):
            histogram[min(lengths[word], len(histogram) - 1)] += 1
        total = 0.0
        for rank in ((size - 1) // 2, size // 2):
            length = np.int64(-1)
            below = np.int64(0)
            while below <= rank and length < len(histogram) - 1:
                length += 1
                below += histogram[length]
            if length == len(histogram) - 1:  # rarely: look for the length by halving
                low, high = np.int64(length), np.int64(1) << 31
                while low < high:
                    middle = (low + high) // 2
                    within = 0
                    for word in range(first, last):
                        within += lengths[word] <= middle
                    if within > rank:
                        high = middle
                    else:
                        low = middle + 1
                length = low
            total += length
        medians[document] = total / 2


@kernel
def _count_lines(data: np.ndarray, starts: np.ndarray, ends: np.ndarray, rows: np.ndarray, shapes: np.ndarray) -> None:
    """Count, for every document: lines that begin with ``*`` or ``-``, lines that end with the ellipsis character."""
    for document in range(len(rows) - 1):
        for line in range(rows[document], rows[document + 1]):
            start, end = starts[line], ends[line]
            if start < end and (data[start] == 42 or data[start] == 45):
                shapes[document, 0] += 1
            if end - start >= 3 and data[end - 1] == 0xA6 and data[end - 2] == 0x80 and data[end - 3] == 0xE2:
                shapes[document, 1] += 1


GOPHER_DOLMA = Preset(
    "gopher.dolma",
    version=1,
    splitting="white space",
    rules=(
        Rule("words", between(50, 100_000)),
        Rule("median_word_length", between(3.0, 10.0)),  # characters
        Rule("symbols_to_words", at_most(0.1)),  # words with a hash or the ellipsis character
        Rule("alphabetic_words", at_least(0.8)),  # share of words with a letter
        Rule("stop_words", at_least(2)),  # with repeats
        Rule("bullet_lines", at_most(0.9)),  # share of lines, empty ones too, as in the next three
        Rule("ellipsis_lines", at_most(0.3)),
        Rule("repeated_lines", at_most(0.3)),
        Rule("repeated_line_characters", at_most(0.3)),  # to the characters of words
        *(Rule(f"top_{n}_gram", at_most(limit)) for n, limit in TOP.items()),  # to the characters of words
        *(Rule(f"repeated_{n}_grams", at_most(limit)) for n, limit in REPEATED.items()),  # to those of all runs
    ),
    measure=measure,
)
