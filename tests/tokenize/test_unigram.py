import io
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FunctionType

import numpy as np
import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.tokenize import unigram
from tilth.tokenize.piece_trie import BASE_BITS, ENDS, LABELS, build_trie
from tilth.tokenize.sentencepiece_model import encode_whole
from tilth.tokenize.sentencepiece_proto import read_pieces
from tilth.tokenize.settings import TokenizerSettings
from tilth.tokenize.tokenizer import Tokenizer
from tilth.tokenize.train_tokenizer import train_tokenizer

Prose = Callable[[int, int], list[str]]

# Spaces, newlines, pieces, SentencePiece's own signs, all of Unicode.
TEXTS = st.lists(
    st.one_of(
        st.text(alphabet=st.one_of(st.sampled_from(" \n\0\u2581\u2580ab1\u00e9"), st.characters(codec="utf-8"))),
        st.text(alphabet=st.characters(max_codepoint=127)),
        st.sampled_from([" ", "\n\n\n", "  bacoden gorhal", "lumennor os", "\u2581\u2581", "\u6c49\u5b57", "<|end|>"]),
    ),
    max_size=9,
).map("".join)


@pytest.fixture(scope="module")
def searched(prose: Prose, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = tmp_path_factory.mktemp("unigram") / "unigram.model"
    chosen = TokenizerSettings(kind="sentencepiece-unigram", vocabulary_size=600)
    return train_tokenizer(prose(0, 200), path, chosen)


def searches(tokenizer: Tokenizer) -> bool:
    assert isinstance(tokenizer._encode, FunctionType)
    return tokenizer._encode.__qualname__.startswith(unigram.by_search.__name__)


def library_ids(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    return encode_whole(tokenizer.library.processor, texts)


@settings(deadline=None)
@given(st.lists(TEXTS, max_size=4))
def test_the_search_gives_the_ids_of_the_library(searched: Tokenizer, texts: list[str]) -> None:
    assert searches(searched)
    assert [tokens.tolist() for tokens in searched.encode_batch(texts)] == library_ids(searched, texts)


@pytest.mark.parametrize(
    "text",
    ["", " ", " " * 50_000, "a" * 1_000_000, "bacodenfigor" * 80_000, "\u6c49\U0001f331" * 40_000, "\n" * 9_999],
    ids=["empty", "space", "spaces", "one letter", "no space", "unknown", "newlines"],
)
def test_sums_that_start_anew_in_long_texts_give_the_ids_of_the_library(searched: Tokenizer, text: str) -> None:
    (tokens,) = searched.encode_batch([text])
    assert tokens.tolist() == library_ids(searched, [text])[0]


def test_the_prose_that_it_was_trained_on_is_cut_as_the_library_cuts_it(searched: Tokenizer, prose: Prose) -> None:
    texts = ["".join(prose(seed, 400)) for seed in range(3)]
    assert [tokens.tolist() for tokens in searched.encode_batch(texts)] == library_ids(searched, texts)


def made(path: Path, texts: list[str], **changed: object) -> Tokenizer:
    """Train a model that keeps text, but for what is ``changed``."""
    chosen = {"byte_fallback": True, "normalization_rule_name": "identity", "add_dummy_prefix": False}
    chosen |= {"remove_extra_whitespaces": False, "eos_piece": "<|end|>", "vocab_size": 420, "model_type": "unigram"}
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_writer=model, minloglevel=2, **(chosen | changed)
    )
    path.write_bytes(model.getvalue())
    return Tokenizer.load(path)


@pytest.fixture(scope="module")
def with_own_pieces(prose: Prose, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = tmp_path_factory.mktemp("own") / "own.model"
    return made(path, prose(0, 60), user_defined_symbols=["co", "coden f", "os", "\u00e9", "aa", "aaaa"])


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from(["co", "coden f", "den ", "os", "\u00e9", "a", "fi", " ", "\u2581"])).map("".join))
def test_pieces_that_a_user_defined_win_as_in_the_library(with_own_pieces: Tokenizer, text: str) -> None:
    assert searches(with_own_pieces)
    assert with_own_pieces.encode_batch([text])[0].tolist() == library_ids(with_own_pieces, [text])[0]


@pytest.mark.parametrize(
    "changed",
    [
        {"byte_fallback": False, "vocab_size": 300},
        {"normalization_rule_name": "nmt_nfkc"},
        {"add_dummy_prefix": True},
        {"remove_extra_whitespaces": True},
        {"treat_whitespace_as_suffix": True},
    ],
)
def test_a_model_that_changes_text_is_left_to_the_library(
    changed: dict[str, object], prose: Prose, tmp_path: Path
) -> None:
    tokenizer = made(tmp_path / "other.model", prose(0, 60), **changed)
    assert not searches(tokenizer)
    text = " \tbacoden \uff21  lu\u0007 "
    assert tokenizer.encode_batch([text])[0].tolist() == tokenizer.library.processor.encode(text)


def test_another_version_of_the_library_is_asked_itself(searched: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentencepiece, "__version__", "0.2.1")
    assert not searches(Tokenizer.load(searched.path))


def test_a_model_without_a_piece_for_the_space_is_left_to_the_library(searched: Tokenizer) -> None:
    pieces = read_pieces(searched.path.read_bytes())
    assert unigram.prepare_search(pieces) is not None
    assert unigram.prepare_search([piece for piece in pieces if piece.text != "\u2581".encode()]) is None


@settings(deadline=None, max_examples=50)
@given(st.sets(st.binary(min_size=1, max_size=6), min_size=1, max_size=300))
def test_a_trie_holds_its_pieces_and_no_other(pieces: set[bytes]) -> None:
    trie = build_trie([(piece, number) for number, piece in enumerate(sorted(pieces, reverse=True))])
    assert trie is not None
    numbers = {piece: number for number, piece in enumerate(sorted(pieces, reverse=True))}
    for asked in pieces | {piece[:-1] for piece in pieces} | {piece + b"\0" for piece in pieces}:
        slot = 0
        for byte in asked:
            slot = int(trie.units[slot] >> np.uint32(BASE_BITS)) + byte
            if trie.units[slot] & LABELS != byte:
                break
        else:
            assert (trie.units[slot] & ENDS != 0) == (asked in pieces)
            assert trie.pieces[slot] == numbers.get(asked, -1)
            continue
        assert asked not in pieces
