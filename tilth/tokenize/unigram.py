"""SentencePiece's search for the best pieces of a unigram model, over whole columns: its ids, about twice as fast.

The library makes a string and a Python integer of every token, about 200 ns each; this writes ids into one array. The
ids are the same because the arithmetic is: 32-bit sums in the same order along the whole text, the same comparisons,
the same fresh start of the sums (sentencepiece 0.2.3, src/unigram_model.cc, Model::EncodeOptimized). Another version
may add up otherwise, so with another one the library is asked itself, and so it is for a model that changes the text.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np

from tilth.tokenize.piece_trie import BASE_BITS, ENDS, LABELS, build_trie
from tilth.tokenize.sentencepiece_proto import BYTE, NORMAL, USER_DEFINED, Piece
from tilth.tokenize.tokenizer import EncodeColumn

VERSION = "0.2.3"  # of sentencepiece, whose arithmetic this is
SPACE_SIGN = "\u2581".encode()  # SentencePiece's sign for a space, which this never writes: a space stays a space
UNKNOWN_PENALTY = np.float32(10)  # kUnkPenalty
LARGEST_SUM = np.float32(100_000)  # kScoreResetThreshold: beyond it sums start at 0 again
UNKNOWN_SLOT = -1


@dataclass(frozen=True)
class Search:
    """What the search reads: a trie (``units``, ``piece_of``), 32-bit ``scores`` by slot, ids by byte (256)."""

    units: np.ndarray
    piece_of: np.ndarray
    scores: np.ndarray
    unknown_score: np.float32
    byte_ids: np.ndarray


def prepare_search(pieces: Sequence[Piece]) -> Search | None:
    """Return what the search needs of a model's pieces, in the order of their ids, or nothing where it cannot be used.

    It can where a space is a piece, all 256 bytes are, and the trie has room.
    """
    matching = [
        (piece.text.replace(SPACE_SIGN, b" "), number)
        for number, piece in enumerate(pieces)
        # the text that SentencePiece searches has no space, so a piece with one never matches
        if piece.kind in (NORMAL, USER_DEFINED) and b" " not in piece.text
    ]
    byte_ids = {piece.text: number for number, piece in enumerate(pieces) if piece.kind == BYTE}
    names = [b"<0x%02X>" % byte for byte in range(256)]
    if all(text != b" " for text, _ in matching) or any(name not in byte_ids for name in names):
        return None
    trie = build_trie(matching)
    if trie is None:
        return None
    score_of = np.array([_score(piece) for piece in pieces], np.float32)
    normal = [score_of[number] for number, piece in enumerate(pieces) if piece.kind == NORMAL]
    if not normal:
        return None
    scores = np.where(trie.pieces >= 0, score_of[trie.pieces], np.float32(0))
    ids = np.array([byte_ids[name] for name in names], np.int32)
    return Search(trie.units, trie.pieces, scores, np.float32(min(normal)) - UNKNOWN_PENALTY, ids)


def _score(piece: Piece) -> float:
    """Return a piece's score. One that the user defined has 0.1 for each byte after its first (GetUserDefinedScore)."""
    return 0.1 * (len(piece.text) - 1) if piece.kind == USER_DEFINED else piece.score


def by_search(search: Search, dtype: np.dtype) -> EncodeColumn:
    """Return an encoder of columns that searches by itself."""

    def encode(data: np.ndarray, offsets: np.ndarray, separator: int) -> tuple[np.ndarray, np.ndarray]:
        rows = len(offsets) - 1
        tokens = np.empty(int(offsets[-1] - offsets[0]) + rows, dtype)  # a token has a byte at least
        ends = np.zeros(rows + 1, np.int64)
        encode_texts(
            _read_only(data),
            _read_only(offsets),
            separator,
            search.units,
            search.piece_of,
            search.scores,
            search.unknown_score,
            search.byte_ids,
            tokens,
            ends,
        )
        return tokens[: ends[-1]].copy(), ends

    return encode


def _read_only(array: np.ndarray) -> np.ndarray:
    """Return a view that nobody writes to: numba compiles once, whether or not the array was mapped from a file."""
    view = array.view()
    view.flags.writeable = False
    return view


@numba.njit(cache=True, nogil=True)
def encode_texts(
    data: np.ndarray,
    offsets: np.ndarray,
    separator: int,
    units: np.ndarray,
    piece_of: np.ndarray,
    scores: np.ndarray,
    unknown_score: np.float32,
    byte_ids: np.ndarray,
    tokens: np.ndarray,
    ends: np.ndarray,
) -> None:
    """Write the ids of all texts to ``tokens`` and their offsets to ``ends`` (int64, texts + 1).

    ``data`` is uint8, ``offsets`` int64 of shape (texts + 1,). U+2581 is written as its bytes' ids, and what stands
    between two of them is searched as a text of its own. ``separator`` follows every text, unless it is negative.
    """
    longest = 0
    for text in range(len(offsets) - 1):
        longest = max(longest, offsets[text + 1] - offsets[text])
    best = np.empty(longest + 1, np.float32)
    lengths = np.empty(longest + 1, np.int32)
    slots = np.empty(longest + 1, np.int32)
    written = 0
    for text in range(len(offsets) - 1):
        first, end = offsets[text], offsets[text + 1]
        while True:
            after = first
            while after < end and not (
                data[after] == 0xE2 and after + 2 < end and data[after + 1] == 0x96 and data[after + 2] == 0x81
            ):
                after += 1
            part = data[first:after]
            _search(part, units, scores, unknown_score, best, lengths, slots)
            written += _write_path(part, piece_of, byte_ids, lengths, slots, tokens[written:])
            if after == end:
                break
            first = after + 3
            for place in range(after, first):
                tokens[written] = byte_ids[data[place]]
                written += 1
        if separator >= 0:
            tokens[written] = separator
            written += 1
        ends[text + 1] = written


@numba.njit(cache=True, nogil=True)
def _search(
    data: np.ndarray,
    units: np.ndarray,
    scores: np.ndarray,
    unknown_score: np.float32,
    best: np.ndarray,
    lengths: np.ndarray,
    slots: np.ndarray,
) -> None:
    """Find the best path to every end of a piece: its sum, and the bytes and the slot of its last piece.

    All sums stay 32-bit floats. Of equal sums the one that was found first stays: the longest last piece.
    """
    size = len(data)
    best[: size + 1] = -np.inf  # no piece ends here
    best[0] = np.float32(0)
    start = 0
    frontier = 0
    while start < size:
        so_far = best[start]
        if so_far < -LARGEST_SUM or so_far > LARGEST_SUM:
            for place in range(start, frontier + 1):
                best[place] -= so_far
            so_far = np.float32(0)
        lead = data[start]
        width = 1 if lead < 0xC0 else (2 if lead < 0xE0 else (3 if lead < 0xF0 else 4))
        width = min(width, size - start)
        alone = False  # whether the character is a piece by itself
        unit = units[0]
        place = start
        while place < size:
            byte = np.uint32(data[place])
            slot = np.uint32(unit >> np.uint32(BASE_BITS)) + byte
            unit = units[slot]
            if (unit & np.uint32(LABELS)) != byte:
                break
            place += 1
            if unit & np.uint32(ENDS):
                total = np.float32(scores[slot] + so_far)
                if total > best[place]:
                    best[place] = total
                    lengths[place] = place - start
                    slots[place] = slot
                alone = alone or place - start == width
                frontier = max(frontier, place)
        if not alone:
            place = start + width
            total = np.float32(unknown_score + so_far)
            if total > best[place]:
                best[place] = total
                lengths[place] = width
                slots[place] = UNKNOWN_SLOT
            frontier = max(frontier, place)
        start += width


@numba.njit(cache=True, nogil=True)
def _write_path(
    data: np.ndarray,
    piece_of: np.ndarray,
    byte_ids: np.ndarray,
    lengths: np.ndarray,
    slots: np.ndarray,
    out: np.ndarray,
) -> int:
    """Write the ids of the best path to the end of ``data``, an unknown character as its bytes; return how many."""
    count = 0
    place = len(data)
    while place > 0:
        count += lengths[place] if slots[place] == UNKNOWN_SLOT else 1
        place -= lengths[place]
    at = count
    place = len(data)
    while place > 0:
        start = place - lengths[place]
        if slots[place] == UNKNOWN_SLOT:
            at -= lengths[place]
            for index in range(lengths[place]):
                out[at + index] = byte_ids[data[start + index]]
        else:
            at -= 1
            out[at] = piece_of[slots[place]]
        place = start
    return count
