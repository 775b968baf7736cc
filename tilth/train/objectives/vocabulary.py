"""What masking has to know of a vocabulary: the special tokens, those that begin a word, those that may replace one."""

import re
from dataclasses import dataclass

import numpy as np

from tilth.tokenize.tokenizer import Tokenizer

SPACE_SIGN = "\u2581"  # SentencePiece's
BYTE_SPACES = ("\u0120", "\u010a", "\u0109", "\u010d")  # GPT-2's signs for the bytes of space, newline, tab, return
CONTINUES = "##"  # WordPiece's sign for a piece inside a word
BYTE = re.compile("<0x([0-9A-F]{2})>")  # a byte that is a piece


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Arrays over the ids of a vocabulary."""

    mask: int
    first: int  # the token that begins a row: the class token where there is one, else the separator
    separator: int
    special: np.ndarray  # bool: never masked, never a replacement
    begins_word: np.ndarray  # bool
    ordinary: np.ndarray  # int64: the ids that are not special

    @staticmethod
    def of(tokenizer: Tokenizer) -> "Vocabulary":
        """Return the arrays of ``tokenizer``. Raises ``UserError`` where it has no mask token."""
        mask = tokenizer.needed("mask")["mask"]
        size = tokenizer.vocabulary_size
        special = np.zeros(size, np.bool_)
        special[list(tokenizer.special.values())] = True
        pieces = [tokenizer.library.piece_of(number) or "" for number in range(size)]
        begins = np.array([begins_word(piece, tokenizer.kind) for piece in pieces])
        return Vocabulary(
            mask=mask,
            first=tokenizer.special.get("class", tokenizer.separator),
            separator=tokenizer.separator,
            special=special,
            begins_word=begins,
            ordinary=np.flatnonzero(~special),
        )


def begins_word(piece: str, kind: str) -> bool:
    """Tell whether a token with this piece begins a word.

    Letters and digits that no space precedes go on with a word, as do single bytes of characters without a piece of
    their own; all else (spaces, punctuation, newlines) begins one.
    """
    if kind == "wordpiece":
        return not piece.startswith(CONTINUES)
    if found := BYTE.fullmatch(piece):
        byte = int(found[1], 16)
        return byte < 0x80 and not chr(byte).isalnum()
    if kind == "byte-bpe" and piece.startswith(BYTE_SPACES):
        return True
    return piece.startswith(SPACE_SIGN) or not piece[:1].isalnum()
