"""The dictionary of a fastText model as a hash table: a word's entry from its first sixteen bytes and its hash.

A slot is 32 bits: the number of an entry, and above it as many bits of the hash as there is room for. The words
themselves stand in the dictionary's order, which is that of frequency. So what common words need lies together: 2 MB of
slots and the front of a list, for 220,000 words, where slots that hold words took 6 MB all over. Together with passes
over a piece's tokens, whose loads overlap, that halved the time.

A word of fewer than sixteen bytes is its own key: no token holds a NUL, so equal numbers are equal words. Longer ones
are compared to their end.
"""

import numpy as np
from numba import njit

from tilth.filters.fasttext_tokens import INLINE, MASKS, eight_bytes, padded, token_hash

LONG = np.uint64(1 << 56)  # ``high`` from here on belongs to words of sixteen bytes and more


@njit(cache=True, nogil=True)
def find(
    data: np.ndarray,
    start: int,
    length: int,
    value: np.uint32,
    low: np.uint64,
    high: np.uint64,
    pool: np.ndarray,
    word_starts: np.ndarray,
    word_lengths: np.ndarray,
    word_keys: np.ndarray,
    slots: np.ndarray,
) -> tuple[int, int]:
    """Return (entry, slot) of the token ``data[start : start + length]`` with its hash and keys; entry -1: not there.

    The bytes of entry ``e`` are ``pool[word_starts[e] : word_starts[e] + word_lengths[e]]``, the first sixteen also
    ``word_keys[e]`` (two uint64). ``slots`` (uint32, a power of two) is zero where free.
    """
    mask = np.uint32(len(slots) - 1)
    numbers = entry_mask(len(word_starts))
    slot = value & mask
    while True:
        code = slots[slot]
        if code == 0:
            return -1, int(np.int64(slot))
        if (code ^ value) & ~numbers == 0:
            entry = int(np.int64(code & numbers)) - 1
            if word_keys[entry, 0] == low and word_keys[entry, 1] == high:
                if high < LONG:
                    return entry, int(np.int64(slot))
                if word_lengths[entry] == length:
                    word = word_starts[entry]
                    same = INLINE
                    while same < length and pool[word + same] == data[start + same]:
                        same += 1
                    if same == length:
                        return entry, int(np.int64(slot))
        slot = (slot + np.uint32(1)) & mask


@njit(cache=True, nogil=True)
def entry_mask(entries: int) -> np.uint32:
    """Return the lowest bits (uint32) that hold every number from 0 to ``entries``: a slot names its entry plus one."""
    mask = 1
    while mask < entries:
        mask = 2 * mask + 1
    return np.uint32(mask)


@njit(cache=True, nogil=True)
def fill_slots(
    pool: np.ndarray, word_starts: np.ndarray, word_lengths: np.ndarray, word_keys: np.ndarray, slots: np.ndarray
) -> None:
    """Write every word's keys and enter it into the empty table; of equal words the last one stays, as in the library.

    The table must be larger than the number of words.
    """
    data = padded(pool)
    numbers = entry_mask(len(word_starts))
    for entry in range(len(word_starts)):
        start, length = word_starts[entry], int(word_lengths[entry])
        mask = np.uint64(min(length, INLINE))
        low = eight_bytes(data, start) & MASKS[mask, 0]
        high = eight_bytes(data, start + 8) & MASKS[mask, 1]
        word_keys[entry, 0], word_keys[entry, 1] = low, high
        value = token_hash(pool, start, start + length)
        _, slot = find(pool, start, length, value, low, high, pool, word_starts, word_lengths, word_keys, slots)
        slots[slot] = (value & ~numbers) | np.uint32(entry + 1)


@njit(cache=True, nogil=True)
def find_all(
    data: np.ndarray,
    edges: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    hashes: np.ndarray,
    tokens: int,
    pool: np.ndarray,
    word_starts: np.ndarray,
    word_lengths: np.ndarray,
    word_keys: np.ndarray,
    slots: np.ndarray,
    codes: np.ndarray,
    others: np.ndarray,
    entries: np.ndarray,
) -> None:
    """Write the entry (int64) of every token, -1 where the dictionary has none. ``codes``, ``others``: room for notes.

    First all slots are read, then all words that they name are compared. What is left, one token of twelve, is longer
    than its keys or not in its first slot, and is looked for one by one.
    """
    mask = np.uint32(len(slots) - 1)
    numbers = entry_mask(len(word_starts))
    for token in range(tokens):
        codes[token] = slots[hashes[token] & mask]
    left = np.uint64(0)
    for token in range(tokens):
        number = codes[token] & numbers
        named = max(number, np.uint32(1)) - np.uint32(1)
        same = (word_keys[named, 0] == low[token]) & (word_keys[named, 1] == high[token]) & (high[token] < LONG)
        entries[token] = np.int64(number) - 1
        others[left] = token
        left += np.uint64((number != 0) & (not same))
    for place in range(left):
        token = others[place]
        start, stop = edges[2 * token], edges[2 * token + 1]
        entries[token], _ = find(
            data,
            start,
            stop - start,
            hashes[token],
            low[token],
            high[token],
            pool,
            word_starts,
            word_lengths,
            word_keys,
            slots,
        )
