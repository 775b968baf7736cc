"""fastText's tokens, a piece of a text at a time: where they stand, their first sixteen bytes, their hashes.

The rules are the library's (fastText 0.9.2, src/dictionary.cc: readWord, hash). The order of the work is our own: each
function makes one pass over a piece of 4,096 bytes and nearly none of them asks about a single token, because a wrongly
predicted branch costs as much as the rest of a token's work. Split and hashed byte by byte, a token of real text takes
13 ns; in passes it takes 4 to 6.
"""

import numpy as np
from numba import njit

PIECE = 4096  # bytes; what is known of its 650 tokens stays in the first-level cache, half or twice as many is slower
TOKENS = PIECE // 2 + 1  # of a piece at most, and room for the end token
INLINE = 16  # bytes of a token that are kept as two numbers, ``low`` and ``high``
PADDING = 16  # bytes after the last text, so that those sixteen can always be read

FNV_OFFSET = np.uint32(2166136261)  # Dictionary::hash, 32-bit FNV-1a
FNV_PRIME = np.uint32(16777619)

SEPARATES = np.zeros(256, np.uint8)  # Dictionary::readWord
SEPARATES[np.frombuffer(b" \n\r\t\v\f\0", np.uint8)] = 1

MASKS = np.array([[0xFF] * size + [0] * (16 - size) for size in range(17)], np.uint8).view("<u8").astype(np.uint64)

END = np.frombuffer(b"</s>", np.uint8)  # Dictionary::EOS: the last token of every text
END_LOW = np.uint64(int.from_bytes(b"</s>", "little"))


@njit(cache=True, nogil=True)
def padded(data: np.ndarray) -> np.ndarray:
    """Return a copy of ``data`` (uint8) with ``PADDING`` zeros behind it."""
    copy = np.empty(len(data) + PADDING, np.uint8)
    copy[: len(data)] = data
    copy[len(data) :] = 0
    return copy


@njit(cache=True, nogil=True)
def token_hash(data: np.ndarray, start: int, stop: int, value: np.uint32 = FNV_OFFSET) -> np.uint32:
    """Return the library's hash (uint32) of ``data[start:stop]``: FNV-1a in which a byte is a *signed* char.

    With ``value``, the hash of what stands before, the hash of both.
    """
    for place in range(start, stop):
        value = np.uint32((value ^ np.uint32(np.int8(data[place]))) * FNV_PRIME)
    return value


END_HASH = np.uint32(token_hash(END, 0, len(END)))


@njit(cache=True, nogil=True)
def next_tokens(data: np.ndarray, place: int, stop: int, edges: np.ndarray) -> tuple[int, int]:
    """Write start and stop of the next tokens before ``stop``; return their number and the place to go on at.

    ``edges`` is flat (int64, 2 x TOKENS): start, stop, start, stop. A piece ends between two tokens; where one token
    is longer than a piece, the piece grows.
    """
    last = min(place + PIECE, stop)
    count = find_edges(data, place, last, edges)
    if count % 2 == 0:
        return count // 2, last
    if last < stop and count > 1:
        return count // 2, int(edges[count - 1])  # the token that goes on is read with the next piece
    while last < stop and SEPARATES[data[last]] == 0:
        last += 1
    edges[count] = last
    return count // 2 + 1, last


@njit(cache=True, nogil=True)
def find_edges(data: np.ndarray, place: int, stop: int, edges: np.ndarray) -> int:
    """Write every place where a token starts or stops; return their number, which is odd where ``stop`` is in a token.

    Every place is written, and kept by counting on: no branch depends on the text.
    """
    count = np.uint64(0)
    before = np.uint8(1)
    for here in range(np.uint64(place), np.uint64(stop)):
        separates = SEPARATES[data[here]]
        edges[count] = here
        count += np.uint64(separates ^ before)
        before = separates
    return int(np.int64(count))


@njit(cache=True, nogil=True)
def eight_bytes(data: np.ndarray, start: int) -> np.uint64:
    """Return eight bytes as a number, the first one lowest: one load, once compiled."""
    place = np.uint64(start)  # no test for negative indices
    return (
        np.uint64(data[place])
        | np.uint64(data[place + np.uint64(1)]) << np.uint64(8)
        | np.uint64(data[place + np.uint64(2)]) << np.uint64(16)
        | np.uint64(data[place + np.uint64(3)]) << np.uint64(24)
        | np.uint64(data[place + np.uint64(4)]) << np.uint64(32)
        | np.uint64(data[place + np.uint64(5)]) << np.uint64(40)
        | np.uint64(data[place + np.uint64(6)]) << np.uint64(48)
        | np.uint64(data[place + np.uint64(7)]) << np.uint64(56)
    )


@njit(cache=True, nogil=True)
def read_tokens(
    data: np.ndarray,
    edges: np.ndarray,
    tokens: int,
    low: np.ndarray,
    high: np.ndarray,
    hashes: np.ndarray,
    longer: np.ndarray,
) -> None:
    """Write the first and the second eight bytes of every token (uint64) and its hash (uint32).

    Bytes beyond the token are zeros, which no token holds. ``data`` goes on for ``PADDING`` bytes after the last token;
    ``longer`` (uint16) is room for the tokens of more than sixteen bytes, whose hashes are finished one by one.
    """
    rest = np.uint64(0)
    for token in range(tokens):
        start = edges[2 * token]
        length = edges[2 * token + 1] - start
        mask = np.uint64(min(length, INLINE))
        low[token] = eight_bytes(data, start) & MASKS[mask, 0]
        high[token] = eight_bytes(data, start + 8) & MASKS[mask, 1]
        longer[rest] = token
        rest += np.uint64(length > INLINE)
    for token in range(tokens):
        hashes[token] = hash_eight(hash_eight(FNV_OFFSET, low[token]), high[token])
    for place in range(rest):
        token = longer[place]
        hashes[token] = token_hash(data, edges[2 * token] + INLINE, edges[2 * token + 1], hashes[token])


@njit(cache=True, nogil=True)
def hash_eight(value: np.uint32, word: np.uint64) -> np.uint32:
    """Return the hash ``value`` continued with the bytes of ``word``, the lowest first, without its zeros."""
    for place in range(8):
        byte = np.int8(word >> np.uint64(8 * place))
        following = np.uint32((value ^ np.uint32(byte)) * FNV_PRIME)
        value = following if byte != 0 else value
    return value


@njit(cache=True, nogil=True)
def tokens_to_end(low: np.ndarray, tokens: int) -> int:
    """Return how many tokens there are up to the first ``</s>``, which ends a text wherever it is written out; else 0.

    ``low``: the first eight bytes of every token.
    """
    found = False
    for token in range(tokens):
        found |= low[token] == END_LOW
    if not found:
        return 0
    token = 0
    while low[token] != END_LOW:
        token += 1
    return token + 1
