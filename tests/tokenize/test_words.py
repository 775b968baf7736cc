from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.tokenize import words
from tilth.tokenize.cuts import SENTENCEPIECE
from tilth.tokenize.words import NO_SEPARATOR, WordTable, spans_a_cut

TEXTS = st.lists(st.text(alphabet=" \nabc\u00e9\u6c49", max_size=40), max_size=8)


def column(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    data = [text.encode() for text in texts]
    offsets = np.cumsum([0, *map(len, data)]).astype(np.int64)
    return np.frombuffer(b"".join(data), np.uint8), offsets


def cut(text: str) -> list[str]:
    """Say slowly what a word is: newlines together, spaces with what follows them."""
    found: list[str] = []
    for character in text:
        newline = character == "\n"
        if found and newline == (found[-1][-1] == "\n") and not (character == " " and found[-1][-1] != " "):
            found[-1] += character
        else:
            found.append(character)
    return found


class Recorder:
    """An encoder of words to their UTF-8 bytes that remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, texts: list[str]) -> list[list[int]]:
        self.asked += texts
        return [list(text.encode()) for text in texts]


@pytest.mark.parametrize(
    ("pieces", "torn"),
    [(["", " ", "   ", "  word", "\n\n", "word"], False), (["a b", "word ", "\n ", "a\n", "\na", "a  b"], True)],
)
def test_a_piece_is_torn_where_a_word_starts(pieces: list[str], torn: bool) -> None:
    for piece in pieces:
        assert spans_a_cut(piece, SENTENCEPIECE) is torn
        assert torn is (len(cut(piece)) > 1)


@settings(deadline=None)
@given(TEXTS)
def test_texts_are_cut_into_words_and_lose_nothing(texts: list[str]) -> None:
    recorder = Recorder()
    tokens, offsets = WordTable(recorder, np.dtype(np.uint16), SENTENCEPIECE).encode(*column(texts), NO_SEPARATOR)
    bounds = offsets.tolist()
    assert [bytes(tokens[a:b].astype(np.uint8)).decode() for a, b in pairwise(bounds)] == texts
    assert sorted(recorder.asked) == sorted({word for text in texts for word in cut(text)})


@settings(deadline=None)
@given(st.lists(TEXTS, max_size=4))
def test_no_word_is_encoded_twice(batches: list[list[str]]) -> None:
    recorder = Recorder()
    table = WordTable(recorder, np.dtype(np.uint16), SENTENCEPIECE)
    for texts in batches:
        table.encode(*column(texts), NO_SEPARATOR)
    assert len(recorder.asked) == len(set(recorder.asked))


def test_a_table_that_grows_and_starts_anew_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    batches = [[" ".join(map(str, generator.integers(0, 60_000, 4_000)))] for _ in range(40)]
    whole = WordTable(Recorder(), np.dtype(np.uint32), SENTENCEPIECE)
    expected = [whole.encode(*column(texts), 7)[0] for texts in batches]
    monkeypatch.setattr(words, "WORD_LIMIT", 10_000)
    recorder = Recorder()
    small = WordTable(recorder, np.dtype(np.uint32), SENTENCEPIECE)
    for texts, tokens in zip(batches, expected, strict=True):
        np.testing.assert_array_equal(small.encode(*column(texts), 7)[0], tokens)
    assert len(recorder.asked) > len(set(recorder.asked))  # it did start anew


def test_the_separator_follows_every_text_and_the_empty_one() -> None:
    tokens, offsets = WordTable(Recorder(), np.dtype(np.uint16), SENTENCEPIECE).encode(*column(["ab", "", "c"]), 999)
    assert tokens.tolist() == [97, 98, 999, 999, 99, 999]
    assert offsets.tolist() == [0, 3, 4, 6]


def test_words_that_could_not_be_encoded_are_asked_for_again() -> None:
    failures = [True, False]

    def encode(texts: list[str]) -> list[list[int]]:
        if failures.pop(0):
            raise RuntimeError("once")
        return [[len(text)] for text in texts]

    table = WordTable(encode, np.dtype(np.uint16), SENTENCEPIECE)
    with pytest.raises(RuntimeError, match="once"):
        table.encode(*column(["one word"]), NO_SEPARATOR)
    assert table.encode(*column(["one word"]), NO_SEPARATOR)[0].tolist() == [3, 5]
