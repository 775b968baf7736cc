"""New pieces for a domain, after all old ones: old ids stay where they are, and so does what a model knows of them.

BPE goes on where its training stopped: old merges happen first, as they always did, and then the pair of neighbours
that occurs most in the domain's text becomes a piece, again and again. WordPiece takes the words that save most tokens.
Every new piece remembers the old pieces it stands for: the mean of their embeddings is where its own may start
(``Growth.pieces``).
"""

import heapq
import json
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson

from tilth.corpus.errors import UserError
from tilth.corpus.store import write_atomically
from tilth.tokenize.sentencepiece_model import SPACE_SIGN, SentencePieceLibrary
from tilth.tokenize.sentencepiece_proto import with_pieces
from tilth.tokenize.tokenizer import Tokenizer, model_file
from tilth.tokenize.training_text import Smallest, training_lines

GROWTH = "growth.json"
LEAST_GAIN = 2  # tokens that a piece has to save in the sample

Merge = tuple[int, int]


@dataclass(frozen=True)
class Growth:
    """What a vocabulary gained."""

    tokenizer: str  # digest of the tokenizer that was grown
    first: int  # id of the first new piece; the old ones are below
    pieces: tuple[tuple[int, ...], ...]  # the old ids that each new piece stands for, in the order of the new ids
    bytes_per_token: Mapping[str, tuple[float, float]]  # source -> before, after, on a sample of its text

    @staticmethod
    def read(folder: Path) -> "Growth":
        """Read what ``grow_tokenizer`` wrote. Raises ``UserError`` where there is none, or it is damaged."""
        path = folder / GROWTH
        try:
            data = orjson.loads(path.read_bytes())
            pieces = tuple(tuple(int(old) for old in piece) for piece in data["pieces"])
            rates = {name: (float(old), float(new)) for name, (old, new) in data["bytes_per_token"].items()}
            return Growth(str(data["tokenizer"]), int(data["first"]), pieces, rates)
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path}: no record of growth, or damaged ({error!r}); grow it again") from error


def grow_tokenizer(
    tokenizer: Tokenizer,
    texts: Iterable[tuple[str, str]],
    folder: Path,
    *,
    pieces: int,
    domain: Sequence[str],
    sample_bytes: int,
    seed: int,
) -> Tokenizer:
    """Add ``pieces`` new pieces by their gain on (source, text) of the sources ``domain``; write model and growth.

    ``sample_bytes`` of every source are read. Raises ``UserError`` where the tokenizer is of a kind that cannot grow,
    a source of the domain has no text, or the text has too few words that repeat.
    """
    samples: dict[str, Smallest] = {}
    for source, text in texts:
        samples.setdefault(source, Smallest(sample_bytes, seed)).add(text)
    kept = {source: [data.decode(errors="ignore") for data in sample.texts()] for source, sample in samples.items()}
    for source in domain:
        if not kept.get(source):
            raise UserError(f"tokenizer.grow.sources: '{source}' has no text; name a source that has some")
    words = _words(tokenizer, [line for source in sorted(set(domain)) for line in training_lines(kept[source])])
    if tokenizer.kind == "wordpiece":
        found = _whole_words(tokenizer, words, pieces)
    elif tokenizer.kind in ("sentencepiece-bpe", "byte-bpe"):
        found = _merges(tokenizer, words, pieces)
    else:
        raise UserError(
            f"{tokenizer.path}: a vocabulary of kind {tokenizer.kind} cannot grow, expected sentencepiece-bpe, "
            "byte-bpe or wordpiece; train a new tokenizer"
        )
    if len(found) < pieces:
        raise UserError(
            f"tokenizer.grow.pieces: found {pieces}, the domain's text gains from {len(found)}; "
            f"lower it to at most {len(found)} or give more text"
        )
    path = folder / model_file(tokenizer.path).name
    write_atomically(path, _extended(tokenizer, found))
    grown = Tokenizer.load(path)
    rates = {
        source: (_bytes_per_token(tokenizer, sample), _bytes_per_token(grown, sample))
        for source, sample in sorted(kept.items())
    }
    growth = Growth(tokenizer.digest, tokenizer.vocabulary_size, tuple(piece.old for piece in found), rates)
    write_atomically(folder / GROWTH, orjson.dumps(asdict(growth)))
    return grown


@dataclass(frozen=True)
class NewPiece:
    """A piece to add: its name in the vocabulary, the two it merges (none for WordPiece), the old ids within."""

    name: str
    parts: tuple[str, str] | None
    old: tuple[int, ...]


def _words(tokenizer: Tokenizer, lines: Iterable[str]) -> Counter[str]:
    """Count the stretches of text that no piece may reach across."""
    counts: Counter[str] = Counter()
    for line in lines:
        first, *others = line.split(" ")
        counts.update([first, *(f" {word}" for word in others)])
    if isinstance(tokenizer.library, SentencePieceLibrary):
        return counts
    loaded: Any = tokenizer.library.loaded  # type: ignore[attr-defined]
    finer: Counter[str] = Counter()
    for word, count in counts.items():
        plain = loaded.normalizer.normalize_str(word) if loaded.normalizer else word
        for _, (start, stop) in loaded.pre_tokenizer.pre_tokenize_str(plain):
            finer[plain[start:stop]] += count
    return finer


def _is_word(text: str) -> bool:
    """Tell whether a piece holds letters alone, but for a space before them: digits and marks stay as they are."""
    letters = text.removeprefix(" ")
    return bool(letters) and all(unicodedata.category(character)[0] in "LM" for character in letters)


def _whole_words(tokenizer: Tokenizer, words: Counter[str], most: int) -> list[NewPiece]:
    names = [word for word in words if _is_word(word)]
    unknown = tokenizer.special.get("unknown")
    gains = [
        ((len(ids) - 1) * words[name], name, tuple(ids))
        for name, ids in zip(names, tokenizer.library.encode(names), strict=True)
        if unknown not in ids and tokenizer.library.id_of(name) is None
    ]
    gains.sort(key=lambda gain: (-gain[0], gain[1]))
    return [NewPiece(name, None, ids) for gain, name, ids in gains[:most] if gain >= LEAST_GAIN]


def _merges(tokenizer: Tokenizer, words: Counter[str], most: int) -> list[NewPiece]:
    """Go on merging pairs of neighbours, the most frequent first, ties by name."""
    names = _names(tokenizer)
    texts = sorted(words)
    sequences = tokenizer.library.encode(texts)
    counts = [words[text] for text in texts]
    read = _reader(tokenizer)
    pieces: dict[int, str] = {}  # id -> name
    old: dict[int, tuple[int, ...]] = {}  # id of a new piece -> old ids
    taken: set[str] = set()
    totals: Counter[Merge] = Counter()
    where: defaultdict[Merge, set[int]] = defaultdict(set)
    for number, ids in enumerate(sequences):
        for pair in pairwise(ids):
            totals[pair] += counts[number]
            where[pair].add(number)
        for one in ids:
            if one not in pieces:
                pieces[one] = names(one)

    def entry(pair: Merge) -> tuple[int, str, Merge]:
        return -totals[pair], pieces[pair[0]] + pieces[pair[1]], pair

    heap = [entry(pair) for pair in totals]
    heapq.heapify(heap)
    found: list[NewPiece] = []
    while heap and len(found) < most:
        gain, name, pair = heapq.heappop(heap)
        if -gain != totals[pair]:
            if totals[pair] >= LEAST_GAIN:
                heapq.heappush(heap, entry(pair))
            continue
        if -gain < LEAST_GAIN:
            break
        if not all(pieces[one] for one in pair) or name in taken or tokenizer.library.id_of(name) is not None:
            continue
        text = read(name)
        if text is None or not _is_word(text):
            continue
        new = tokenizer.vocabulary_size + len(found)
        taken.add(name)
        pieces[new] = name
        old[new] = tuple(one for part in pair for one in old.get(part, (part,)))
        found.append(NewPiece(name, (pieces[pair[0]], pieces[pair[1]]), old[new]))
        changed: set[Merge] = set()
        for number in sorted(where.pop(pair)):
            ids, count = sequences[number], counts[number]
            for near in pairwise(ids):
                totals[near] -= count
            ids = sequences[number] = _merged(ids, pair, new)
            for near in pairwise(ids):
                totals[near] += count
                where[near].add(number)
                changed.add(near)
        for near in sorted(changed):
            if new in near:
                heapq.heappush(heap, entry(near))
    return found


def _merged(ids: list[int], pair: Merge, new: int) -> list[int]:
    out: list[int] = []
    at = 0
    while at < len(ids):
        if at + 1 < len(ids) and (ids[at], ids[at + 1]) == pair:
            out.append(new)
            at += 2
        else:
            out.append(ids[at])
            at += 1
    return out


def _names(tokenizer: Tokenizer) -> Callable[[int], str]:
    """Return what gives the name of a piece, empty where it can never be part of a larger one."""
    library = tokenizer.library
    if not isinstance(library, SentencePieceLibrary):
        special = set(tokenizer.special.values())
        return lambda number: "" if number in special else library.piece_of(number) or ""
    model = library.processor

    def name(number: int) -> str:
        fixed = model.is_byte(number) or model.is_control(number) or model.is_unknown(number)
        # user-defined pieces are cut out before any merge; ours are newlines, which hold no letter
        return "" if fixed else str(model.id_to_piece(number))

    return name


def _reader(tokenizer: Tokenizer) -> Callable[[str], str | None]:
    """Return what turns the name of a piece into its text, None where it is only a part of a character."""
    if isinstance(tokenizer.library, SentencePieceLibrary):
        return lambda name: name.replace(SPACE_SIGN, " ")
    values = byte_characters()

    def read(name: str) -> str | None:
        try:
            return bytes(values[character] for character in name).decode()
        except (KeyError, UnicodeDecodeError):
            return None

    return read


def byte_characters() -> dict[str, int]:
    """Return the byte that each character of a byte-level piece stands for (GPT-2's encoder.py, bytes_to_unicode)."""
    plain = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + place): byte for place, byte in enumerate(others)}


def _extended(tokenizer: Tokenizer, found: Sequence[NewPiece]) -> bytes:
    """Return the model file with the new pieces after all others."""
    data = model_file(tokenizer.path).read_bytes()
    if isinstance(tokenizer.library, SentencePieceLibrary):
        model = tokenizer.library.processor
        lowest = min(model.get_score(number) for number in range(tokenizer.vocabulary_size))
        return with_pieces(data, [(piece.name, lowest - 1 - place) for place, piece in enumerate(found)])
    config = json.loads(data)
    model = config["model"]
    for place, piece in enumerate(found):
        model["vocab"][piece.name] = tokenizer.vocabulary_size + place
        if piece.parts is not None:
            as_text = bool(model["merges"]) and isinstance(model["merges"][0], str)
            model["merges"].append(" ".join(piece.parts) if as_text else list(piece.parts))
    return json.dumps(config, ensure_ascii=False).encode()


def _bytes_per_token(tokenizer: Tokenizer, texts: list[str]) -> float:
    tokens = sum(map(len, tokenizer.encode_batch(texts)))
    return sum(len(text.encode()) for text in texts) / max(tokens, 1)
