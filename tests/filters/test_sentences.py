"""Sentences of a text whose lines go are those of the lines that stay, however the words were found."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.filters.c4_lines import judge_lines
from tilth.filters.line_edits import line_spans
from tilth.filters.presets.c4 import DATATROVE, TFDS
from tilth.filters.sentences import count_sentences, count_sentences_left
from tilth.filters.spans import edited
from tilth.filters.texts import Texts

PIECES = (
    *(
        "The oats stand well. ",
        "Why? ",
        'He said "no." ',
        "No mark here ",
        "1. ",
        "...",
        "a b c d e.",
        "{",
        "lorem ipsum ",
    ),
    *("javascript ", "coo\u212aie policy.", "COOKIE POLICY. ", "[12]", "[citation needed]"),
    *(" ", "  ", "\t", "\n", "\r", "\x85"),
)


@settings(max_examples=60)
@given(st.lists(st.lists(st.sampled_from(PIECES), max_size=25).map("".join), max_size=4))
def test_lines_that_stay_have_the_sentences_of_the_text_they_make(found: list[str]) -> None:
    for wanted in (DATATROVE, TFDS):
        texts = Texts.of(pa.array(found, pa.large_string()))
        verdicts = judge_lines(texts, wanted).lines
        expected = count_sentences(edited(texts, line_spans(texts, verdicts)))
        assert not texts.has_words
        np.testing.assert_array_equal(count_sentences_left(texts, verdicts), expected)
        assert len(texts.words.rows) == len(found) + 1 and texts.has_words
        np.testing.assert_array_equal(count_sentences_left(texts, verdicts), expected)
