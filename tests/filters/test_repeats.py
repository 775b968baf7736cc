"""Runs of words and pieces are counted as their plain twins count strings."""

from collections import Counter

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.filters.repeats import glued_runs, repeated_pieces, repeated_runs
from tilth.filters.texts import Texts

# words around eight and sixteen bytes, which are hashed eight at a time; and some that are equal once glued
PIECES = (
    "a",
    "b",
    "ab",
    "ba",
    "oats",
    "\x00",
    "\x00a",
    *("c" * size for size in (7, 8, 9, 15, 16, 17, 24, 25)),
    "é" * 8,
)
DOCUMENTS = st.lists(
    st.lists(st.tuples(st.lists(st.sampled_from(PIECES), min_size=1, max_size=6), st.integers(1, 3)), max_size=6).map(
        lambda parts: [word for words, times in parts for word in words * times]
    ),
    max_size=3,
)


def plain_glued(words: list[str], n: int) -> int:
    """datatrove's find_all_duplicate (0.10.1, utils/text.py), in characters."""
    seen, repeated, at = set(), 0, 0
    while at < len(words) - n + 1:
        run = "".join(words[at : at + n])
        if run in seen:
            repeated, at = repeated + len(run), at + n
        else:
            seen.add(run)
            at += 1
    return repeated


@settings(max_examples=60)
@given(DOCUMENTS)
def test_runs_are_counted_as_strings_are(documents: list[list[str]]) -> None:
    texts = Texts.of(pa.array([" ".join(words) for words in documents], pa.large_string()))
    runs, glued = repeated_runs(texts.data, texts.words, (1, 2, 4)), glued_runs(texts.data, texts.words, (2, 5, 6, 7))
    for row, words in enumerate(documents):
        assert texts.words.rows[row + 1] - texts.words.rows[row] == len(words)
        for n, found in runs.items():
            counts = Counter(tuple(words[at : at + n]) for at in range(len(words) - n + 1))
            top, times = counts.most_common(1)[0] if counts else ((), 0)
            widths = {run: sum(map(len, run)) for run in counts}
            assert found.distinct[row] == len(counts) or not counts
            assert not counts or (found.top[row], found.top_count[row]) == (widths[top], times)
            assert found.total[row] == sum(widths[run] * count for run, count in counts.items())
            assert found.repeated[row] == sum(widths[run] * count for run, count in counts.items() if count > 1)
        assert [glued[n][row] for n in (2, 5, 6, 7)] == [plain_glued(words, n) for n in (2, 5, 6, 7)]


@given(st.lists(st.lists(st.sampled_from([*PIECES, ""]), max_size=9), max_size=3), st.integers(1, 70))
def test_lines_are_counted_as_strings_are(documents: list[list[str]], room: int) -> None:
    texts = Texts.of(pa.array(["\n".join(lines) for lines in documents] + ["c" * room], pa.large_string()))
    found = repeated_pieces(texts.data, texts.every_line)
    for row, lines in enumerate(documents):
        counts = Counter(lines or [""])
        again = {line: count for line, count in counts.items() if count > 1}
        assert found.pieces[row] == sum(counts.values())
        assert found.later[row] == sum(again.values()) - len(again)
        assert found.later_characters[row] == sum(len(line) * (count - 1) for line, count in again.items())
        assert (found.firsts[row], found.firsts_characters[row]) == (len(again), sum(map(len, again)))


@given(
    st.lists(st.sampled_from(["x" * 63, "x" * 64, "a b", "\n", "\r", "\r\n", "\n\n", "\x1c", "\x85", "\u2028", "é"])),
    st.integers(1, 130),
)
def test_blocks_are_split_into_lines_wherever_they_begin(pieces: list[str], room: int) -> None:
    text = "".join(pieces)
    texts = Texts.of(pa.array(["y\n", text, "z" * room + "\n"]))
    for lines, expected in ((texts.lines, text.splitlines()), (texts.every_line, text.split("\n"))):
        span = slice(lines.rows[1], lines.rows[2])
        bounds = zip(lines.starts[span], lines.ends[span], strict=True)
        assert [np.asarray(texts.data[start:end]).tobytes().decode() for start, end in bounds] == expected
