"""Byte-level BPE and WordPiece by Hugging Face's ``tokenizers``, and any other ``tokenizer.json``.

The library reads special tokens out of the text, so a page that mentions ``<|endoftext|>`` would end there; here that
is switched off, and such a page is text like any other. Otherwise ids are the library's own. Where the pre-tokenizer is
known never to look across a cut (``tilth.tokenize.cuts``), only words that are new reach the library.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tilth.corpus.errors import UserError
from tilth.tokenize.cuts import BERT, CL100K, GPT2
from tilth.tokenize.settings import TokenizerSettings
from tilth.tokenize.tokenizer import Tokenizer, build_tokenizer, special_ids

# Longest word that WordPiece looks at, in characters; longer ones are unknown (BERT's tokenization.py).
WORDPIECE_CHARACTERS = 100

# The pattern of OpenAI's cl100k_base as tokenizer.json files write it, and Llama 3's and Qwen 2's (digits one by one).
CL100K_PATTERNS = {
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    + most
    + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    for most in ("", "{1,3}")
}


def train_huggingface(lines: Iterable[str], settings: TokenizerSettings, path: Path) -> bytes:
    """Return the ``tokenizer.json`` of a tokenizer trained on ``lines``; ``path`` is named in complaints.

    Raises ``UserError`` where there is too little or too much text for the vocabulary's size.
    """
    _one_thread()
    trained = _byte_bpe(lines, settings) if settings.kind == "byte-bpe" else _wordpiece(list(lines), settings, path)
    found, wanted = trained.get_vocab_size(), settings.vocabulary_size
    if found < wanted:
        raise UserError(
            f"{path}: tokenizer.vocabulary_size is {wanted}, the text has pieces for {found}; "
            f"lower it to at most {found} or give more text"
        )
    return str(trained.to_str(pretty=False)).encode()


def _byte_bpe(lines: Iterable[str], settings: TokenizerSettings) -> Any:
    from tokenizers import Tokenizer as Library
    from tokenizers import decoders, models, pre_tokenizers, trainers

    library = Library(models.BPE())
    pattern = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    digits = [pre_tokenizers.Digits(individual_digits=True)] if settings.split_digits else []
    library.pre_tokenizer = pre_tokenizers.Sequence([*digits, pattern]) if digits else pattern
    library.decoder = decoders.ByteLevel()
    library.train_from_iterator(
        lines,
        trainers.BpeTrainer(
            vocab_size=settings.vocabulary_size,
            special_tokens=list(settings.control_tokens),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return library


def _wordpiece(lines: list[str], settings: TokenizerSettings, path: Path) -> Any:
    from tokenizers import Tokenizer as Library
    from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

    library = Library(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=WORDPIECE_CHARACTERS))
    library.normalizer = normalizers.BertNormalizer(lowercase=settings.lowercase)
    library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    library.decoder = decoders.WordPiece()
    first, later = _characters(lines, library, settings.character_coverage)
    single = [*settings.control_tokens, *later]
    if len(single) + len(first) > settings.vocabulary_size:
        raise UserError(
            f"{path}: tokenizer.vocabulary_size is {settings.vocabulary_size}, the text's characters alone need "
            f"{len(single) + len(first)}; raise it or lower tokenizer.character_coverage"
        )
    library.train_from_iterator(
        lines,
        trainers.WordPieceTrainer(
            vocab_size=settings.vocabulary_size,
            special_tokens=single,
            initial_alphabet=first,
            limit_alphabet=len(first),
            show_progress=False,
        ),
    )
    config = json.loads(library.to_str())
    config["added_tokens"] = config["added_tokens"][: len(settings.control_tokens)]
    return Library.from_str(json.dumps(config, ensure_ascii=False))


def _characters(lines: Iterable[str], library: Any, coverage: float) -> tuple[list[str], list[str]]:
    """Return the characters that make up a share ``coverage`` of all, and as ``##x`` those that stand inside words.

    The library would choose and number both in the order of a hash table, and train another tokenizer each time.
    """
    words: Counter[str] = Counter()
    for line in lines:
        words.update(library.normalizer.normalize_str(line).split())
    counts: Counter[str] = Counter()
    inside: set[str] = set()
    for word, count in words.items():
        for piece, _ in library.pre_tokenizer.pre_tokenize_str(word):
            inside.update(piece[1:])
            for character in piece:
                counts[character] += count
    left = coverage * sum(counts.values())
    kept = []
    for character, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if left <= 0:
            break
        left -= count
        kept.append(character)
    return sorted(kept), [f"##{character}" for character in sorted(inside.intersection(kept))]


def load_huggingface(path: Path, data: bytes, config: Mapping[str, Any]) -> Tokenizer:
    """Load a ``tokenizer.json``, given its bytes and what they say.

    Raises ``UserError`` where the library cannot read it or no token is known to separate documents.
    """
    from tokenizers import Tokenizer as Library

    _one_thread()
    try:
        loaded = Library.from_str(data.decode())
    except Exception as error:  # the library raises nothing more exact
        raise UserError(f"{path}: not a tokenizer.json, or damaged ({error}); bring the whole file") from error
    loaded.no_truncation()
    loaded.no_padding()
    loaded.encode_special_tokens = True  # their names in a text are text
    library = HuggingFaceLibrary(loaded)
    size = max(loaded.get_vocab(with_added_tokens=True).values(), default=-1) + 1
    return build_tokenizer(path, data, _kind(config), size, special_ids(path, library, {}), library, exact_cuts(config))


class HuggingFaceLibrary:
    """A loaded tokenizer behind the names that all libraries have here."""

    def __init__(self, loaded: Any) -> None:
        self.loaded = loaded

    def encode(self, texts: Sequence[str | bytes]) -> list[list[int]]:
        """Return the ids of every text."""
        decoded = [text if isinstance(text, str) else text.decode() for text in texts]
        return [encoding.ids for encoding in self.loaded.encode_batch_fast(decoded, add_special_tokens=False)]

    def decode(self, ids: list[list[int]]) -> list[str]:
        """Return the texts."""
        return list(self.loaded.decode_batch(ids, skip_special_tokens=True))

    def id_of(self, piece: str) -> int | None:
        """Return the id of a piece."""
        found: int | None = self.loaded.token_to_id(piece)
        return found

    def piece_of(self, number: int) -> str | None:
        """Return the piece of an id."""
        found: str | None = self.loaded.id_to_token(number)
        return found


def exact_cuts(config: Mapping[str, Any]) -> np.ndarray | None:
    """Return where texts may be cut without changing an id of a ``tokenizer.json``; None where that is not known."""
    if any(not token.get("special") for token in config.get("added_tokens") or []):
        return None  # they are found in the text before it is split
    model, normaliser = config.get("model") or {}, config.get("normalizer") or {}
    steps = _pre_tokenizers(config.get("pre_tokenizer") or {})
    if model.get("type") == "WordPiece" and normaliser.get("type") == "BertNormalizer":
        return BERT if [step.get("type") for step in steps] == ["BertPreTokenizer"] else None
    if model.get("type") != "BPE" or model.get("dropout") or normaliser or not steps:
        return None
    *before, last = steps
    if last.get("type") != "ByteLevel" or last.get("add_prefix_space"):
        return None
    if last.get("use_regex", True):
        return GPT2 if all(step.get("type") == "Digits" for step in before) else None
    if len(before) == 1 and _splits_by(before[0]) in CL100K_PATTERNS:
        return CL100K
    return None


def _pre_tokenizers(step: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(step.get("pretokenizers") or []) if step.get("type") == "Sequence" else [step] if step else []


def _splits_by(step: Mapping[str, Any]) -> str | None:
    """Return the pattern whose matches a pre-tokenizer makes words of."""
    if step.get("type") != "Split" or step.get("behavior") != "Isolated" or step.get("invert"):
        return None
    pattern = step.get("pattern") or {}
    return pattern.get("Regex") if isinstance(pattern, Mapping) else None


def _kind(config: Mapping[str, Any]) -> str:
    kind = (config.get("model") or {}).get("type")
    last = (_pre_tokenizers(config.get("pre_tokenizer") or {}) or [{}])[-1].get("type")
    return {"WordPiece": "wordpiece", "BPE": "byte-bpe" if last == "ByteLevel" else "bpe"}.get(
        str(kind), str(kind).lower()
    )


def _one_thread() -> None:
    """Ask the library for one thread a process, unless the environment says otherwise: workers share out the cores."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
