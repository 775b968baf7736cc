"""Plain bytes as a tokenizer: the id of a byte is its value, and special tokens follow from 256 on.

No training and no table: any text of any script costs one token a byte, and the array of ids is the text. The price is
sequences about four times as long as with 32,768 pieces of English.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from tilth.corpus.errors import UserError
from tilth.tokenize.settings import BYTES, TokenizerSettings
from tilth.tokenize.tokenizer import Tokenizer, special_ids


def describe_bytes(settings: TokenizerSettings) -> bytes:
    """Return the content of the model file."""
    tokens = [
        {"id": BYTES + number, "content": name, "special": True} for number, name in enumerate(settings.control_tokens)
    ]
    return json.dumps({"version": "1.0", "added_tokens": tokens, "model": {"type": "Bytes"}}, indent=1).encode()


def load_bytes(path: Path, data: bytes, config: Mapping[str, Any]) -> Tokenizer:
    """Load what ``describe_bytes`` wrote. Raises ``UserError`` where the file is damaged."""
    try:
        names = tuple(str(token["content"]) for token in config["added_tokens"])
    except (KeyError, TypeError) as error:
        raise UserError(f"{path}: not a tokenizer of plain bytes, or damaged ({error!r}); train it again") from error
    library = ByteLibrary(names)
    special = special_ids(path, library, {})
    digest = xxhash.xxh3_128_hexdigest(data)
    return Tokenizer(path, "bytes", digest, BYTES + len(names), special, library, encode_bytes)


class ByteLibrary:
    """Bytes as ids, with the names of the special tokens."""

    def __init__(self, special: tuple[str, ...]) -> None:
        self.special = special

    def encode(self, texts: Sequence[str | bytes]) -> list[list[int]]:
        """Return the UTF-8 bytes of every text."""
        return [list(text if isinstance(text, bytes) else text.encode()) for text in texts]

    def decode(self, ids: list[list[int]]) -> list[str]:
        """Return the texts; bytes that are no UTF-8 become U+FFFD."""
        return [bytes(number for number in one if number < BYTES).decode(errors="replace") for one in ids]

    def id_of(self, piece: str) -> int | None:
        """Return the id of a special token, or of a character of one byte."""
        if piece in self.special:
            return BYTES + self.special.index(piece)
        data = piece.encode()
        return data[0] if len(data) == 1 else None

    def piece_of(self, number: int) -> str | None:
        """Return the name of a special token, or a byte as ``<0x41>``."""
        if number < BYTES:
            return f"<0x{number:02X}>"
        return self.special[number - BYTES] if number - BYTES < len(self.special) else None


def encode_bytes(data: np.ndarray, offsets: np.ndarray, separator: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the bytes of all texts as uint16 ids and their offsets, each text followed by ``separator`` unless < 0."""
    ends = offsets - offsets[0]
    text = data[offsets[0] : offsets[-1]]
    if separator < 0:
        return text.astype(np.uint16), ends
    tokens = np.insert(text.astype(np.uint16), ends[1:], np.uint16(separator))
    return tokens, ends + np.arange(len(offsets))
