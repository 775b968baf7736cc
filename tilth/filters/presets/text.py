"""Signals about any text, without limits of their own: lengths, alphabets, compression, variety, readability.

Limits go into the recipe (``limits: {characters: [200, null]}``); what has none is measured and kept for questions. A
share of nothing is 0, so that no document leaves for want of words.

Readability is Flesch's reading ease (Flesch 1948) with syllables as groups of vowels, a last silent "e" not counted, at
least one a word; and Coleman and Liau's grade (1975), which needs none. Both mean something for English prose only.
"""

import zlib
from typing import Final

import numpy as np

from tilth.filters.characters import (
    ALPHANUMERIC,
    BREAK,
    CAPITAL,
    DIGIT,
    MARK,
    SPACE,
    character_classes,
    character_marks,
)
from tilth.filters.kernel import kernel
from tilth.filters.repeats import repeated_runs
from tilth.filters.rules import Limits, Preset, Rule, Signals
from tilth.filters.sentences import count_sentences
from tilth.filters.texts import Texts
from tilth.filters.utf8 import decode
from tilth.filters.words import HAS_LETTER

# Unicode blocks of letters, hexadecimal, inclusive (Unicode 15, Blocks.txt); other letters are "other_letters"
ALPHABETS: Final = {
    "latin": ((0x41, 0x24F), (0x1E00, 0x1EFF), (0xFF21, 0xFF5A)),
    "greek": ((0x370, 0x3FF), (0x1F00, 0x1FFF)),
    "cyrillic": ((0x400, 0x52F),),
    "hebrew": ((0x590, 0x5FF),),
    "arabic": ((0x600, 0x6FF), (0x750, 0x77F), (0xFB50, 0xFDFF), (0xFE70, 0xFEFF)),
    "indic": ((0x900, 0xDFF),),
    "han": ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0x20000, 0x2FFFF)),
    "kana": ((0x3040, 0x30FF),),
    "hangul": ((0x1100, 0x11FF), (0xAC00, 0xD7AF)),
}
KINDS: Final = (*ALPHABETS, "other_letters", "digits", "white_space", "marks", "other")
LEVEL: Final = 1  # of zlib: 60 MB/s, and the ratios of level 9 within a tenth


def measure(texts: Texts) -> Signals:
    """Return the signals of the rules below: float64, one a document, always a number."""
    words, lines = texts.words, texts.lines
    data = texts.data.view()
    data.flags.writeable = False  # the kernels are compiled for one kind of array only
    kinds = np.zeros((len(texts), len(KINDS) + 1), np.int64)
    _count_kinds(data, texts.offsets, character_marks(), character_classes(), _kinds(), kinds)
    counts = np.zeros((len(texts), 4), np.int64)
    _count_words(data, words.starts, words.ends, words.rows, words.lengths, words.classes, counts)
    longest = np.zeros(len(texts), np.int64)
    _find_longest(lines.starts, lines.ends, lines.rows, longest)
    all_words, all_lines = np.diff(words.rows), np.diff(lines.rows)
    proper, letters, syllables = counts[:, 0], counts[:, 1], counts[:, 2]
    sentences = count_sentences(texts)
    single = repeated_runs(data, words, (1,))[1]
    characters = texts.characters
    some = np.maximum(characters, 1)
    per_word, per_sentence = np.maximum(proper, 1), np.maximum(sentences, 1)
    signals = {
        "bytes": np.diff(texts.offsets),
        "characters": characters,
        "words": all_words,
        "sentences": sentences,
        "lines": all_lines,
        "mean_line_bytes": np.diff(texts.offsets) / np.maximum(all_lines, 1),
        "longest_line_bytes": longest,
        "longest_word": counts[:, 3],
        "words_per_sentence": proper / per_sentence,
        **{f"share_of_{kind}": kinds[:, place] / some for place, kind in enumerate(KINDS)},
        "share_of_capitals": kinds[:, -1] / some,
        "compression_ratio": _compression(texts),
        "type_token_ratio": single.distinct / np.maximum(all_words, 1),
        "flesch_reading_ease": np.where(
            proper > 0, 206.835 - 1.015 * (proper / per_sentence) - 84.6 * (syllables / per_word), 0.0
        ),
        "coleman_liau_grade": np.where(proper > 0, 5.88 * letters / per_word - 29.6 * sentences / per_word - 15.8, 0.0),
    }
    return {name: np.asarray(signal, np.float64) for name, signal in signals.items()}


def _compression(texts: Texts) -> np.ndarray:
    """Return the bytes of every text over those of its zlib stream; 0 where it is empty."""
    ratios = np.zeros(len(texts))
    view = texts.data.data
    for place, (start, end) in enumerate(zip(texts.offsets[:-1].tolist(), texts.offsets[1:].tolist(), strict=True)):
        if start < end:
            ratios[place] = (end - start) / len(zlib.compress(view[start:end], LEVEL))
    return ratios


def _kinds() -> np.ndarray:
    """Return the bounds of the alphabets' blocks, int64 of shape (blocks, 3): first, last, place in ``KINDS``."""
    rows = [(*block, place) for place, blocks in enumerate(ALPHABETS.values()) for block in blocks]
    return np.array(sorted(rows), np.int64)


@kernel
def _count_kinds(
    data: np.ndarray,
    offsets: np.ndarray,
    marks: np.ndarray,
    classes: np.ndarray,
    blocks: np.ndarray,
    counts: np.ndarray,
) -> None:
    """Count the characters of every kind, and capitals in the last column."""
    alphabets = counts.shape[1] - 6
    for document in range(len(counts)):
        at, end = offsets[document], offsets[document + 1]
        while at < end:
            code, width = decode(data, at, end)
            at += width
            mark = marks[code]
            counts[document, counts.shape[1] - 1] += mark & CAPITAL != 0
            if mark & DIGIT:
                counts[document, alphabets + 1] += 1
            elif mark & ALPHANUMERIC:
                kind = alphabets
                for block in range(len(blocks)):
                    if blocks[block, 0] <= code <= blocks[block, 1]:
                        kind = blocks[block, 2]
                        break
                counts[document, kind] += 1
            elif classes[code] & (SPACE | BREAK):
                counts[document, alphabets + 2] += 1
            elif mark & MARK:
                counts[document, alphabets + 3] += 1
            else:
                counts[document, alphabets + 4] += 1


@kernel
def _count_words(
    data: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    rows: np.ndarray,
    lengths: np.ndarray,
    classes: np.ndarray,
    counts: np.ndarray,
) -> None:
    """Count, for every document: words with a letter, their characters, their syllables; and its longest word."""
    for document in range(len(counts)):
        for word in range(rows[document], rows[document + 1]):
            counts[document, 3] = max(counts[document, 3], lengths[word])
            if classes[word] & HAS_LETTER == 0:
                continue
            counts[document, 0] += 1
            counts[document, 1] += lengths[word]
            groups = 0
            inside = False
            for at in range(starts[word], ends[word]):
                letter = data[at] | 0x20
                vowel = (
                    letter == 97 or letter == 101 or letter == 105 or letter == 111 or letter == 117 or letter == 121
                )
                groups += vowel and not inside
                inside = vowel
            silent = data[ends[word] - 1] | 0x20 == 101 and groups > 1
            counts[document, 2] += max(1, groups - silent)


@kernel
def _find_longest(starts: np.ndarray, ends: np.ndarray, rows: np.ndarray, longest: np.ndarray) -> None:
    """Write the bytes of every document's longest line."""
    for document in range(len(longest)):
        for line in range(rows[document], rows[document + 1]):
            longest[document] = max(longest[document], ends[line] - starts[line])


NAMES: Final = (
    *("bytes", "characters", "words", "sentences", "lines", "mean_line_bytes", "longest_line_bytes", "longest_word"),
    "words_per_sentence",
    *(f"share_of_{kind}" for kind in KINDS),
    *("share_of_capitals", "compression_ratio", "type_token_ratio", "flesch_reading_ease", "coleman_liau_grade"),
)

TEXT = Preset(
    "text",
    version=1,
    splitting="spacy-like",
    rules=tuple(Rule(name, Limits(None, None)) for name in NAMES),
    measure=measure,
)
