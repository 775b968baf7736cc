import random

from hypothesis import given
from hypothesis import strategies as st

from tilth.tokenize.training_text import LINE_CHARACTERS, sample_texts, training_lines


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
