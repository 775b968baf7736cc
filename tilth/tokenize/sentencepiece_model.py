"""SentencePiece, BPE or unigram. Models trained here give every text back: decode(encode(text)) == text, always.

SentencePiece loses text in four places, and each is closed: normalisation (identity here), a space put before the text
(off), characters outside the vocabulary (byte pieces), and U+2581, its own sign for a space, which it would decode as
one (always written as its three byte pieces). Newlines are pieces, one and two at a time: a paragraph break is a token.
A model from elsewhere is used as it is, with the ids that the library gives and with what it loses.

Training runs on one thread and writes no path and no time into the model: equal texts give equal bytes.
"""

import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tilth.corpus.errors import UserError
from tilth.tokenize.cuts import SENTENCEPIECE
from tilth.tokenize.sentencepiece_proto import read_pieces, read_traits
from tilth.tokenize.settings import NEWLINES, TokenizerSettings
from tilth.tokenize.tokenizer import PADDING, SEPARATOR, UNKNOWN, Tokenizer, build_tokenizer, special_ids, token_dtype
from tilth.tokenize.training_text import LINE_CHARACTERS
from tilth.tokenize.unigram import VERSION, by_search, prepare_search
from tilth.tokenize.words import spans_a_cut

SPACE_SIGN = "\u2581"  # SentencePiece's sign for a space


def train_sentencepiece(lines: Iterable[str], settings: TokenizerSettings, path: Path) -> bytes:
    """Return a model trained on ``lines``, of which there is at least one; ``path`` is named in complaints.

    Raises ``UserError`` where there is too little or too much text for the vocabulary's size.
    """
    import sentencepiece

    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=model,
            model_type=settings.kind.removeprefix("sentencepiece-"),
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
    return model.getvalue()


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


def load_sentencepiece(path: Path, data: bytes) -> Tokenizer:
    """Load a model. Raises ``UserError`` where it is damaged or no token is known to separate documents."""
    import sentencepiece

    damaged = f"{path}: not a SentencePiece model, or damaged; train the tokenizer again"
    if not data:
        raise UserError(damaged)
    try:
        processor = sentencepiece.SentencePieceProcessor(model_proto=data)
        traits = read_traits(data)
    except (RuntimeError, ValueError) as error:
        raise UserError(damaged) from error
    library = SentencePieceLibrary(processor, keeps_space_sign=traits.keeps_text)
    known = {
        "unknown": processor.unk_id(),
        "separator": processor.eos_id(),
        "padding": processor.pad_id(),
    }
    special = special_ids(path, library, {role: number for role, number in known.items() if number >= 0})
    # The best path of a unigram model is found with sums of 32-bit floats over the whole text, so it may change with
    # what lies far before a word; merges never do.
    exact = traits.algorithm == "bpe" and traits.keeps_text and not _tears_a_piece(processor)
    kind = f"sentencepiece-{traits.algorithm}"
    cuts = SENTENCEPIECE if exact else None
    size = processor.vocab_size()
    searched = traits.algorithm == "unigram" and traits.keeps_text and traits.escapes_spaces
    search = prepare_search(read_pieces(data)) if searched and sentencepiece.__version__ == VERSION else None
    encode = None if search is None else by_search(search, token_dtype(size))
    return build_tokenizer(path, data, kind, size, special, library, cuts, encode)


class SentencePieceLibrary:
    """A loaded model behind the names that all libraries have here."""

    def __init__(self, processor: Any, *, keeps_space_sign: bool) -> None:
        self.processor = processor
        self._keeps_space_sign = keeps_space_sign

    def encode(self, texts: Sequence[str | bytes]) -> list[list[int]]:
        """Return the ids of every text."""
        if self._keeps_space_sign:
            return encode_whole(self.processor, texts)
        encoded: list[list[int]] = self.processor.encode(list(texts), num_threads=1)
        return encoded

    def decode(self, ids: list[list[int]]) -> list[str]:
        """Return the texts."""
        return [str(text) for text in self.processor.decode(ids, num_threads=1)]

    def id_of(self, piece: str) -> int | None:
        """Return the id of a piece, spaces written as U+2581."""
        number = int(self.processor.piece_to_id(piece))
        return number if self.processor.id_to_piece(number) == piece else None

    def piece_of(self, number: int) -> str | None:
        """Return the piece of an id, spaces written as U+2581."""
        return str(self.processor.id_to_piece(number)) if 0 <= number < self.processor.vocab_size() else None


def encode_whole(processor: Any, texts: Sequence[str | bytes]) -> list[list[int]]:
    """Encode texts with SentencePiece itself, U+2581 as its bytes: what ``Tokenizer`` says, without its word table."""
    encoded: list[list[int]] = processor.encode(list(texts), num_threads=1)
    for index, text in enumerate(texts):
        if text.isascii():
            continue
        data = text if isinstance(text, bytes) else text.encode()
        if SPACE_SIGN.encode() in data:
            sign = [processor.piece_to_id(f"<0x{byte:02X}>") for byte in SPACE_SIGN.encode()]
            first, *rest = processor.encode(data.split(SPACE_SIGN.encode()), num_threads=1)
            encoded[index] = first + [token for part in rest for token in (*sign, *part)]
    return encoded


def _tears_a_piece(processor: Any) -> bool:
    """Tell whether a piece that can match text spans a cut between words."""
    if processor.encode("\nx") != [*processor.encode("\n"), *processor.encode("x")]:
        return True
    for number in range(processor.vocab_size()):
        # control, byte and unknown pieces never match text
        if processor.is_control(number) or processor.is_byte(number) or processor.is_unknown(number):
            continue
        if spans_a_cut(processor.id_to_piece(number).replace(SPACE_SIGN, " "), SENTENCEPIECE):
            return True
    return False
