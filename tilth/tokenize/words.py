"""A table of words that were tokenized before: a text is cut into words, and only new words reach the library.

Text repeats its words: of 16 million in 105 MB of English, one of twenty was new. Looking the others up makes it
several times faster than the libraries (docs/decisions/token-shards.md has the figures), and changes no token where the
cuts are those of the tokenizer (``tilth.tokenize.cuts``). All arrays hold UTF-8 bytes.
"""

from collections.abc import Callable
from itertools import chain, pairwise

import numba
import numpy as np

NO_SEPARATOR = -1

# Beyond this many words the table starts anew: rare words only fill it. About 100 MB at 2**20.
WORD_LIMIT = 2**20

# FNV-1a, 64 bit: Fowler, Noll, Vo; IETF draft-eastlake-fnv.
FNV_OFFSET, FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)

EncodeWords = Callable[[list[str]], list[list[int]]]


def spans_a_cut(piece: str, cuts: np.ndarray) -> bool:
    """Tell whether a piece (with plain spaces) would be torn by a cut between words."""
    data = np.frombuffer(piece.encode(), np.uint8)
    return bool(cuts[data[:-1], data[1:]].any())


@numba.njit(cache=True, nogil=True)
def count_words(data: np.ndarray, offsets: np.ndarray, cuts: np.ndarray) -> int:
    """Return how many words the texts hold.

    ``data`` is uint8, ``offsets`` int64 of shape (texts + 1,), ``cuts`` bool of shape (256, 256).
    """
    words = 0
    for text in range(len(offsets) - 1):
        start, end = offsets[text], offsets[text + 1]
        if start < end:
            words += 1
        for place in range(start + 1, end):
            if cuts[data[place - 1], data[place]]:
                words += 1
    return words


@numba.njit(cache=True, nogil=True)
def _insert(slots: np.ndarray, hashes: np.ndarray, count: int) -> None:
    """Fill empty ``slots`` (int32, a power of two long) with the words 0..count-1."""
    mask = np.uint64(len(slots) - 1)
    for word in range(count):
        slot = hashes[word] & mask
        while slots[slot] >= 0:
            slot = (slot + np.uint64(1)) & mask
        slots[slot] = word


@numba.njit(cache=True, nogil=True)
def _find_words(
    data: np.ndarray,
    offsets: np.ndarray,
    cuts: np.ndarray,
    slots: np.ndarray,
    hashes: np.ndarray,
    arena: np.ndarray,
    starts: np.ndarray,
    count: int,
    words: np.ndarray,
    words_of_text: np.ndarray,
) -> int:
    """Write the number of every word to ``words``, adding new ones to the table; return the new count of words.

    ``arena`` (uint8) holds the bytes of all known words, word ``w`` at ``starts[w]:starts[w + 1]``; there is room.
    """
    mask = np.uint64(len(slots) - 1)
    written = 0
    for text in range(len(offsets) - 1):
        place, end = offsets[text], offsets[text + 1]
        before = written
        while place < end:
            first = place
            value = (FNV_OFFSET ^ np.uint64(data[place])) * FNV_PRIME
            place += 1
            while place < end and not cuts[data[place - 1], data[place]]:
                value = (value ^ np.uint64(data[place])) * FNV_PRIME
                place += 1
            value ^= value >> np.uint64(32)  # FNV's low bits alone are weak
            length = place - first
            slot = value & mask
            word = slots[slot]
            while word >= 0:
                if hashes[word] == value and starts[word + 1] - starts[word] == length:
                    at = starts[word]
                    same = 0
                    while same < length and arena[at + same] == data[first + same]:
                        same += 1
                    if same == length:
                        break
                slot = (slot + np.uint64(1)) & mask
                word = slots[slot]
            if word < 0:
                word = count
                slots[slot] = word
                hashes[word] = value
                arena[starts[word] : starts[word] + length] = data[first:place]
                starts[word + 1] = starts[word] + length
                count += 1
            words[written] = word
            written += 1
        words_of_text[text] = written - before
    return count


@numba.njit(cache=True, nogil=True)
def _count_tokens(words: np.ndarray, words_of_text: np.ndarray, lengths: np.ndarray, extra: int) -> np.ndarray:
    """Return the offsets (int64, texts + 1) of every text's tokens, ``extra`` more for each text."""
    offsets = np.zeros(len(words_of_text) + 1, np.int64)
    at = 0
    for text in range(len(words_of_text)):
        total = extra
        for _ in range(words_of_text[text]):
            total += lengths[words[at]]
            at += 1
        offsets[text + 1] = offsets[text] + total
    return offsets


@numba.njit(cache=True, nogil=True)
def _gather_tokens(
    words: np.ndarray,
    words_of_text: np.ndarray,
    tokens: np.ndarray,
    token_starts: np.ndarray,
    separator: int,
    out: np.ndarray,
) -> None:
    """Write every text's tokens to ``out``, each text followed by ``separator`` unless that is negative."""
    at = 0
    place = 0
    for text in range(len(words_of_text)):
        for _ in range(words_of_text[text]):
            word = words[at]
            at += 1
            for index in range(token_starts[word], token_starts[word + 1]):
                out[place] = tokens[index]
                place += 1
        if separator >= 0:
            out[place] = separator
            place += 1


class WordTable:
    """Words seen so far and their tokens: for one thread. What it returns never depends on what it has seen."""

    def __init__(self, encode_words: EncodeWords, dtype: np.dtype, cuts: np.ndarray) -> None:
        """``cuts``: bool (256, 256), one of ``tilth.tokenize.cuts``."""
        self._encode_words = encode_words
        self._cuts = cuts
        self._dtype = dtype
        self._clear()

    def _clear(self) -> None:
        self._count = 0
        self._slots = np.full(2**16, -1, np.int32)
        self._hashes = np.zeros(2**15, np.uint64)
        self._arena = np.zeros(2**18, np.uint8)
        self._starts = np.zeros(2**15 + 1, np.int64)
        self._tokens = np.zeros(2**16, self._dtype)
        self._token_starts = np.zeros(2**15 + 1, np.int64)

    def _reserve(self, words: int, size: int) -> None:
        """Make room for ``words`` new words of ``size`` bytes together."""
        if self._count > WORD_LIMIT:
            self._clear()
        needed = self._count + words
        if needed > len(self._hashes):
            room = 1 << (needed - 1).bit_length()
            self._hashes = _grown(self._hashes, room)
            self._starts = _grown(self._starts, room + 1)
            self._token_starts = _grown(self._token_starts, room + 1)
            self._slots = np.full(2 * room, -1, np.int32)
            _insert(self._slots, self._hashes, self._count)
        self._arena = _grown(self._arena, int(self._starts[self._count]) + size)

    def encode(self, data: np.ndarray, offsets: np.ndarray, separator: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the tokens of all texts in one array and their offsets (int64, texts + 1).

        ``data`` is uint8, ``offsets`` int64 of shape (texts + 1,); text ``i`` is ``data[offsets[i]:offsets[i + 1]]``.
        ``separator`` follows every text, unless it is ``NO_SEPARATOR``.
        """
        total = int(count_words(data, offsets, self._cuts))
        self._reserve(total, int(offsets[-1] - offsets[0]))
        words = np.empty(total, np.int32)
        words_of_text = np.empty(len(offsets) - 1, np.int64)
        known = self._count
        self._count = int(
            _find_words(
                data,
                offsets,
                self._cuts,
                self._slots,
                self._hashes,
                self._arena,
                self._starts,
                known,
                words,
                words_of_text,
            )
        )
        if self._count > known:
            try:
                self._learn(known)
            except BaseException:
                self._clear()  # words without tokens must not stay
                raise
        lengths = np.diff(self._token_starts[: self._count + 1])
        token_offsets = _count_tokens(words, words_of_text, lengths, int(separator >= 0))
        tokens = np.empty(int(token_offsets[-1]), self._dtype)
        _gather_tokens(words, words_of_text, self._tokens, self._token_starts, separator, tokens)
        return tokens, token_offsets

    def _learn(self, first: int) -> None:
        """Encode the words from ``first`` on."""
        starts = self._starts[first : self._count + 1].tolist()
        data = self._arena[starts[0] : starts[-1]].tobytes()
        base = starts[0]
        encoded = self._encode_words([data[start - base : end - base].decode() for start, end in pairwise(starts)])
        lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
        at = int(self._token_starts[first])
        self._token_starts[first + 1 : self._count + 1] = at + np.cumsum(lengths)
        total = int(lengths.sum())
        self._tokens = _grown(self._tokens, at + total)
        self._tokens[at : at + total] = np.fromiter(chain.from_iterable(encoded), self._dtype, total)


def _grown(array: np.ndarray, size: int) -> np.ndarray:
    """Return ``array``, or where it is shorter than ``size``, a copy that is at least so long, and twice its length."""
    if len(array) >= size:
        return array
    larger = np.zeros(max(size, 2 * len(array)), array.dtype)
    larger[: len(array)] = array
    return larger
