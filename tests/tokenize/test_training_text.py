import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilth.corpus.errors import UserError
from tilth.tokenize.training_text import LINE_CHARACTERS, sample_sources, sample_texts, training_lines


def test_the_sample_does_not_depend_on_the_order_of_the_texts() -> None:
    texts = [f"text {number} " * (number % 7 + 1) for number in range(200)]
    shuffled = random.Random(3).sample(texts, len(texts))
    assert sample_texts(texts, 1_000, 0) == sample_texts(shuffled, 1_000, 0)


def test_another_seed_is_another_sample() -> None:
    texts = [f"text {number}" for number in range(200)]
    assert sample_texts(texts, 500, 0) != sample_texts(texts, 500, 1)


@given(st.lists(st.text(max_size=20), max_size=20), st.integers(1, 100), st.integers(0, 3))
def test_the_sample_is_as_large_as_asked_or_holds_everything(texts: list[str], size: int, seed: int) -> None:
    total = sum(len(text.encode()) for text in texts)
    sample = sample_texts(texts, size, seed)
    taken = sum(len(text.encode()) for text in sample)
    if total <= size:
        assert sorted(sample) == sorted(filter(None, texts))
    else:
        assert size - 4 < taken <= size  # at most three bytes are lost with a cut character
        assert all(any(text.startswith(part) for text in texts) for part in sample)


def test_every_document_has_the_same_chance_to_be_in_the_sample() -> None:
    texts = [f"{number:04d}" for number in range(1000)]
    first_half = sum(int(text) < 500 for seed in range(20) for text in sample_texts(texts, 400, seed))
    assert 900 < first_half < 1100  # 2,000 draws: 1,000 expected, standard deviation 21


def test_lines_are_short_and_free_of_what_the_trainer_skips() -> None:
    text = "one\n\ntwo\tthree\u2581four\u2585five\0six" + "x" * (2 * LINE_CHARACTERS + 1)
    lines = list(training_lines([text, "", "\n"]))
    assert lines[:5] == ["one", "two", "three", "four", "five"]
    assert "".join(lines[5:]) == "six" + "x" * (2 * LINE_CHARACTERS + 1)
    assert max(map(len, lines)) == LINE_CHARACTERS


def test_every_source_has_its_share_and_a_small_one_is_repeated() -> None:
    texts = [("big", f"{number:04d}" * 5) for number in range(100)] + [("small", "abcdefgh"), ("none", "x" * 50)]
    weights = {"big": 3, "small": 1, "none": 0}
    found = list(sample_sources(texts, 400, 1, weights))
    assert sum(map(len, found)) == 400
    small = "".join(text for text in found if text[0] == "a")
    assert small == ("abcdefgh" * 13)[:100]
    assert not any("x" in text for text in found)
    assert sorted(sample_sources(texts[::-1], 400, 1, weights)) == sorted(found)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"big": 1}, "found big, expected one for each of big, small"),
        ({"big": 1, "small": 1, "gone": 1}, "expected one for each of big, small"),
        ({"big": 0, "small": 0}, "all are 0"),
        ({"big": -1, "small": 1}, "'big' has -1, expected a number of at least 0"),
    ],
)
def test_weights_that_fit_no_sources_are_refused(weights: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        list(sample_sources([("big", "a"), ("small", "b")], 10, 0, weights))
