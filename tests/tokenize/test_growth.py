import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tilth.corpus.errors import UserError
from tilth.tokenize.growth import Growth, grow_tokenizer
from tilth.tokenize.settings import TokenizerSettings
from tilth.tokenize.tokenizer import Tokenizer
from tilth.tokenize.train_tokenizer import model_name, train_tokenizer

Prose = Callable[[int, int], list[str]]
KINDS = ["sentencepiece-bpe", "byte-bpe", "wordpiece"]
DOMAIN = ["photosynthesis of chlorophyll, \u0444\u043e\u0442\u043e\u0441\u0438\u043d\u0442\u0435\u0437 2024\n"] * 30


def texts_of(prose: Prose) -> list[tuple[str, str]]:
    return [("wiki", text) for text in prose(0, 60)] + [
        ("plants", f"{number} {text}") for number, text in enumerate(DOMAIN)
    ]


@pytest.fixture(scope="module", params=KINDS)
def pair(
    request: pytest.FixtureRequest, prose: Prose, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Tokenizer, Tokenizer, Growth]:
    folder = tmp_path_factory.mktemp("grown")
    chosen = TokenizerSettings(kind=request.param, vocabulary_size=400)
    # the alphabet of the domain is known, its words are not
    letters = "".join(sorted(set("".join(DOMAIN))))
    texts = [*prose(0, 60), " ".join(letters), letters[::-1]] * 2
    old = train_tokenizer(texts, folder / "old" / model_name(request.param), chosen)
    new = grow_tokenizer(old, texts_of(prose), folder / "new", pieces=3, domain=["plants"], sample_bytes=10_000, seed=1)
    return old, new, Growth.read(folder / "new")


def test_old_pieces_keep_their_ids(pair: tuple[Tokenizer, Tokenizer, Growth]) -> None:
    old, new, growth = pair
    assert new.vocabulary_size == old.vocabulary_size + 3
    assert growth.first == old.vocabulary_size
    assert growth.tokenizer == old.digest
    for number in range(old.vocabulary_size):
        assert new.library.piece_of(number) == old.library.piece_of(number)
    assert new.special == old.special


def test_the_domain_takes_fewer_tokens_and_the_rest_no_more(pair: tuple[Tokenizer, Tokenizer, Growth]) -> None:
    old, new, growth = pair
    before, after = growth.bytes_per_token["plants"]
    assert after > before
    before, after = growth.bytes_per_token["wiki"]
    assert after >= before
    assert sum(map(len, new.encode_batch(DOMAIN))) < sum(map(len, old.encode_batch(DOMAIN)))


def test_a_new_piece_is_its_old_pieces(pair: tuple[Tokenizer, Tokenizer, Growth]) -> None:
    old, new, growth = pair
    for number, pieces in enumerate(growth.pieces, growth.first):
        assert len(pieces) > 1
        assert max(pieces) < growth.first
        assert old.decode(list(pieces)) == new.decode([number])


def test_unfolding_the_new_pieces_gives_the_old_tokens(pair: tuple[Tokenizer, Tokenizer, Growth]) -> None:
    old, new, growth = pair
    if old.kind == "wordpiece":
        pytest.skip("a longer match at a word's start moves the matches after it")
    for text, tokens in zip(DOMAIN, new.encode_batch(DOMAIN), strict=True):
        unfolded = [
            one
            for token in tokens.tolist()
            for one in (growth.pieces[token - growth.first] if token >= growth.first else (token,))
        ]
        np.testing.assert_array_equal(unfolded, old.encode_batch([text])[0])


def test_the_grown_tokenizer_has_the_ids_of_its_library(pair: tuple[Tokenizer, Tokenizer, Growth]) -> None:
    _, new, _ = pair
    assert [tokens.tolist() for tokens in new.encode_batch(DOMAIN)] == new.library.encode(DOMAIN)
    if new.kind != "wordpiece":
        assert [new.decode(tokens) for tokens in new.encode_batch(DOMAIN)] == DOMAIN


def test_growth_does_not_depend_on_the_order_of_the_texts(prose: Prose, tokenizer: Tokenizer, tmp_path: Path) -> None:
    texts = texts_of(prose)
    first, again = (
        grow_tokenizer(tokenizer, given, tmp_path / str(number), pieces=5, domain=["plants"], sample_bytes=500, seed=3)
        for number, given in enumerate((texts, texts[::-1]))
    )
    assert first.digest == again.digest


@pytest.mark.parametrize(
    ("pieces", "domain", "message"),
    [
        (10_000, ["plants"], r"the domain's text gains from \d+; lower it"),
        (5, ["stars"], "'stars' has no text"),
    ],
)
def test_what_cannot_be_grown_says_why(
    pieces: int, domain: list[str], message: str, prose: Prose, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        grow_tokenizer(tokenizer, texts_of(prose), tmp_path, pieces=pieces, domain=domain, sample_bytes=10_000, seed=0)
    assert list(tmp_path.iterdir()) == []


def test_a_unigram_model_does_not_grow(prose: Prose, tmp_path: Path) -> None:
    chosen = TokenizerSettings(kind="sentencepiece-unigram", vocabulary_size=350)
    tokenizer = train_tokenizer(prose(0, 60), tmp_path / "u.model", chosen)
    with pytest.raises(UserError, match="kind sentencepiece-unigram cannot grow"):
        grow_tokenizer(
            tokenizer, texts_of(prose), tmp_path / "new", pieces=5, domain=["plants"], sample_bytes=9_000, seed=0
        )


def test_a_damaged_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / "growth.json").write_text(json.dumps({"first": 1}))
    with pytest.raises(UserError, match="no record of growth, or damaged"):
        Growth.read(tmp_path)
