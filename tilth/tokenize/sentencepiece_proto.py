"""The few facts of a SentencePiece model file that its library does not tell, read from the protocol buffer itself.

A dozen lines of wire format in place of a dependency on protobuf. Field numbers: sentencepiece_model.proto of
sentencepiece 0.2.3. A file may be extended by appending: repeated fields of a protocol buffer concatenate.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
ALGORITHMS = {1: "unigram", 2: "bpe", 3: "word", 4: "char"}
NORMAL, USER_DEFINED, UNUSED, BYTE = 1, 4, 5, 6  # ModelProto.SentencePiece.Type, those that are told apart here


class Piece(NamedTuple):
    """A piece as the file has it: UTF-8 with U+2581 for spaces, its score, its type."""

    text: bytes
    score: float
    kind: int


@dataclass(frozen=True)
class Traits:
    """How a model treats text."""

    algorithm: str
    byte_fallback: bool  # characters outside the vocabulary are written as bytes
    normalises: bool  # characters are replaced before encoding
    adds_space: bool  # a space is put before the text
    trims: bool  # spaces at the ends and doubled ones are removed
    space_after: bool  # the sign for a space ends a word instead of starting it
    escapes_spaces: bool  # spaces become U+2581 before encoding

    @property
    def keeps_text(self) -> bool:
        """Whether the text comes back unchanged, but for U+2581."""
        changed = self.normalises or self.adds_space or self.trims or self.space_after
        return self.byte_fallback and not changed


def read_traits(data: bytes) -> Traits:
    """Return the traits of a model file. Raises ``ValueError`` where it is no protocol buffer."""
    trainer: dict[int, int | bytes] = {}
    normaliser: dict[int, int | bytes] = {}
    for number, value in _fields(data):
        if number == 2 and isinstance(value, bytes):
            trainer |= dict(_fields(value))
        elif number == 3 and isinstance(value, bytes):
            normaliser |= dict(_fields(value))
    return Traits(
        algorithm=ALGORITHMS.get(int(trainer.get(3, 1)), "unknown"),
        byte_fallback=bool(trainer.get(35, 0)),
        normalises=bool(normaliser.get(2, b"")),
        adds_space=bool(normaliser.get(3, 1)),
        trims=bool(normaliser.get(4, 1)),
        space_after=bool(trainer.get(24, 0)),
        escapes_spaces=bool(normaliser.get(5, 1)),
    )


def read_pieces(data: bytes) -> list[Piece]:
    """Return all pieces of a model file that the library reads, in the order of their ids."""
    found = []
    for number, value in _fields(data):
        if number == 1 and isinstance(value, bytes):
            piece = dict(_fields(value))
            text, score, kind = piece.get(1, b""), piece.get(2, b"\0\0\0\0"), piece.get(3, NORMAL)
            if not (isinstance(text, bytes) and isinstance(score, bytes) and isinstance(kind, int)):
                raise ValueError("a piece with other types")
            found.append(Piece(text, struct.unpack("<f", score)[0], kind))
    return found


def with_pieces(data: bytes, pieces: Iterable[tuple[str, float]]) -> bytes:
    """Return the model file with more pieces and their scores after all others."""
    added = bytearray()
    for piece, score in pieces:
        name = piece.encode()
        body = b"\x0a" + _varint(len(name)) + name + b"\x15" + struct.pack("<f", score)
        added += b"\x0a" + _varint(len(body)) + body
    return data + bytes(added)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError("cut short")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the number and the value of every field of a message."""
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        kind = key & 7
        if kind == VARINT:
            value, at = _read_varint(data, at)
            yield key >> 3, value
            continue
        if kind == LENGTH:
            length, at = _read_varint(data, at)
        elif kind in (FIXED64, FIXED32):
            length = 8 if kind == FIXED64 else 4
        else:
            raise ValueError(f"wire type {kind}")
        if at + length > len(data):
            raise ValueError("cut short")
        yield key >> 3, data[at : at + length]
        at += length
