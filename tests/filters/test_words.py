"""The word kernel says what its plain twin says, and what spaCy says on the golden sentences."""

import json
import os
import re
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tilth.filters.characters import (
    CURRENCIES,
    DASHES,
    FRONT_ONLY,
    LETTER,
    PUNCTUATION,
    QUOTES,
    SPACE,
    STOP_FOLLOWS,
    character_classes,
)
from tilth.filters.contractions import contractions
from tilth.filters.lines import split_lines
from tilth.filters.texts import Texts
from tilth.filters.words import ALL_SYMBOLS, HAS_LETTER, UNITS, split_words

GOLDEN = Path(__file__).parents[1] / "golden"
EVERY = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]


def one_of(characters: Iterable[str]) -> str:
    """A regular expression's class of characters, as ranges."""
    spans: list[list[int]] = []
    for code in sorted(map(ord, characters)):
        if spans and spans[-1][1] == code - 1:
            spans[-1][1] = code
        else:
            spans.append([code, code])
    return "[" + "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in spans) + "]"


def of_category(*names: str) -> list[str]:
    return [character for character in EVERY if unicodedata.category(character) in names]


# spaCy's expressions, written from its pages, over Unicode's letters and pictures in place of its lists of scripts
LOWER = of_category("Ll", "Lm", "Lo")
UPPER = of_category("Lu", "Lt", "Lm", "Lo")
PICTURE = of_category("So")
a, al, au, icon = one_of({*LOWER, *UPPER}), one_of(LOWER), one_of(UPPER), one_of(PICTURE)
quote, money = one_of(QUOTES), one_of(CURRENCIES)
both_ends = one_of({*PUNCTUATION, *QUOTES, *DASHES, *PICTURE})
units = "|".join(map(re.escape, UNITS.split()))
host = "[A-Za-z0-9\u00a1-\uffff]"

FRONT = re.compile(rf"US\$|[AC]\$|\.\.+|\+(?![0-9])|{both_ends}|{one_of(FRONT_ONLY)}|{money}")
BACK = re.compile(
    rf"(?:……|\.\.+|{both_ends}|['’][sS]|(?<=[0-9])(?:\+|US\$|[AC]\$|{money}|{units})"
    rf"|(?<={one_of({*STOP_FOLLOWS, *LOWER})})\.|(?<=°[FCK])\.|(?<={au}{au})\.)\Z"
)
INNER = re.compile(
    rf"\.\.+|…|{icon}|(?<=[0-9])[+\-*^](?=[0-9-])|(?<={one_of({*LOWER, *QUOTES})})\.(?={one_of({*UPPER, *QUOTES})})"
    rf"|(?<={a}),(?={a})|(?<={one_of({*LOWER, *UPPER, *'0123456789'})})(?:-{{1,3}}|–|—{{1,2}}|~|[:<>=/])(?={a})"
)
ADDRESS = re.compile(
    rf"(?:[\w+\-.\x80-\U0010ffff]{{2,}}://)?(?:.+@)?(?:{host}(?:[{host[1:-1]}_-]{{0,62}}{host})?\.)+{al}{{2,63}}"
    r"(?::[0-9]{2,5})?(?:[/?#].*)?\Z",
    re.DOTALL,
)


def twin(text: str) -> list[str]:
    """The words of a text, slowly."""
    return [word for chunk in text.split() for word in join(pieces(chunk, contractions()))]


def pieces(chunk: str, known: dict[str, tuple[str, ...]]) -> list[str]:
    front: list[str] = []
    behind: list[str] = []
    while chunk and chunk not in known:
        at_front = FRONT.match(chunk)
        cut = at_front.end() if at_front else 0
        if chunk[cut:] in known:
            front, chunk = [*front, chunk[:cut]], chunk[cut:]
            break
        at_back = BACK.search(chunk[cut:])
        left = chunk[: cut + at_back.start()] if at_back else chunk
        if left in known:
            behind, chunk = [chunk[len(left) :], *behind], left
            break
        if not at_front and not at_back:
            break
        front += [chunk[:cut]] if at_front else []
        behind = [chunk[len(left) :], *behind] if at_back else behind
        chunk = left[cut:]
    return [*front, *middle(chunk, known), *behind]


def middle(chunk: str, known: dict[str, tuple[str, ...]]) -> list[str]:
    if not chunk:
        return []
    if chunk in known:
        return list(known[chunk])
    if ADDRESS.match(chunk):
        return [chunk]
    words, begin = [], 0
    for mark in INNER.finditer(chunk):
        if mark.start() == 0:
            continue
        words += [chunk[begin : mark.start()]] if mark.start() > begin else []
        words.append(mark[0])
        begin = mark.end()
    return words + ([chunk[begin:]] if chunk[begin:] else [])


@cache
def falls_into(word: str) -> int:
    """How many pieces an exception has where exceptions are not known."""
    return len(pieces(word, {}))


def join(tokens: list[str]) -> list[str]:
    words, at = [], 0
    while at < len(tokens):
        for size in range(min(16, len(tokens) - at), 1, -1):
            word = "".join(tokens[at : at + size])
            whole = contractions().get(word)
            if whole and falls_into(word) == size and len(whole) <= size:
                words += whole
                break
        else:
            size = 1
            words.append(tokens[at])
        at += size
    return words


def kernel(text: str) -> list[str]:
    texts = Texts.of(pa.array([text]))
    return [
        bytes(texts.data[start:end]).decode() for start, end in zip(texts.words.starts, texts.words.ends, strict=True)
    ]


TRICKY = r"""
a I the word Word NASA don't Don’t cannot ca n't 's ’S 'll I'd've Mr. e.g. U.S. p.m a.m. Ph.D. :) ):  8) ;-) xDD and/or
5 10 3.14 km km² µg % K $ US$ C$ € + - -- --- ---- — —— – ~ ^ * ** / : < > = , . .. ... …… … ? ! " ' “ ” ‘ ’ ( ) [ ] { }
http:// :// www. a.org b.co.uk/x?y#z :80 :8 @ _ # & § °F. °C ° © é É ß Ω ж 漢 字 ि ٣ ² Ⅷ • | \ w/o
x.Y fooBar.baz 1-2 a--b 9-to-5 x=y
"""
PIECES = [*TRICKY.split(), "\x00", "\x1f", "\ufeff", "\u200b", "\U0001f600"]
CHUNKS = st.lists(st.sampled_from([*PIECES, " ", "\n", "\u2003", "\x85", "\u00a0"]), max_size=12).map("".join)


@given(st.one_of(CHUNKS, st.text()))
@example("")
@example(" \t\r\n")
@example("(see https://user@example.org:8080/a_b?c=d#e, or he/she@x.yz).")
@example("'''bout?\"")
def test_kernel_splits_as_its_plain_twin(text: str) -> None:
    assert kernel(text) == twin(text)


# chunks about as long as the block that the kernel looks at, and at its borders
LONG = [letter * size for letter in "a7é(" for size in (1, 2, 31, 61, 62, 63, 64, 65, 130)]
MANY = st.lists(st.sampled_from([*TRICKY.split(), *LONG, "(oats)", "oats,", "1914.", "OATS.", "A.", '"oats"', "\t"]))


@given(st.integers(0, 70), MANY, st.sampled_from([" ", "\n", "  ", "\r\n", "\u2003"]), st.integers(1, 70))
def test_blocks_split_as_the_plain_twin_wherever_they_begin(
    before: int, chunks: list[str], gap: str, room: int
) -> None:
    text = " " * before + gap.join(chunks)
    texts = Texts.of(pa.array(["x", text, "z" * room]))  # what follows is no part of its last word
    first, last = texts.words.rows[1:3]
    spans = zip(texts.words.starts[first:last], texts.words.ends[first:last], strict=True)
    found = [bytes(texts.data[start:end]).decode() for start, end in spans]
    assert found == twin(text)
    assert texts.words.lengths[first:last].tolist() == [len(word) for word in found]
    letters = [bool(kind & HAS_LETTER) for kind in texts.words.classes[first:last]]
    symbols = [bool(kind & ALL_SYMBOLS) for kind in texts.words.classes[first:last]]
    assert letters == [any(map(str.isalpha, word)) for word in found]
    assert symbols == [set(word) <= symbol_characters() for word in found]


def test_kernel_splits_real_texts_as_its_plain_twin(real_texts: Callable[[int], list[str]]) -> None:
    for text in real_texts(12):
        assert kernel(text[:20_000]) == twin(text[:20_000])


def test_golden_sentences_split_as_in_spacy() -> None:
    for line in (GOLDEN / "words_spacy.jsonl").read_text(encoding="utf-8").splitlines():
        case = json.loads(line)
        assert kernel(case["text"]) == case["words"]


@given(st.lists(CHUNKS, max_size=6), st.integers(0, 3))
def test_words_of_a_batch_are_those_of_its_documents(documents: list[str], skip: int) -> None:
    texts = Texts.of(pa.array(documents, pa.string()).slice(skip))
    rows = texts.words.rows
    assert len(rows) == len(texts) + 1
    for document, first, last in zip(documents[skip:], rows[:-1], rows[1:], strict=True):
        spans = zip(texts.words.starts[first:last], texts.words.ends[first:last], strict=True)
        assert [bytes(texts.data[start:end]).decode() for start, end in spans] == kernel(document)


@given(st.one_of(CHUNKS, st.text()))
def test_words_are_the_text_without_its_white_space(text: str) -> None:
    assert "".join(kernel(text)) == "".join(text.split())


@given(st.one_of(CHUNKS, st.text()))
def test_lengths_and_classes_are_those_of_the_words(text: str) -> None:
    words = Texts.of(pa.array([text])).words
    symbols = symbol_characters()
    found = kernel(text)
    assert words.lengths.tolist() == [len(word) for word in found]
    assert [bool(kind & HAS_LETTER) for kind in words.classes] == [any(map(str.isalpha, word)) for word in found]
    assert [bool(kind & ALL_SYMBOLS) for kind in words.classes] == [set(word) <= symbols for word in found]


@cache
def symbol_characters() -> set[str]:
    """datatrove's set, as it is recorded beside the golden vectors."""
    return set(json.loads((GOLDEN / "gopher_datatrove_symbols.json").read_text(encoding="utf-8")))


def test_letters_and_spaces_are_pythons() -> None:
    classes = character_classes()
    assert all(bool(classes[ord(c)] & LETTER) == c.isalpha() for c in EVERY)
    assert all(bool(classes[ord(c)] & SPACE) == c.isspace() for c in EVERY)


def test_exceptions_are_made_of_their_pieces_and_fit_the_table() -> None:
    for word, parts in contractions().items():
        assert "".join(parts) == word and all(parts)
        assert len(word.encode()) <= 16 and len(parts) <= 3


def test_a_long_chunk_takes_time_in_proportion_and_loses_nothing() -> None:
    for unit in ("(", ".", "a.", "a-", "@a.b", "'", "a:", "x/", "://a", "…", "(a)"):
        text = unit * 50_000
        texts = Texts.of(pa.array([text]))
        assert int((texts.words.ends - texts.words.starts).sum()) == len(text.encode())


@given(st.one_of(CHUNKS, st.text()))
def test_lines_are_those_of_splitlines(text: str) -> None:
    texts = Texts.of(pa.array(["x\n", text]))
    lines = zip(texts.lines.starts[1:], texts.lines.ends[1:], strict=True)
    assert [bytes(texts.data[start:end]).decode() for start, end in lines] == text.splitlines()
    assert texts.lines.rows.tolist() == [0, 1, 1 + len(text.splitlines())]


RAW = st.lists(st.one_of(st.binary(max_size=6), CHUNKS.map(str.encode)), max_size=8).map(b"".join)


AROUND = st.one_of(st.binary(max_size=8), st.binary(min_size=64, max_size=72))  # the kernel reads 64 bytes at once


@given(RAW, AROUND, AROUND)
def test_kernels_never_look_outside_their_document(document: bytes, before: bytes, behind: bytes) -> None:
    """Whatever the bytes, valid or not: what stands around a document changes nothing in it."""
    offsets = np.array([len(before), len(before) + len(document)])
    data = np.frombuffer(before + document + behind, np.uint8)
    alone, bounds = np.frombuffer(document, np.uint8), np.array([0, len(document)])
    words, words_alone = split_words(data, offsets), split_words(alone, bounds)
    assert (words.starts - len(before)).tolist() == words_alone.starts.tolist()
    assert words.lengths.tolist() == words_alone.lengths.tolist()
    assert words.classes.tolist() == words_alone.classes.tolist()
    assert (split_lines(data, offsets).ends - len(before)).tolist() == split_lines(alone, bounds).ends.tolist()


FUZZ = r"""
import numpy as np
from tilth.filters.presets import PRESETS
from tilth.filters.texts import Texts
generator = np.random.default_rng(7)
likely = "ab .,'-:/@$5#\u2026\u00e9\u00b0\U0001f600".encode() + bytes([0x80, 0xC2, 0xE2, 0xF0, 0xFF, 10])
for size in (0, 1, 2, 3, 5, 8, 13, 21, 34, 55) * 200:
    data = generator.choice(np.frombuffer(likely, np.uint8), size)
    cuts = np.sort(generator.integers(0, size + 1, 3))
    texts = Texts(data, np.concatenate([[0], cuts, [size]]))
    for preset in PRESETS:
        preset.measure(texts)
"""


@pytest.mark.slow
def test_kernels_stay_in_bounds_on_any_bytes(tmp_path: Path) -> None:
    checked = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(Path.cwd())}
    subprocess.run([sys.executable, "-W", "error::RuntimeWarning", "-c", FUZZ], check=True, env=checked)
