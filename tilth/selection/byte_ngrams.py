"""An n-gram model of bytes: what a document costs, in bits a byte, for a model of a few megabytes of reference text.

CCNet keeps web pages by their perplexity under a KenLM of Wikipedia words. Bytes need no vocabulary, no unknown word
and no tokenizer, and their probabilities add up to one for any text, so figures of any two texts compare. It is a
poor model of language beside a transformer; what counts here is the order that it gives to documents.

Witten-Bell smoothing: p(b | context) = (c(context b) + t p(b | shorter)) / (n + t), where n is how often the context
was seen with a following byte and t how many different ones followed; the empty context falls back to 1/256. A gram of
up to seven bytes and its length are one number, so the table is exact: no two grams share a counter.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import pyarrow as pa
from numba import njit

from tilth.corpus.document import utf8_buffers
from tilth.corpus.errors import UserError

ORDER = 5  # bytes of the longest gram
LONGEST = 7  # bytes that fit a key beside their number
FILLED = 0.6  # of the slots at most


@dataclass(frozen=True)
class ByteModel:
    """Counts of grams. ``keys`` (uint64, a power of two, 0: free); ``seen``, ``followed`` and ``kinds`` are uint32.

    ``seen``: occurrences of the gram; ``followed``: of the gram with a byte after it; ``kinds``: different such bytes.
    The three counters have one place more than there are slots: the last is that of the empty gram.
    """

    order: int
    keys: np.ndarray = field(repr=False)
    seen: np.ndarray = field(repr=False)
    followed: np.ndarray = field(repr=False)
    kinds: np.ndarray = field(repr=False)

    def bits(self, text: pa.Array) -> np.ndarray:
        """Return the bits of every text: float64. Each byte is predicted from up to ``order`` - 1 before it."""
        data, offsets = utf8_buffers(text)
        result = np.zeros(len(text))
        score_bytes(data, offsets, self.order, self.keys, self.seen, self.followed, self.kinds, result)
        return result

    def bits_per_byte(self, text: pa.Array) -> np.ndarray:
        """Return bits a byte of every text: float64; 8 for an empty one, as for bytes that nothing is known of."""
        sizes = np.diff(utf8_buffers(text)[1])
        return np.asarray(np.divide(self.bits(text), sizes, out=np.full(len(text), 8.0), where=sizes > 0))

    def save(self, path: Path) -> None:
        """Write the model: an uncompressed .npz of plain arrays."""
        order = np.int64(self.order)
        with path.open("wb") as stream:
            np.savez(stream, order=order, keys=self.keys, seen=self.seen, followed=self.followed, kinds=self.kinds)

    @staticmethod
    def load(path: Path) -> "ByteModel":
        """Read a model. Raises ``UserError`` where the file is missing or no such model."""
        try:
            with np.load(path, allow_pickle=False) as data:
                arrays = [data[name] for name in ("keys", "seen", "followed", "kinds")]
                order = int(data["order"])
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise UserError(f"{path}: not a byte n-gram model ({error}); train it again") from error
        slots = len(arrays[0])
        if not 2 <= order <= LONGEST or slots & (slots - 1) or any(len(counts) != slots + 1 for counts in arrays[1:]):
            raise UserError(f"{path}: damaged byte n-gram model (order {order}, {slots} slots); train it again")
        return ByteModel(order, *arrays)


def train_bytes(texts: Iterable[pa.Array], order: int = ORDER) -> ByteModel:
    """Count the grams of all texts. Takes 20 bytes a gram: some 60 MB for 10 MB of English at order 5.

    Raises ``UserError`` for an order outside 2 to 7, or texts without a byte.
    """
    if not 2 <= order <= LONGEST:
        raise UserError(f"byte n-gram model: order: found {order}, expected 2 to {LONGEST}; correct it")
    slots = 1 << 16
    model = empty(order, slots)
    used = 0
    for text in texts:
        data, offsets = utf8_buffers(text)
        for first in range(len(text)):
            piece = offsets[first : first + 2]
            need = used + int(piece[1] - piece[0]) * order
            if need > FILLED * slots:
                slots = 1 << math.ceil(math.log2(2 * need / FILLED))
                model = grown(model, slots)
            used = int(count_bytes(data, piece, order, model.keys, model.seen, model.followed, model.kinds, used))
    if used == 0:
        raise UserError("byte n-gram model: the reference texts are empty, expected some bytes; name others")
    return grown(model, 1 << math.ceil(math.log2(used / FILLED)))


def empty(order: int, slots: int) -> ByteModel:
    """Return a model that has seen nothing."""
    counters = (np.zeros(slots + 1, np.uint32) for _ in range(3))
    return ByteModel(order, np.zeros(slots, np.uint64), *counters)


def grown(model: ByteModel, slots: int) -> ByteModel:
    """Return the same model in a table of another size."""
    new = empty(model.order, slots)
    move(model.keys, model.seen, model.followed, model.kinds, new.keys, new.seen, new.followed, new.kinds)
    return new


@njit(cache=True, nogil=True)
def slot_of(keys: np.ndarray, key: np.uint64) -> int:
    """Return the slot of a key, or the free one where it would go."""
    mask = np.uint64(len(keys) - 1)
    value = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    slot = (value ^ (value >> np.uint64(31))) & mask
    while keys[slot] != 0 and keys[slot] != key:
        slot = (slot + np.uint64(1)) & mask
    return int(np.int64(slot))  # a number with a sign: mixed with one, numba would make floats of both


@njit(cache=True, nogil=True)
def move(
    keys: np.ndarray,
    seen: np.ndarray,
    followed: np.ndarray,
    kinds: np.ndarray,
    new_keys: np.ndarray,
    new_seen: np.ndarray,
    new_followed: np.ndarray,
    new_kinds: np.ndarray,
) -> None:
    """Enter every gram of one table into another, which is empty."""
    for old in range(len(keys)):
        if keys[old] != 0:
            slot = slot_of(new_keys, keys[old])
            new_keys[slot] = keys[old]
            new_seen[slot], new_followed[slot], new_kinds[slot] = seen[old], followed[old], kinds[old]
    last, new_last = len(keys), len(new_keys)
    new_seen[new_last], new_followed[new_last], new_kinds[new_last] = seen[last], followed[last], kinds[last]


@njit(cache=True, nogil=True)
def count_bytes(
    data: np.ndarray,
    offsets: np.ndarray,
    order: int,
    keys: np.ndarray,
    seen: np.ndarray,
    followed: np.ndarray,
    kinds: np.ndarray,
    used: int,
) -> int:
    """Count every gram of 1 to ``order`` bytes of every text; return how many slots are in use."""
    for text in range(len(offsets) - 1):
        for place in range(offsets[text], offsets[text + 1]):
            value = np.uint64(0)
            for length in range(1, min(order, place - offsets[text] + 1) + 1):
                value |= np.uint64(data[place - length + 1]) << np.uint64(8 * (length - 1))
                slot = slot_of(keys, value | np.uint64(length) << np.uint64(56))
                if keys[slot] == 0:
                    keys[slot] = value | np.uint64(length) << np.uint64(56)
                    used += 1
                new = seen[slot] == 0
                seen[slot] += np.uint32(1)
                # its context: the gram without its last byte
                context = len(keys)
                if length > 1:
                    context = slot_of(keys, value >> np.uint64(8) | np.uint64(length - 1) << np.uint64(56))
                followed[context] += np.uint32(1)
                if new:
                    kinds[context] += np.uint32(1)
    return used


@njit(cache=True, nogil=True)
def score_bytes(
    data: np.ndarray,
    offsets: np.ndarray,
    order: int,
    keys: np.ndarray,
    seen: np.ndarray,
    followed: np.ndarray,
    kinds: np.ndarray,
    result: np.ndarray,
) -> None:
    """Write the bits of every text into ``result`` (float64)."""
    before = np.empty(LONGEST + 1, np.int64)  # slots of the grams that end before this byte, by length
    now = np.empty(LONGEST + 1, np.int64)  # of those that end with it
    before[0] = now[0] = len(keys)
    for text in range(len(offsets) - 1):
        total = 0.0
        known = 0  # the longest gram before this byte that the table holds
        for place in range(offsets[text], offsets[text + 1]):
            probability = 1.0 / 256.0
            value = np.uint64(0)
            found = 0
            for length in range(1, min(known, order - 1) + 2):
                context = before[length - 1]
                count = 0.0
                if found == length - 1:  # where a gram is not there, no longer one is
                    value |= np.uint64(data[place - length + 1]) << np.uint64(8 * (length - 1))
                    slot = slot_of(keys, value | np.uint64(length) << np.uint64(56))
                    if keys[slot] != 0:
                        count = float(seen[slot])
                        now[length] = slot
                        found = length
                if followed[context] > 0:
                    different = float(kinds[context])
                    probability = (count + different * probability) / (float(followed[context]) + different)
            total -= math.log2(probability)
            known = found
            before, now = now, before
        result[text] = total
