"""What a text repeats: lines, paragraphs, and runs of words; counted by hashes in one table a document.

Two pieces are taken for equal where their hashes are: by chance once in 2**63 pairs or rarer. A run of n words can only
stand twice where its parts do, so each length looks up what the one before it left: in prose a third of all words after
two, a tenth after three. Words are hashed eight bytes at a time into arrays of one document, which the counting then
finds in the nearest caches, as it does tables of four bytes a slot: all of Gopher's repetition takes 8.9 ms/MB (every
tenth text of six corpora, 11 MB, idle machine), and 13.1 where words are hashed byte by byte for a whole batch.

Tried and left out: a filter of a byte a slot before the tables, which tells most of what stands once in two passes
without a guess. It costs 1 ms/MB a length, no less than looking everything up, since tables, menus and statutes repeat
half of their pairs of words.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from tilth.filters.blocks import first_bytes, weighted_bytes, word_at
from tilth.filters.kernel import inlined, kernel
from tilth.filters.lines import Lines
from tilth.filters.utf8 import characters_between
from tilth.filters.words import Words

# odd multipliers of splitmix64 (Steele, Lea, Flood 2014) and of the golden ratio
_BASE: Final = 0x9E3779B97F4A7C15
_FIRST: Final = 0xBF58476D1CE4E5B9
_SECOND: Final = 0x94D049BB133111EB
PREFIX: Final = 16  # bytes, at most 16; five words are longer three times in four
_POWERS: Final = np.array([pow(_BASE, size, 2**64) for size in range(9)], np.uint64)
_WEIGHTS: Final = np.ascontiguousarray(_POWERS[7::-1])  # of eight bytes, the last of which has the weight 1
_ONES: Final = np.array([sum(_POWERS[:size].tolist()) % 2**64 for size in range(9)], np.uint64)  # of bytes that are 1


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
    data = data.view()
    data.flags.writeable = False  # the kernels are compiled for one kind of array only
    counts = np.zeros((len(lengths), len(words.rows) - 1, 5), np.int64)
    most = _most(words.rows)
    places, firsts, widths = (np.empty(most + 1, np.int64) for _ in range(3))
    hashes, runs = np.empty(most, np.uint64), np.empty(most, np.uint64)
    _count_runs(
        data,
        words.starts,
        words.ends,
        words.lengths,
        words.rows,
        np.array(lengths),
        _slots(most),
        hashes,
        places,
        runs,
        np.empty(most, np.int32),
        firsts,
        widths,
        counts,
    )
    return {length: RepeatedRuns(*counts[place].T) for place, length in enumerate(lengths)}


def glued_runs(data: npt.NDArray[np.uint8], words: Words, lengths: Sequence[int]) -> dict[int, npt.NDArray[np.int64]]:
    """Return the characters in runs of ``lengths`` words (ascending) that stood before, int64, one a document.

    Runs are read from left to right; a repeated one is stepped over as a whole. As datatrove joins the words of a run
    without a space, runs are equal here whose letters are, wherever they are cut into words.
    """
    data = data.view()
    data.flags.writeable = False  # the kernels are compiled for one kind of array only
    counts = np.zeros((len(lengths), len(words.rows) - 1), np.int64)
    most = _most(words.rows)
    hashes, powers, prefixes, runs = (np.empty(most, np.uint64) for _ in range(4))
    _count_glued(
        data,
        words.starts,
        words.ends,
        words.lengths,
        words.rows,
        np.array(lengths),
        _slots(most),
        hashes,
        powers,
        prefixes,
        np.empty(most, np.int64),
        runs,
        np.empty(most, np.bool_),
        np.empty(most + 1, np.int64),
        counts,
    )
    return dict(zip(lengths, counts, strict=True))


def _most(rows: np.ndarray) -> int:
    return int(np.diff(rows).max(initial=0))


def _slots(entries: int) -> npt.NDArray[np.int32]:
    """Return room for a table with twice the slots of so many entries: int32."""
    return np.zeros(1 << max(4, (2 * entries - 1).bit_length()), np.int32)


def _table(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return an empty table with room for twice the entries of the largest document: keys uint64, counts int32."""
    slots = 1 << max(4, (2 * _most(rows) - 1).bit_length())
    return np.zeros(slots, np.uint64), np.zeros(slots, np.int32)


@inlined
def _step(key: np.uint64, packed: np.uint64) -> np.uint64:
    """Take eight bytes into a hash: multiplied, turned, multiplied, as in MurmurHash3 (Appleby 2011), by our numbers.

    All bits of the bytes must be spread before they meet those of the hash: of one multiplication a byte's last bits
    reach the top only, and texts that differ in three characters would meet once in 2**16.
    """
    packed *= np.uint64(_FIRST)
    packed = (packed << np.uint64(31) | packed >> np.uint64(33)) * np.uint64(_SECOND)
    key ^= packed
    return np.uint64((key << np.uint64(27) | key >> np.uint64(37)) * np.uint64(_BASE))


@inlined
def _hash(data: np.ndarray, start: int, end: int) -> np.uint64:
    """Hash some bytes, eight at a time, and their number."""
    key = np.uint64(end - start) * np.uint64(_BASE)
    at = start
    while end - at > 8:
        key = _step(key, word_at(data, at))
        at += 8
    return _step(key, first_bytes(data, at, end - at))


@inlined
def _polynomial(packed: np.uint64, size: int) -> np.uint64:
    """Return the polynomial in ``_BASE`` of so many bytes, at most eight, each plus 1, so that zeros count too."""
    packed <<= np.uint64(64 - 8 * size)
    return np.uint64(_ONES[size] + weighted_bytes(packed, _WEIGHTS))


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
            key = _hash(data, start, end) | np.uint64(1)  # 0 is a free slot
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


@inlined
def _hash_joinable(
    data: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    first: int,
    size: int,
    hashes: np.ndarray,
    powers: np.ndarray,
    prefixes: np.ndarray,
) -> None:
    """Hash the ``size`` words from word ``first`` on, so that the hash of words joined follows from theirs.

    ``hashes`` are polynomials of a word's bytes and ``powers`` their base to the power of the number of these.
    ``prefixes`` is a hash of the first ``PREFIX`` bytes from the word's own first on, with nothing between the words;
    it means nothing where fewer follow. Read from the last word to the first, the next bytes stand in a window. Bytes
    are taken eight at a time, and what is written is a document's, so that it is still near when it is read.
    """
    near = far = np.uint64(0)  # the next eight bytes and those after them
    for word in range(size - 1, -1, -1):
        value, power = np.uint64(0), np.uint64(1)
        stop = ends[first + word]
        while stop > starts[first + word]:
            at = starts[first + word] + (stop - 1 - starts[first + word]) // 8 * 8
            size = stop - at
            packed = first_bytes(data, at, size)
            value += _polynomial(packed, size) * power
            power *= _POWERS[size]
            half = np.uint64(4 * size)  # of a shift, which may be that of all 64 bits and is none then
            rest = np.uint64(32) - half
            far = far << half << half | near >> rest >> rest
            near = near << half << half | packed
            stop = at
        hashes[word], powers[word] = value, power
        rest = far << np.uint64(8 * (16 - PREFIX))
        prefixes[word] = (near ^ rest * np.uint64(_FIRST)) * np.uint64(_SECOND) ^ rest


@inlined
def _look_up(key: np.uint64, entry: int, keys: np.ndarray, slots: np.ndarray, bits: int) -> np.int64:
    """Return the entry that has this key; where there is none, enter ``entry`` and return it.

    ``slots`` int32 hold the number of an entry plus 1, 0 where they are free; ``keys`` are the keys of the entries.
    """
    mask = np.uint64((1 << bits) - 1)
    slot = (key ^ key >> np.uint64(32)) * np.uint64(_BASE) >> np.uint64(64 - bits)
    while slots[slot] != 0:
        found = np.int64(slots[slot]) - 1
        if keys[found] == key:
            return found
        slot = slot + np.uint64(1) & mask
    slots[slot] = entry + 1
    return np.int64(entry)


@inlined
def _clear_slots(slots: np.ndarray, bits: int) -> None:
    """Empty so many slots."""
    for slot in range(1 << bits):
        slots[slot] = 0


@kernel
def _count_runs(
    data: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    characters: np.ndarray,
    rows: np.ndarray,
    lengths: np.ndarray,
    slots: np.ndarray,
    hashes: np.ndarray,
    places: np.ndarray,
    runs: np.ndarray,
    seen: np.ndarray,
    firsts: np.ndarray,
    widths: np.ndarray,
    counts: np.ndarray,
) -> None:
    """Write the five columns of ``RepeatedRuns`` for every length and document.

    ``places`` int64 are the words whose run may stand twice, ``runs`` uint64 its hash; a word more multiplies it by a
    constant, so that the cuts between words count. ``seen`` and ``firsts`` say of each how often it has been seen, and
    which of them was the first like it. ``widths`` int64 are the characters before each word.
    """
    for document in range(len(rows) - 1):
        first, size = rows[document], rows[document + 1] - rows[document]
        widths[0] = 0
        for word in range(size):
            places[word] = word
            hashes[word] = runs[word] = _hash(data, starts[first + word], ends[first + word])
            widths[word + 1] = widths[word] + characters[first + word]
        alive = size
        joined = 1
        for place in range(len(lengths)):
            length = lengths[place]
            if size < length:
                break
            while alive and places[alive - 1] + length > size:
                alive -= 1
            while joined < length:
                for entry in range(alive):
                    runs[entry] = runs[entry] * np.uint64(_FIRST) + hashes[places[entry] + joined]
                joined += 1
            bits = _bits(alive)
            _clear_slots(slots, bits)
            # a run that stands once is as good as any other: the first of the text
            best, best_count, best_width = np.int64(0), np.int64(1), widths[length]
            repeated = distinct = np.int64(0)
            for entry in range(alive):
                found = _look_up(runs[entry], entry, runs, slots, bits)
                firsts[entry] = found
                if found == entry:
                    seen[entry] = 1
                    distinct += 1
                    continue
                seen[found] += 1
                times = np.int64(seen[found])
                width = widths[places[entry] + length] - widths[places[entry]]
                repeated += 2 * width if times == 2 else width
                if times > best_count or (times == best_count and places[found] < best):
                    best, best_count, best_width = places[found], times, width
            total = np.int64(0)
            for word in range(size - length + 1):
                total += widths[word + length] - widths[word]
            counts[place, document, 0] = best_width
            counts[place, document, 1] = best_count
            counts[place, document, 2] = total
            counts[place, document, 3] = repeated
            counts[place, document, 4] = size - length + 1 - alive + distinct
            # a longer run stands twice only where this one does, and the one a word behind it
            left = 0
            for entry in range(alive - 1):
                here, behind = seen[firsts[entry]] > 1, seen[firsts[entry + 1]] > 1
                beside = places[entry + 1] == places[entry] + 1
                places[left], runs[left] = places[entry], runs[entry]
                left += here & behind & beside  # no guess is made
            alive = left


@kernel
def _count_glued(
    data: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    characters: np.ndarray,
    rows: np.ndarray,
    lengths: np.ndarray,
    slots: np.ndarray,
    hashes: np.ndarray,
    powers: np.ndarray,
    prefixes: np.ndarray,
    places: np.ndarray,
    runs: np.ndarray,
    twice: np.ndarray,
    sizes: np.ndarray,
    counts: np.ndarray,
) -> None:
    """Write the characters of runs that stood before, for every length and document, as ``glued_runs`` says.

    ``places`` int64 are the words whose run may stand twice: those whose first ``PREFIX`` bytes do, and those whose run
    is shorter. ``runs`` uint64 is its hash, ``sizes`` int64 are the bytes of all words before each.
    """
    for document in range(len(rows) - 1):
        first, size = rows[document], rows[document + 1] - rows[document]
        _hash_joinable(data, starts, ends, first, size, hashes, powers, prefixes)
        sizes[0] = 0
        for word in range(size):
            sizes[word + 1] = sizes[word] + ends[first + word] - starts[first + word]
            twice[word] = False
        bits = _bits(size)
        _clear_slots(slots, bits)
        for word in range(size):
            if sizes[size] - sizes[word] < PREFIX:
                break
            found = _look_up(prefixes[word], word, prefixes, slots, bits)
            if found != word:
                twice[word] = twice[found] = True
        alive = 0
        joined = lengths[0]
        for word in range(size - joined + 1):
            if twice[word] or sizes[word + joined] - sizes[word] < PREFIX:
                key = np.uint64(0)
                for inside in range(word, word + joined):
                    key = key * powers[inside] + hashes[inside]
                places[alive], runs[alive] = word, key
                alive += 1
        for place in range(len(lengths)):
            length = lengths[place]
            while alive and places[alive - 1] + length > size:
                alive -= 1
            if alive == 0:
                break
            while joined < length:
                for entry in range(alive):
                    end = places[entry] + joined
                    runs[entry] = runs[entry] * powers[end] + hashes[end]
                joined += 1
            bits = _bits(alive)
            _clear_slots(slots, bits)
            free = np.int64(0)  # the next word that no repeated run covers
            for entry in range(alive):
                word = places[entry]
                if word < free or _look_up(runs[entry], entry, runs, slots, bits) == entry:
                    continue
                for inside in range(length):
                    counts[place, document] += characters[first + word + inside]
                free = word + length
