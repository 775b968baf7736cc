"""A SentencePiece BPE tokenizer that gives every text back: decode(encode(text)) == text, for all of Unicode.

SentencePiece loses text in four places, and each is closed: normalisation (identity here), a space put before the text
(off), characters outside the vocabulary (byte pieces), and U+2581, its own sign for a space, which it would decode as
one (always written as its three byte pieces). Newlines are pieces, one and two at a time: a paragraph break is a token.

Training runs on one thread and writes no path and no time into the model: equal texts give equal bytes.
"""

import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from tilth.corpus.document import utf8_buffers
from tilth.corpus.errors import UserError
from tilth.corpus.store import write_atomically
from tilth.tokenize.training_text import LINE_CHARACTERS, sample_texts, training_lines
from tilth.tokenize.words import NO_SEPARATOR, WordTable, spans_a_cut

UNKNOWN, SEPARATOR, PADDING = "<|unknown|>", "<|end|>", "<|pad|>"
NEWLINES = ("\n", "\n\n")
SPACE_SIGN = "\u2581"  # SentencePiece's sign for a space
LARGEST_UINT16_VOCABULARY = 2**16


@dataclass(frozen=True, kw_only=True)
class TokenizerSettings:
    """What decides a tokenizer, beside the text."""

    vocabulary_size: int  # pieces in all: special tokens, 256 bytes, newlines, characters, merges
    seed: int = 0  # of the sample of documents
    sample_bytes: int = 100_000_000  # UTF-8 bytes to train on; the trainer needs about five times as much memory
    character_coverage: float = (
        0.9995  # share of character occurrences with a piece of their own; SentencePiece's default
    )
    split_digits: bool = True  # every digit is a piece of its own
    special_tokens: tuple[str, ...] = ()  # more control tokens, after the three that are always there

    def __post_init__(self) -> None:
        least = 256 + len(self.control_tokens) + len(NEWLINES) + 1
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
                f"other than {UNKNOWN}, {SEPARATOR} and {PADDING}"
            )

    @property
    def control_tokens(self) -> tuple[str, ...]:
        """All special tokens, in the order of their ids."""
        return (UNKNOWN, SEPARATOR, PADDING, *self.special_tokens)


def train_tokenizer(texts: Iterable[str], path: Path | str, settings: TokenizerSettings) -> "Tokenizer":
    """Train a tokenizer on a sample of ``texts``, write its model to ``path`` whole or not at all, and return it.

    The model depends on the set of texts and the settings, not on the order of the texts. Raises ``UserError`` where
    there is no text, or too little or too much of it for the vocabulary's size.
    """
    import sentencepiece

    path = Path(path)
    lines = training_lines(sample_texts(texts, settings.sample_bytes, settings.seed))
    first = next(lines, None)
    if first is None:
        raise UserError(f"{path}: found no text to train a tokenizer on, expected some; check the sources")
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=_chained(first, lines),
            model_writer=model,
            model_type="bpe",
            vocab_size=settings.vocabulary_size,
            character_coverage=settings.character_coverage,
            byte_fallback=True,
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            allow_whitespace_only_pieces=True,
            split_digits=settings.split_digits,
            user_defined_symbols=list(NEWLINES),
            control_symbols=list(settings.special_tokens),
            unk_id=0,
            eos_id=1,
            pad_id=2,
            bos_id=-1,
            unk_piece=UNKNOWN,
            eos_piece=SEPARATOR,
            pad_piece=PADDING,
            max_sentence_length=4 * LINE_CHARACTERS,  # bytes
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise _explained(error, path, settings) from error
    write_atomically(path, model.getvalue())
    return Tokenizer.load(path)


def _chained(first: str, rest: Iterable[str]) -> Iterable[str]:
    yield first
    yield from rest


def _explained(error: RuntimeError, path: Path, settings: TokenizerSettings) -> UserError:
    """Turn the trainer's complaint into one that says what to do."""
    message = str(error)
    size = settings.vocabulary_size
    if found := re.search(r"too high \(\d+\)\. Please set it to a value <= (\d+)", message):
        return UserError(
            f"{path}: tokenizer.vocabulary_size is {size}, the text has pieces for {found[1]}; "
            f"lower it to at most {found[1]} or give more text"
        )
    if found := re.search(r"smaller than required_chars\. \d+ vs (\d+)", message):
        return UserError(
            f"{path}: tokenizer.vocabulary_size is {size}, the text's characters alone need {found[1]}; "
            "raise it or lower tokenizer.character_coverage"
        )
    if "sentences_.empty()" in message:
        return UserError(f"{path}: found no text to train a tokenizer on, expected some; check the sources")
    return UserError(f"{path}: the tokenizer could not be trained: {message}")


@dataclass(frozen=True)
class Tokenizer:
    """A loaded model. Equal where the files are equal; sent to another process as its path."""

    path: Path = field(compare=False)
    digest: str  # xxh3-128 of the model file, 32 hex digits
    vocabulary_size: int
    separator: int  # the id that follows every document
    padding: int
    _processor: Any = field(compare=False, repr=False)
    _words: WordTable = field(compare=False, repr=False)

    @classmethod
    def load(cls, path: Path | str) -> "Tokenizer":
        """Load a model that ``train_tokenizer`` wrote.

        Raises ``UserError`` where the file is missing, damaged, or a model that would not give texts back.
        """
        import sentencepiece

        path = Path(path)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise UserError(
                f"{path}: no tokenizer model here ({error.strerror}); train one or correct the path"
            ) from error
        damaged = f"{path}: not a SentencePiece model, or damaged; train the tokenizer again"
        if not data:
            raise UserError(damaged)
        try:
            processor = sentencepiece.SentencePieceProcessor(model_proto=data)
        except RuntimeError as error:
            raise UserError(damaged) from error
        _check(processor, path)
        size = processor.vocab_size()
        return cls(
            path,
            xxhash.xxh3_128_hexdigest(data),
            size,
            processor.piece_to_id(SEPARATOR),
            processor.piece_to_id(PADDING),
            processor,
            WordTable(lambda words: encode_whole(processor, words), token_dtype(size)),
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Send the path, not the model: the other process loads it."""
        return Tokenizer.load, (self.path,)

    @property
    def dtype(self) -> np.dtype:
        """uint16 where every id fits, else uint32."""
        return token_dtype(self.vocabulary_size)

    def id_of(self, piece: str) -> int:
        """Return the id of a piece or special token. Raises ``UserError`` where the vocabulary has none."""
        number = int(self._processor.piece_to_id(piece))
        if self._processor.id_to_piece(number) != piece:
            raise UserError(f"{self.path}: the vocabulary has no piece '{piece}'; train a tokenizer that has it")
        return number

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the tokens of every text, of ``dtype``, without separators."""
        tokens, offsets = self.encode_column(pa.array(texts, pa.large_string()), separated=False)
        bounds = offsets.tolist()
        return [tokens[start:end] for start, end in pairwise(bounds)]

    def encode_column(self, text: pa.Array, *, separated: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return the tokens of a string column in one array of ``dtype`` and their offsets (int64, rows + 1).

        ``separated``: the separator follows every text.
        """
        data, offsets = utf8_buffers(text)
        return self._words.encode(data, offsets, self.separator if separated else NO_SEPARATOR)

    def decode(self, tokens: Sequence[int] | np.ndarray) -> str:
        """Return the text of ``tokens``; special tokens have none."""
        ids = tokens.tolist() if isinstance(tokens, np.ndarray) else list(tokens)
        return str(self._processor.decode(ids))


def token_dtype(vocabulary_size: int) -> np.dtype:
    """Return the type of token ids: uint16 up to 65,536 pieces, else uint32."""
    return np.dtype(np.uint16 if vocabulary_size <= LARGEST_UINT16_VOCABULARY else np.uint32)


def encode_whole(processor: Any, texts: list[str]) -> list[list[int]]:
    """Encode texts with SentencePiece itself, U+2581 as its bytes: what ``Tokenizer`` says, without its word table."""
    encoded: list[list[int]] = processor.encode(texts, num_threads=1)
    for index, text in enumerate(texts):
        if SPACE_SIGN in text:
            sign = [processor.piece_to_id(f"<0x{byte:02X}>") for byte in SPACE_SIGN.encode()]
            first, *rest = processor.encode(text.split(SPACE_SIGN), num_threads=1)
            encoded[index] = first + [token for part in rest for token in (*sign, *part)]
    return encoded


def _check(processor: Any, path: Path) -> None:
    """Raise ``UserError`` unless the model has our special tokens and settings."""
    pieces = [processor.id_to_piece(number) for number in range(processor.vocab_size())]
    missing = {SEPARATOR, PADDING, *(f"<0x{byte:02X}>" for byte in range(256))}.difference(pieces)
    if missing:
        raise UserError(
            f"{path}: the vocabulary lacks {min(missing)} ({len(missing)} required pieces in all); "
            "expected a model that tilth trained"
        )
    probe = "  two  spaces \n\n\n tab\t, \u00a0\u3000\u2126 e\u0301 \U0001d4b3 \x00\r\n "
    together = processor.encode("\nx") == [*processor.encode("\n"), *processor.encode("x")]
    if not together or processor.decode(processor.encode(probe)) != probe:
        raise UserError(f"{path}: this model does not give texts back unchanged; expected a model that tilth trained")
    for number, piece in enumerate(pieces):
        # control, byte and unknown pieces never match text
        if processor.is_control(number) or processor.is_byte(number) or processor.is_unknown(number):
            continue
        if spans_a_cut(piece.replace(SPACE_SIGN, " ")):
            raise UserError(f"{path}: piece {number} spans words ({piece!r}); expected a model that tilth trained")
