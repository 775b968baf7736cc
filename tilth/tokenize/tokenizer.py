"""A tokenizer, whichever library it comes from: text columns in, one array of ids out, and the special tokens by role.

Five kinds can be trained: ``sentencepiece-bpe``, ``sentencepiece-unigram``, ``byte-bpe``, ``wordpiece`` and ``bytes``.
Any of their files loads, and so do the folders and ``tokenizer.json`` of Hugging Face and the ``.model`` files of
SentencePiece. Ids are always those of the library that the file belongs to.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import xxhash

from tilth.corpus.document import utf8_buffers
from tilth.corpus.errors import UserError
from tilth.tokenize.words import NO_SEPARATOR, WordTable

LARGEST_UINT16_VOCABULARY = 2**16
UNKNOWN, SEPARATOR, PADDING = "<|unknown|>", "<|end|>", "<|pad|>"

# What special tokens are for, and what they are called where nobody says: first ours, then GPT-2's, Llama's and BERT's.
ROLES = {
    "separator": (SEPARATOR, "<|endoftext|>", "</s>", "<|end_of_text|>", "<eos>", "[SEP]"),
    "padding": (PADDING, "<pad>", "[PAD]"),
    "unknown": (UNKNOWN, "<unk>", "[UNK]"),
    "class": ("<|class|>", "[CLS]"),
    "mask": ("<|mask|>", "<mask>", "[MASK]"),
}
# Keys of Hugging Face's special_tokens_map.json and tokenizer_config.json.
HUGGING_FACE_ROLES = {
    "eos_token": "separator",
    "sep_token": "separator",  # where there is no eos_token
    "pad_token": "padding",
    "unk_token": "unknown",
    "cls_token": "class",
    "mask_token": "mask",
}
ROLE_FILES = ("tokenizer_config.json", "special_tokens_map.json")  # the last one wins

# UTF-8 bytes that a library is given at once where no word table stands before it: it holds about 50 bytes a token.
DIRECT_BYTES = 4_000_000

EncodeColumn = Callable[[np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray]]


class Library(Protocol):
    """What a tokenizer library gives."""

    def encode(self, texts: Sequence[str | bytes]) -> list[list[int]]:
        """Return the ids of every text, given as itself or as its UTF-8, no special token among them."""

    def decode(self, ids: list[list[int]]) -> list[str]:
        """Return the text of every list of ids; special tokens have none."""

    def id_of(self, piece: str) -> int | None:
        """Return the id of a piece or special token."""

    def piece_of(self, number: int) -> str | None:
        """Return the piece of an id, as the library writes it."""


@dataclass(frozen=True)
class Tokenizer:
    """A loaded tokenizer. Equal where the files are equal; sent to another process as its path."""

    path: Path = field(compare=False)
    kind: str
    digest: str  # xxh3-128 of the model file, 32 hex digits
    vocabulary_size: int  # the largest id and one
    special: Mapping[str, int] = field(hash=False)  # role -> id
    library: Library = field(compare=False, repr=False)
    _encode: EncodeColumn = field(compare=False, repr=False)

    @staticmethod
    def load(path: Path | str) -> "Tokenizer":
        """Load a folder, a ``tokenizer.json`` or a ``.model`` file.

        Raises ``UserError`` where it is missing or damaged, or where no token is known to separate documents.
        """
        path = Path(path)
        file = model_file(path)
        try:
            data = file.read_bytes()
        except OSError as error:
            raise UserError(
                f"{path}: no tokenizer model here ({error.strerror}); train one or correct the path"
            ) from error
        if file.suffix != ".json":
            from tilth.tokenize.sentencepiece_model import load_sentencepiece

            return load_sentencepiece(path, data)
        config = _json(file, data)
        if config.get("model", {}).get("type") == "Bytes":
            from tilth.tokenize.plain_bytes import load_bytes

            return load_bytes(path, data, config)
        from tilth.tokenize.huggingface import load_huggingface

        return load_huggingface(path, data, config)

    def __reduce__(self) -> tuple[Any, ...]:
        """Send the path, not the model: the other process loads it."""
        return Tokenizer.load, (self.path,)

    @property
    def separator(self) -> int:
        """The id that follows every document."""
        return self.special["separator"]

    @property
    def padding(self) -> int | None:
        """The id that fills rows."""
        return self.special.get("padding")

    @property
    def dtype(self) -> np.dtype:
        """uint16 where every id fits, else uint32."""
        return token_dtype(self.vocabulary_size)

    def id_of(self, piece: str) -> int:
        """Return the id of a piece or special token. Raises ``UserError`` where the vocabulary has none."""
        number = self.library.id_of(piece)
        if number is None:
            raise UserError(f"{self.path}: the vocabulary has no piece '{piece}'; train a tokenizer that has it")
        return number

    def needed(self, *roles: str) -> dict[str, int]:
        """Return the ids of special tokens by role. Raises ``UserError`` naming those that the vocabulary lacks."""
        missing = [role for role in roles if role not in self.special]
        if missing:
            raise UserError(
                f"{self.path}: the vocabulary has no special token for {', '.join(missing)}, expected one such as "
                f"{ROLES[missing[0]][0]}; name it in special_tokens_map.json or train a tokenizer that has it"
            )
        return {role: self.special[role] for role in roles}

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the tokens of every text, of ``dtype``, without separators."""
        tokens, offsets = self.encode_column(pa.array(texts, pa.large_string()), separated=False)
        return [tokens[start:end] for start, end in pairwise(offsets.tolist())]

    def encode_column(self, text: pa.Array, *, separated: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return the tokens of a string column in one array of ``dtype`` and their offsets (int64, rows + 1).

        ``separated``: the separator follows every text.
        """
        data, offsets = utf8_buffers(text)
        return self._encode(data, offsets, self.separator if separated else NO_SEPARATOR)

    def decode(self, tokens: Sequence[int] | np.ndarray) -> str:
        """Return the text of ``tokens``; special tokens have none."""
        return self.library.decode([np.asarray(tokens).tolist()])[0]


def build_tokenizer(
    path: Path,
    data: bytes,
    kind: str,
    size: int,
    special: Mapping[str, int],
    library: Library,
    cuts: np.ndarray | None,
    encode: EncodeColumn | None = None,
) -> Tokenizer:
    """Put a tokenizer together. ``cuts``: where the library may be given words in place of texts, if anywhere.

    ``encode``: what encodes in place of the library, with its ids.
    """
    dtype = token_dtype(size)
    if encode is None:
        encode = directly(library, dtype) if cuts is None else WordTable(library.encode, dtype, cuts).encode
    return Tokenizer(path, kind, xxhash.xxh3_128_hexdigest(data), size, special, library, encode)


def directly(library: Library, dtype: np.dtype) -> EncodeColumn:
    """Return an encoder of columns that gives every text to the library as it is."""

    def encode(data: np.ndarray, offsets: np.ndarray, separator: int) -> tuple[np.ndarray, np.ndarray]:
        end = [separator] if separator >= 0 else []
        pieces, lengths = [np.empty(0, dtype)], [np.empty(0, np.int64)]
        for first, after in _runs_of_bytes(offsets, DIRECT_BYTES):
            bounds = offsets[first : after + 1].tolist()
            encoded = library.encode([data[start:stop].tobytes() for start, stop in pairwise(bounds)])
            count = np.fromiter(map(len, encoded), np.int64, len(encoded)) + len(end)
            tokens = np.empty(int(count.sum()), dtype)
            at = 0
            # text by text: one iterator over all ids took 15 % longer
            for ids in encoded:
                after_ids = at + len(ids)
                tokens[at:after_ids] = np.fromiter(ids, dtype, len(ids))
                at = after_ids + len(end)
                tokens[after_ids:at] = end
            pieces.append(tokens)
            lengths.append(count)
        totals = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(lengths))])
        return np.concatenate(pieces), totals

    return encode


def _runs_of_bytes(offsets: np.ndarray, most: int) -> list[tuple[int, int]]:
    """Cut rows into runs (first, after the last) of at most ``most`` bytes, or of one row."""
    runs, first, rows = [], 0, len(offsets) - 1
    while first < rows:
        after = max(int(np.searchsorted(offsets, offsets[first] + most, side="right")) - 1, first + 1)
        runs.append((first, min(after, rows)))
        first = after
    return runs


def token_dtype(vocabulary_size: int) -> np.dtype:
    """Return the type of token ids: uint16 up to 65,536 pieces, else uint32."""
    return np.dtype(np.uint16 if vocabulary_size <= LARGEST_UINT16_VOCABULARY else np.uint32)


def model_file(path: Path) -> Path:
    """Return the file that holds a tokenizer: ``path``, or the one in the folder ``path`` that a tokenizer is in."""
    if not path.is_dir():
        return path
    named = [path / name for name in ("tokenizer.json", "tokenizer.model")]
    found = [file for file in (*named, *sorted(path.glob("*.model"))) if file.is_file()]
    if not found:
        raise UserError(f"{path}: found no tokenizer.json and no .model file in this folder; correct the path")
    return found[0]


def special_ids(path: Path, library: Library, known: Mapping[str, int | None]) -> dict[str, int]:
    """Return the special tokens by role: as the files beside the model say, else as ``known``, else by their names.

    Raises ``UserError`` where a file names a token that the vocabulary lacks, or nothing separates documents.
    """
    special = {role: number for role, number in known.items() if number is not None}
    for role, names in ROLES.items():
        ids = [number for name in names if (number := library.id_of(name)) is not None]
        if role not in special and ids:
            special[role] = ids[0]
    folder = path if path.is_dir() else path.parent
    for name in ROLE_FILES:
        file = folder / name
        if not file.is_file():
            continue
        said = _json(file, file.read_bytes())
        for key, role in HUGGING_FACE_ROLES.items():
            token = said.get(key)
            token = token.get("content") if isinstance(token, Mapping) else token
            if not isinstance(token, str) or (key == "sep_token" and said.get("eos_token")):
                continue
            number = library.id_of(token)
            if number is None:
                raise UserError(f"{file}: {key}: found '{token}', which the vocabulary lacks; correct the name")
            special[role] = number
    if "separator" not in special:
        raise UserError(
            f"{path}: no token is known to separate documents, expected one of {', '.join(ROLES['separator'])}; "
            "name one as tokenizer.separator, or as eos_token in special_tokens_map.json beside the file"
        )
    return special


def _json(file: Path, data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError as error:
        raise UserError(f"{file}: not JSON, or damaged ({error}); expected a tokenizer's file") from error
    if not isinstance(found, dict):
        raise UserError(f"{file}: found a JSON {type(found).__name__}, expected an object; name a tokenizer's file")
    return found
