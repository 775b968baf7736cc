"""What texts are compared by: words or characters, lower-cased and without symbols, each as one 64-bit hash.

This normalisation has a name, ``words@1``, because another one finds other duplicates: words are those of the shared
word pass, lower-cased character by character; words made of symbols alone are left out; digits and accents stay. Two
texts that differ only in case, punctuation or white space are the same under it.
"""

import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from tilth.filters.kernel import kernel
from tilth.filters.texts import Texts
from tilth.filters.utf8 import decode
from tilth.filters.words import ALL_SYMBOLS, Words

NORMALISATION: Final = "words@1"
Kind = Literal["words", "characters"]

# the multiplier of FNV-1a with 64 bits (Fowler, Noll, Vo; RFC 9923) and its offset
_PRIME: Final = np.uint64(0x100000001B3)
_OFFSET: Final = np.uint64(0xCBF29CE484222325)


@dataclass(frozen=True)
class Units:
    """The units of a batch in the order of the text; document ``i`` has those from ``rows[i]`` to ``rows[i + 1]``.

    ``hashes`` are uint64, ``starts`` and ``ends`` int64 byte positions in the buffer, ``rows`` int64 of length
    documents + 1.
    """

    hashes: npt.NDArray[np.uint64]
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]


def units_of(texts: Texts, kind: Kind = "words") -> Units:
    """Return the normalised words of texts, or their characters with one space between words."""
    words = texts.words
    data = texts.data.view()
    data.flags.writeable = False  # the kernels are compiled for one kind of array only
    if kind == "words":
        return _words(data, words)
    return _characters(data, words)


def describe() -> dict[str, str]:
    """Return what the units follow, for the fingerprint of a stage: lower case is that of this Python's Unicode."""
    return {"normalisation": NORMALISATION, "unicode": unicodedata.unidata_version}


def _words(data: np.ndarray, words: Words) -> Units:
    most = len(words.starts)
    hashes, starts, ends = np.empty(most, np.uint64), np.empty(most, np.int64), np.empty(most, np.int64)
    rows = np.zeros(len(words.rows), np.int64)
    _hash_words(data, words.starts, words.ends, words.rows, words.classes, lower_case(), hashes, starts, ends, rows)
    return Units(hashes[: rows[-1]], starts[: rows[-1]], ends[: rows[-1]], rows)


def _characters(data: np.ndarray, words: Words) -> Units:
    most = int(words.lengths.sum(dtype=np.int64)) + len(words.starts)
    hashes, starts, ends = np.empty(most, np.uint64), np.empty(most, np.int64), np.empty(most, np.int64)
    rows = np.zeros(len(words.rows), np.int64)
    _hash_characters(
        data, words.starts, words.ends, words.rows, words.classes, lower_case(), hashes, starts, ends, rows
    )
    return Units(hashes[: rows[-1]], starts[: rows[-1]], ends[: rows[-1]], rows)


@cache
def lower_case() -> npt.NDArray[np.uint32]:
    """Return the lower case of every code point, where that is one code point (uint32, 0x110000 values, read-only)."""
    table = np.arange(0x110000, dtype=np.uint32)
    for code in range(0x20000):  # nothing above has a case
        lower = chr(code).lower()
        if len(lower) == 1:
            table[code] = ord(lower)
    table.flags.writeable = False
    return table


@kernel
def _mix(x: np.uint64) -> np.uint64:
    """Mix the bits of a hash: the finaliser of splitmix64 (Steele, Lea and Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.uint64(x ^ (x >> np.uint64(31)))


@kernel
def _hash_words(
    data: np.ndarray,
    word_starts: np.ndarray,
    word_ends: np.ndarray,
    word_rows: np.ndarray,
    classes: np.ndarray,
    lower: np.ndarray,
    hashes: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    rows: np.ndarray,
) -> None:
    """Hash every word that is not all symbols."""
    count = 0
    for document in range(len(word_rows) - 1):
        for word in range(word_rows[document], word_rows[document + 1]):
            if classes[word] & ALL_SYMBOLS:
                continue
            value = _OFFSET
            at, end = word_starts[word], word_ends[word]
            while at < end:
                byte = data[at]
                if byte < 0x80:
                    value = np.uint64((value ^ np.uint64(lower[byte])) * _PRIME)
                    at += 1
                else:
                    code, width = decode(data, at, end)
                    value = np.uint64((value ^ np.uint64(lower[code])) * _PRIME)
                    at += width
            hashes[count] = _mix(value)
            starts[count], ends[count] = word_starts[word], end
            count += 1
        rows[document + 1] = count


@kernel
def _hash_characters(
    data: np.ndarray,
    word_starts: np.ndarray,
    word_ends: np.ndarray,
    word_rows: np.ndarray,
    classes: np.ndarray,
    lower: np.ndarray,
    hashes: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    rows: np.ndarray,
) -> None:
    """Hash every character of the words that are not all symbols, and one space between two of them."""
    count = 0
    for document in range(len(word_rows) - 1):
        first = True
        for word in range(word_rows[document], word_rows[document + 1]):
            if classes[word] & ALL_SYMBOLS:
                continue
            at, end = word_starts[word], word_ends[word]
            if not first:
                hashes[count] = _mix(np.uint64(32))
                starts[count], ends[count] = at, at
                count += 1
            first = False
            while at < end:
                code, width = decode(data, at, end)
                hashes[count] = _mix(np.uint64(lower[code]))
                starts[count], ends[count] = at, at + width
                count += 1
                at += width
        rows[document + 1] = count
