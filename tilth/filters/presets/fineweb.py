"""FineWeb's own quality rules. Penedo et al. 2024, section 3.6; datatrove 0.10.1, FineWebQualityFilter.

Lines are what line feeds part, without those that are blank. Its use in FineWeb goes after Gopher's and C4's rules.
"""

from typing import Final

import numpy as np

from tilth.filters.characters import SPACE, TERMINAL, character_classes, character_marks
from tilth.filters.kernel import kernel
from tilth.filters.lines import Lines
from tilth.filters.repeats import repeated_pieces
from tilth.filters.rules import Preset, Rule, Signals, at_least, at_most
from tilth.filters.texts import Texts
from tilth.filters.utf8 import characters_between, decode, decode_before

SHORT: Final = 30  # characters of a line that is short, at most


def measure(texts: Texts) -> Signals:
    """Return the signals of the rules below: float64, one a document, NaN where a share has nothing to divide by."""
    fed = texts.fed_lines
    data = texts.data.view()
    data.flags.writeable = False  # the kernels are compiled for one kind of array only
    full = np.empty(len(fed.starts), np.bool_)
    _find_full(data, fed.starts, fed.ends, character_classes(), full)
    rows = np.concatenate([np.zeros(1, np.int64), np.cumsum(full)])[fed.rows]
    lines = Lines(fed.starts[full], fed.ends[full], rows)
    counts = np.zeros((len(texts), 2), np.int64)
    _count_lines(data, lines.starts, lines.ends, lines.rows, character_marks(), counts)
    feeds = np.zeros(len(texts), np.int64)
    _count_feeds(data, texts.offsets, feeds)
    repeated = repeated_pieces(data, lines)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "lines": repeated.pieces.astype(np.float64),
            "terminal_lines": counts[:, 0] / repeated.pieces,
            "short_lines": counts[:, 1] / repeated.pieces,
            "repeated_line_characters": repeated.later_characters / (texts.characters - feeds),
            "line_feeds_to_words": feeds / np.diff(texts.words.rows),
        }


@kernel
def _find_full(data: np.ndarray, starts: np.ndarray, ends: np.ndarray, classes: np.ndarray, full: np.ndarray) -> None:
    """Tell which lines are more than white space."""
    for line in range(len(starts)):
        full[line] = False
        at = starts[line]
        while at < ends[line]:
            code, width = decode(data, at, ends[line])
            if classes[code] & SPACE == 0:
                full[line] = True
                break
            at += width


@kernel
def _count_lines(
    data: np.ndarray, starts: np.ndarray, ends: np.ndarray, rows: np.ndarray, marks: np.ndarray, counts: np.ndarray
) -> None:
    """Count, for every document: lines that end in a terminal mark, lines that are short."""
    for document in range(len(rows) - 1):
        for line in range(rows[document], rows[document + 1]):
            start, end = starts[line], ends[line]
            if marks[decode_before(data, start, end)[0]] & TERMINAL:
                counts[document, 0] += 1
            if end - start <= 4 * SHORT and characters_between(data, start, end) <= SHORT:
                counts[document, 1] += 1


@kernel
def _count_feeds(data: np.ndarray, offsets: np.ndarray, feeds: np.ndarray) -> None:
    """Count the line feeds of every document."""
    for document in range(len(feeds)):
        count = 0  # a number of its own, so that the comparisons are made many at once
        for at in range(offsets[document], offsets[document + 1]):
            count += data[at] == 10
        feeds[document] = count


FINEWEB = Preset(
    "fineweb",
    version=1,
    splitting="spacy-like",
    rules=(
        Rule("lines", at_least(1)),  # that are not blank
        Rule("terminal_lines", at_least(0.12)),  # share of lines
        Rule("short_lines", at_most(0.67)),  # share of lines
        Rule("repeated_line_characters", at_most(0.01)),  # share of characters but line feeds
        Rule("line_feeds_to_words", at_most(0.3)),
    ),
    measure=measure,
)
