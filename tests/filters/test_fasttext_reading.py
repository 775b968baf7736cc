"""How much of a document is read: whole words of its beginning, and paragraphs that lose nothing."""

import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tilth.corpus.errors import UserError
from tilth.filters.fasttext_reading import Reading, beginnings, mean_by_row, paragraphs

texts = st.lists(st.text(st.sampled_from("ab ä文\n\t𝒳"), max_size=30), max_size=6)


@given(texts, st.integers(1, 20))
def test_a_beginning_is_whole_words_that_fit(given_texts: list[str], most: int) -> None:
    for text, found in zip(given_texts, beginnings(pa.array(given_texts, pa.string()), most).to_pylist(), strict=True):
        data, cut = text.encode(), found.encode()
        assert data.startswith(cut)
        assert len(cut) <= most
        if len(data) <= most:
            assert found == text
        elif re.search(r"\s", data[: most + 1].decode(errors="ignore")[1:]):
            assert text[len(found)] <= " "  # a word ends there
        else:
            assert len(cut) > most - 4  # one word fills it: no character is broken


@given(texts)
@example(["a\n\nb", "a\n \t\nb\nc\n\n\n", "\n\n", "", "a"])
def test_paragraphs_are_parted_by_empty_lines(given_texts: list[str]) -> None:
    found, rows = paragraphs(pa.array(given_texts, pa.string()))
    for number, text in enumerate(given_texts):
        mine = [piece for piece, row in zip(found.to_pylist(), rows, strict=True) if row == number]
        expected = [piece for piece in re.split(r"\n[ \t\n]*\n", text) if piece.strip(" \t\n")]
        assert [piece.strip(" \t\n") for piece in mine if piece.strip(" \t\n")] == [p.strip(" \t\n") for p in expected]
        assert len(mine) == max(1, len(expected))


def test_the_mean_is_weighted_by_size() -> None:
    rows, values = np.array([0, 0, 1]), np.array([1.0, 0.0, 0.3])
    np.testing.assert_allclose(mean_by_row(values, np.array([30, 10, 0]), rows, 2), [0.75, 0.3])


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(UserError, match="first_bytes: found -1"):
        Reading(first_bytes=-1)
