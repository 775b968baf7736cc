"""Hashed word unigrams and bigrams, and DSIR's importance weights over them (Xie et al., arXiv 2302.03169).

Words are those of NLTK's WordPunct tokenizer on the lower-cased text: runs of word characters, and runs of other marks.
The published code hashes every n-gram with SHA-256; any good hash into 10,000 buckets estimates
the same distributions, so ours is FNV-1a with splitmix64's finaliser, over UTF-8 bytes in Arrow's buffers. Buckets are
therefore other ones than the published code's, and so is the last digit of a weight.

Length: log weights add up over n-grams, so a long document's sum is far from zero either way and the Gumbel noise,
whose spread is 1.3, no longer matters to it. The paper cuts the pool into equal chunks. Here a document's weight is
that of ``chunk`` of its average words, which is the expected weight of a chunk; ``chunk`` 0 gives the plain sum.
"""

from functools import cache

import numpy as np
import pyarrow as pa
from numba import njit

from tilth.corpus.document import halves, utf8_buffers
from tilth.corpus.errors import UserError
from tilth.corpus.ledger import splitmix

BUCKETS = 10_000  # the published default
SMOOTHING = 1e-8  # added to both distributions, as published
CHUNK = 128  # words: the paper's chunks of the Pile
SPACE, MARK, WORD = 0, 1, 2

FNV_OFFSET = np.uint64(0xCBF29CE484222325)  # 64-bit FNV-1a
FNV_PRIME = np.uint64(0x100000001B3)
JOINT = np.uint8(0x20)  # between the words of a bigram, as the published code joins them


@cache
def word_classes() -> np.ndarray:
    """Return the class of every code point (uint8): white space, mark, or character of a word as Python's ``\\w``."""
    table = np.full(0x110000, MARK, np.uint8)
    table[[point for point in range(0x10000) if chr(point).isspace()]] = SPACE
    table[[point for point in range(0x40000) if chr(point).isalnum()]] = WORD
    table[ord("_")] = WORD
    table.flags.writeable = False
    return table


def ngram_counts(text: pa.Array, buckets: int = BUCKETS) -> np.ndarray:
    """Return how often each bucket is hit by the words and bigrams of all texts together: int64, one a bucket."""
    data, offsets = lowered(text)
    counts = np.zeros(buckets, np.int64)
    count_ngrams(data, offsets, word_classes(), counts)
    return counts


def log_ratio(target: np.ndarray, raw: np.ndarray) -> np.ndarray:
    """Return the log of target over raw probability of every bucket (float64), from two vectors of counts.

    Raises ``UserError`` where one of them counts nothing.
    """
    for name, counts in (("target", target), ("raw", raw)):
        if counts.sum() == 0:
            raise UserError(f"importance weights: the {name} texts hold no word, expected some; name others")
    return np.asarray(np.log(target / target.sum() + SMOOTHING) - np.log(raw / raw.sum() + SMOOTHING))


def log_weights(text: pa.Array, ratio: np.ndarray, chunk: int = CHUNK) -> np.ndarray:
    """Return the log importance weight of every text: float64; 0 for a text without a word.

    With ``chunk`` 0 the sum over all words and bigrams, else that sum for ``chunk`` average words with their bigrams.
    """
    data, offsets = lowered(text)
    weights = np.zeros(len(text))
    weigh_ngrams(data, offsets, word_classes(), ratio, chunk, weights)
    return weights


def gumbel(ids: pa.Array, seed: int) -> np.ndarray:
    """Return one draw from the standard Gumbel distribution a document (float64), by its id and ``seed``."""
    return np.asarray(-np.log(-np.log(uniform(ids, seed))))


def uniform(ids: pa.Array, seed: int) -> np.ndarray:
    """Return one number in (0, 1) a document (float64), by its id and ``seed``: the same whatever else is there."""
    mixed = halves(ids)[:, 0] ^ splitmix(halves(ids)[:, 1] ^ splitmix(np.full(1, seed ^ 0x5EED, np.uint64)))
    return np.asarray(((splitmix(mixed) >> np.uint64(11)) + 0.5) * 2.0**-53)


def lowered(text: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Return bytes and offsets of the texts with Python's lower case where they hold more than ASCII.

    ASCII letters are left to the kernel, so that most English text is not copied; it lowers what is left of them.
    """
    data, offsets = utf8_buffers(text)
    if len(data) == 0 or int(data[offsets[0] : offsets[-1]].max(initial=0)) < 128:
        return data, offsets
    return utf8_buffers(pa.array([value.lower() for value in text.to_pylist()], pa.large_string()))


@njit(cache=True, nogil=True)
def decoded(data: np.ndarray, at: int) -> tuple[int, int]:
    """Return the code point at byte ``at`` of valid UTF-8, and its width."""
    first = np.int64(data[at])
    if first < 0x80:
        return int(first), 1
    if first < 0xE0:
        return int((first & 0x1F) << 6 | np.int64(data[at + 1]) & 0x3F), 2
    if first < 0xF0:
        return int((first & 0x0F) << 12 | (np.int64(data[at + 1]) & 0x3F) << 6 | np.int64(data[at + 2]) & 0x3F), 3
    code = (first & 0x07) << 18 | (np.int64(data[at + 1]) & 0x3F) << 12
    return int(code | (np.int64(data[at + 2]) & 0x3F) << 6 | np.int64(data[at + 3]) & 0x3F), 4


@njit(cache=True, nogil=True)
def finished(value: np.uint64) -> np.uint64:
    """Return a hash with its bits mixed: splitmix64's finaliser."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@njit(cache=True, nogil=True)
def next_word(
    data: np.ndarray, at: int, stop: int, classes: np.ndarray, before: np.uint64
) -> tuple[int, np.uint64, np.uint64]:
    """Return the place after the next word (-1: there is none), its hash, and that of ``before``, a space and the word.

    ``before`` is the hash of the word before it.
    """
    kind = SPACE
    width = 1
    while at < stop:
        point, width = decoded(data, at)
        kind = classes[point]
        if kind != SPACE:
            break
        at += width
    if at >= stop:
        return -1, FNV_OFFSET, FNV_OFFSET
    alone = FNV_OFFSET
    joined = (before ^ np.uint64(JOINT)) * FNV_PRIME
    now = kind
    while now == kind:
        for place in range(at, at + width):
            byte = data[place]
            if 65 <= byte <= 90:
                byte += np.uint8(32)
            alone = (alone ^ np.uint64(byte)) * FNV_PRIME
            joined = (joined ^ np.uint64(byte)) * FNV_PRIME
        at += width
        if at >= stop:
            break
        point, width = decoded(data, at)
        now = classes[point]
    return at, alone, joined


@njit(cache=True, nogil=True)
def count_ngrams(data: np.ndarray, offsets: np.ndarray, classes: np.ndarray, counts: np.ndarray) -> None:
    """Add the words and bigrams of every text to ``counts`` (int64, one a bucket)."""
    buckets = np.uint64(len(counts))
    for text in range(len(offsets) - 1):
        before = np.uint64(0)
        first = True
        at, alone, joined = next_word(data, offsets[text], offsets[text + 1], classes, before)
        while at >= 0:
            counts[finished(alone) % buckets] += 1
            if not first:
                counts[finished(joined) % buckets] += 1
            first = False
            before = alone
            at, alone, joined = next_word(data, at, offsets[text + 1], classes, before)


@njit(cache=True, nogil=True)
def weigh_ngrams(
    data: np.ndarray, offsets: np.ndarray, classes: np.ndarray, ratio: np.ndarray, chunk: int, weights: np.ndarray
) -> None:
    """Write every text's sum of ``ratio`` over its words and bigrams, or that of ``chunk`` average words."""
    buckets = np.uint64(len(ratio))
    for text in range(len(offsets) - 1):
        before = np.uint64(0)
        words = 0
        total = 0.0
        at, alone, joined = next_word(data, offsets[text], offsets[text + 1], classes, before)
        while at >= 0:
            total += ratio[finished(alone) % buckets]
            if words:
                total += ratio[finished(joined) % buckets]
            words += 1
            before = alone
            at, alone, joined = next_word(data, at, offsets[text + 1], classes, before)
        if words and chunk:
            total *= (2 * chunk - 1) / (2 * words - 1)  # n-grams of a chunk over n-grams of the text
        weights[text] = total
