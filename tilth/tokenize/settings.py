"""What decides a tokenizer, beside the text."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from tilth.corpus.errors import UserError
from tilth.tokenize.tokenizer import PADDING, SEPARATOR, UNKNOWN

Kind = Literal["sentencepiece-bpe", "sentencepiece-unigram", "byte-bpe", "wordpiece", "bytes"]
KINDS: tuple[str, ...] = get_args(Kind)

NEWLINES = ("\n", "\n\n")
BYTES = 256

# The special tokens that are always there, in the order of their ids. BERT's are called what its readers expect.
ALWAYS: dict[str, tuple[str, ...]] = {
    "sentencepiece-bpe": (UNKNOWN, SEPARATOR, PADDING),
    "sentencepiece-unigram": (UNKNOWN, SEPARATOR, PADDING),
    "byte-bpe": (SEPARATOR, PADDING),
    "wordpiece": ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    "bytes": (SEPARATOR, PADDING),
}
# Pieces that no text decides, and one that it does.
FIXED = {
    "sentencepiece-bpe": BYTES + len(NEWLINES) + 1,
    "sentencepiece-unigram": BYTES + len(NEWLINES) + 1,
    "byte-bpe": BYTES,
    "wordpiece": 1,
    "bytes": BYTES,
}


@dataclass(frozen=True, kw_only=True)
class TokenizerSettings:
    """What decides a tokenizer, beside the text."""

    vocabulary_size: int  # pieces in all: special tokens, 256 bytes, newlines, characters, merges
    kind: Kind = "sentencepiece-bpe"
    seed: int = 0  # of the sample of documents
    sample_bytes: int = 100_000_000  # UTF-8 bytes to train on; SentencePiece needs about five times as much memory
    weights: Mapping[str, float] = field(default_factory=dict)  # source -> share of the sample; empty: as they come
    character_coverage: float = (
        0.9995  # share of character occurrences with a piece of their own; SentencePiece's default
    )
    split_digits: bool = True  # every digit is a piece of its own; WordPiece knows no such rule
    lowercase: bool = False  # WordPiece only
    special_tokens: tuple[str, ...] = ()  # more control tokens, after those that are always there

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UserError(f"tokenizer.kind: found '{self.kind}', expected one of {', '.join(KINDS)}")
        least = FIXED[self.kind] + len(self.control_tokens)
        if self.kind == "bytes" and self.vocabulary_size != least:
            raise UserError(
                f"tokenizer.vocabulary_size: found {self.vocabulary_size}, expected {least} for plain bytes "
                "(256 and the special tokens); set it to that"
            )
        if self.vocabulary_size < least:
            raise UserError(
                f"tokenizer.vocabulary_size: found {self.vocabulary_size}, expected at least {least} "
                "(bytes, newlines and special tokens); raise it"
            )
        if self.sample_bytes < 1:
            raise UserError(f"tokenizer.sample_bytes: found {self.sample_bytes}, expected at least 1; raise it")
        if not 0.9 <= self.character_coverage <= 1:
            raise UserError(
                f"tokenizer.character_coverage: found {self.character_coverage}, expected a share from 0.9 to 1"
            )
        if len(set(self.control_tokens)) < len(self.control_tokens) or not all(self.special_tokens):
            raise UserError(
                f"tokenizer.special_tokens: found {list(self.special_tokens)}, expected distinct, non-empty names "
                f"other than {', '.join(ALWAYS[self.kind][:-1])} and {ALWAYS[self.kind][-1]}"
            )

    @property
    def control_tokens(self) -> tuple[str, ...]:
        """All special tokens, in the order of their ids."""
        return (*ALWAYS[self.kind], *self.special_tokens)


def bytes_vocabulary(special_tokens: int = 0) -> int:
    """Return the size of a vocabulary of plain bytes with so many more special tokens."""
    return BYTES + len(ALWAYS["bytes"]) + special_tokens
