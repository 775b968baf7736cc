"""What a text repeats: lines, paragraphs, and runs of words; counted by hashes in one table a document.

Two pieces are taken for equal where their hashes are: by chance once in 2**63 pairs or rarer. The nine lengths of word
runs cost one multiplication a word each, since the hash of a run of n words follows from that of n - 1. The table is
cleared for every document and length, and stays in the cache for most texts: all of Gopher's repetition takes 18 ms/MB.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from tilth.filters.kernel import kernel
from tilth.filters.lines import Lines
from tilth.filters.utf8 import characters_between
from tilth.filters.words import Words

# odd multipliers of splitmix64 (Steele, Lea, Flood 2014) and of the golden ratio
_BASE: Final = 0x9E3779B97F4A7C15
_FIRST: Final = 0xBF58476D1CE4E5B9
_SECOND: Final = 0x94D049BB133111EB


@dataclass(frozen=True, eq=False)
class RepeatedPieces:
    """Lines or paragraphs of every document, int64: all, those that stood before, the first of those, and characters.

    ``later`` are the pieces that repeat an earlier one, ``firsts`` the ones that are repeated later on; together they
    are all pieces that occur more than once.
    """

    pieces: npt.NDArray[np.int64]
    later: npt.NDArray[np.int64]
    later_characters: npt.NDArray[np.int64]
    firsts: npt.NDArray[np.int64]
    firsts_characters: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class RepeatedRuns:
    """Runs of n words of every document, in characters without the spaces between words: int64.

    ``distinct`` is the number of different runs. ``top`` are those of the run that occurs most often (the first of
    several such), ``top_count`` how often it does;
    ``total`` those of all runs, overlaps counted again, and ``repeated`` those of the runs that occur more than once.
    """

    top: npt.NDArray[np.int64]
    top_count: npt.NDArray[np.int64]
    total: npt.NDArray[np.int64]
    repeated: npt.NDArray[np.int64]
    distinct: npt.NDArray[np.int64]


def repeated_pieces(data: npt.NDArray[np.uint8], lines: Lines) -> RepeatedPieces:
    """Count the repeated among the pieces of every document."""
    data = data.view()
    data.flags.writeable = False  # the kernels are compiled for one kind of array only
    counts = np.zeros((len(lines.rows) - 1, 5), np.int64)
    _count_pieces(data, lines.starts, lines.ends, lines.rows, *_table(lines.rows), counts)
    return RepeatedPieces(*counts.T)


def repeated_runs(data: npt.NDArray[np.uint8], words: Words, lengths: Sequence[int]) -> dict[int, RepeatedRuns]:
    """Count the runs of ``lengths`` words (ascending) of every document."""
    hashes, _ = _hashes(data, words)
    counts = np.zeros((len(lengths), len(words.rows) - 1, 5), np.int64)
    keys, seen = _table(words.rows)
    firsts, runs = np.zeros(len(keys), np.int64), np.zeros(_most(words.rows), np.uint64)
    _count_runs(hashes, words.lengths, words.rows, np.array(lengths), keys, seen, firsts, runs, counts)
    return {length: RepeatedRuns(*counts[place].T) for place, length in enumerate(lengths)}


def glued_runs(data: npt.NDArray[np.uint8], words: Words, lengths: Sequence[int]) -> dict[int, npt.NDArray[np.int64]]:
    """Return the characters in runs of ``lengths`` words (ascending) that stood before, int64, one a document.

    Runs are read from left to right; a repeated one is stepped over as a whole. As datatrove joins the words of a run
    without a space, runs are equal here whose letters are, wherever they are cut into words.
    """
    hashes, powers = _hashes(data, words)
    counts = np.zeros((len(lengths), len(words.rows) - 1), np.int64)
    keys, _ = _table(words.rows)
    runs = np.zeros(_most(words.rows), np.uint64)
    _count_glued(hashes, powers, words.lengths, words.rows, np.array(lengths), keys, runs, counts)
    return dict(zip(lengths, counts, strict=True))


def _hashes(data: np.ndarray, words: Words) -> tuple[np.ndarray, np.ndarray]:
    """Return the polynomial hash of every word's bytes and the base to the power of their number: uint64."""
    data = data.view()
    data.flags.writeable = False  # the kernels are compiled for one kind of array only
    hashes, powers = np.empty(len(words.starts), np.uint64), np.empty(len(words.starts), np.uint64)
    _hash_words(data, words.starts, words.ends, hashes, powers)
    return hashes, powers


def _most(rows: np.ndarray) -> int:
    return int(np.diff(rows).max(initial=0))


def _table(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return an empty table with room for twice the entries of the largest document: keys uint64, counts int32."""
    slots = 1 << max(4, (2 * _most(rows) - 1).bit_length())
    return np.zeros(slots, np.uint64), np.zeros(slots, np.int32)


@kernel
def _mix(key: np.uint64) -> np.uint64:
    """Spread the bits of a hash, as splitmix64 ends."""
    key = (key ^ key >> np.uint64(30)) * np.uint64(_FIRST)
    key = (key ^ key >> np.uint64(27)) * np.uint64(_SECOND)
    return np.uint64(key ^ key >> np.uint64(31))


@kernel
def _bits(entries: int) -> int:
    """Return the logarithm of how many slots so many entries need."""
    bits = 4
    while 1 << bits < 2 * entries:
        bits += 1
    return bits


@kernel
def _clear(keys: np.ndarray, bits: int) -> None:
    """Empty so many slots."""
    for slot in range(1 << bits):
        keys[slot] = 0


@kernel
def _find(key: np.uint64, keys: np.ndarray, bits: int) -> np.uint64:
    """Return the slot that holds a key, or the free one where it belongs. A key is never 0; its product is spread."""
    mask = np.uint64((1 << bits) - 1)
    slot = key * np.uint64(_BASE) >> np.uint64(64 - bits)
    while keys[slot] != 0 and keys[slot] != key:
        slot = slot + np.uint64(1) & mask
    return np.uint64(slot)


@kernel
def _count_pieces(
    data: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    rows: np.ndarray,
    keys: np.ndarray,
    seen: np.ndarray,
    counts: np.ndarray,
) -> None:
    """Write the five columns of ``RepeatedPieces`` for every document."""
    for document in range(len(rows) - 1):
        first, last = rows[document], rows[document + 1]
        bits = _bits(last - first)
        _clear(keys, bits)
        counts[document, 0] = last - first
        for piece in range(first, last):
            start, end = starts[piece], ends[piece]
            key = np.uint64(end - start)
            at = start
            while at + 8 <= end:
                packed = np.uint64(0)
                for byte in range(8):
                    packed |= np.uint64(data[at + byte]) << np.uint64(8 * byte)
                key = _mix(key ^ packed) * np.uint64(_BASE)
                at += 8
            packed = np.uint64(0)
            while at < end:
                packed = packed << np.uint64(8) | np.uint64(data[at])
                at += 1
            key = _mix(key ^ packed) | np.uint64(1)  # 0 is a free slot
            slot = _find(key, keys, bits)
            if keys[slot] == 0:
                keys[slot] = key
                seen[slot] = 1
                continue
            size = characters_between(data, start, end)
            counts[document, 1] += 1
            counts[document, 2] += size
            if seen[slot] == 1:
                counts[document, 3] += 1
                counts[document, 4] += size
            seen[slot] += 1


@kernel
def _hash_words(data: np.ndarray, starts: np.ndarray, ends: np.ndarray, hashes: np.ndarray, powers: np.ndarray) -> None:
    """Write the hash of every word, and what a hash before it is to be multiplied with to append the word."""
    for word in range(len(starts)):
        key = np.uint64(0)
        power = np.uint64(1)
        for at in range(starts[word], ends[word]):
            key = key * np.uint64(_BASE) + np.uint64(data[at]) + np.uint64(1)
            power *= np.uint64(_BASE)
        hashes[word], powers[word] = key, power


@kernel
def _count_runs(
    hashes: np.ndarray,
    characters: np.ndarray,
    rows: np.ndarray,
    lengths: np.ndarray,
    keys: np.ndarray,
    seen: np.ndarray,
    firsts: np.ndarray,
    runs: np.ndarray,
    counts: np.ndarray,
) -> None:
    """Write the five columns of ``RepeatedRuns`` for every length and document.

    ``runs`` uint64 holds the hash of the run that begins at each word; a word more multiplies it by a constant, so that
    the cuts between words count. ``firsts`` int64 holds the first place of a slot's run.
    """
    for document in range(len(rows) - 1):
        first, size = rows[document], rows[document + 1] - rows[document]
        for word in range(size):
            runs[word] = hashes[first + word]
        bits = _bits(size)
        joined = 1
        for place in range(len(lengths)):
            length = lengths[place]
            while joined < length:
                for word in range(size - joined):
                    runs[word] = runs[word] * np.uint64(_FIRST) + hashes[first + word + joined]
                joined += 1
            if size < length:
                break
            _clear(keys, bits)
            width = np.int64(0)
            for word in range(length - 1):
                width += characters[first + word]
            best, best_count, best_width = np.int64(0), np.int64(0), np.int64(0)
            total = repeated = np.int64(0)
            for word in range(size - length + 1):
                width += characters[first + word + length - 1]
                key = runs[word] if runs[word] else np.uint64(1)  # 0 is a free slot
                slot = _find(key, keys, bits)
                if keys[slot] == 0:
                    keys[slot] = key
                    seen[slot] = 0
                    firsts[slot] = word
                    counts[place, document, 4] += 1
                seen[slot] += 1
                times = np.int64(seen[slot])
                if times == 2:
                    repeated += 2 * width
                elif times > 2:
                    repeated += width
                if times > best_count or (times == best_count and firsts[slot] < best):
                    best, best_count, best_width = firsts[slot], times, width
                total += width
                width -= characters[first + word]
            counts[place, document, 0] = best_width
            counts[place, document, 1] = best_count
            counts[place, document, 2] = total
            counts[place, document, 3] = repeated


@kernel
def _count_glued(
    hashes: np.ndarray,
    powers: np.ndarray,
    characters: np.ndarray,
    rows: np.ndarray,
    lengths: np.ndarray,
    keys: np.ndarray,
    runs: np.ndarray,
    counts: np.ndarray,
) -> None:
    """Write the characters of runs that stood before, for every length and document, as ``glued_runs`` says."""
    for document in range(len(rows) - 1):
        first, size = rows[document], rows[document + 1] - rows[document]
        for word in range(size):
            runs[word] = hashes[first + word]
        bits = _bits(size)
        joined = 1
        for place in range(len(lengths)):
            length = lengths[place]
            while joined < length:
                for word in range(size - joined):
                    runs[word] = runs[word] * powers[first + word + joined] + hashes[first + word + joined]
                joined += 1
            if size < length:
                break
            _clear(keys, bits)
            word = 0
            while word + length <= size:
                key = runs[word] if runs[word] else np.uint64(1)  # 0 is a free slot
                slot = _find(key, keys, bits)
                if keys[slot] == 0:
                    keys[slot] = key
                    word += 1
                else:
                    for inside in range(length):
                        counts[place, document] += characters[first + word + inside]
                    word += length
