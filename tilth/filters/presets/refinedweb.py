"""RefinedWeb's line rules, as DCLM reproduces them: lines that go, and how much of a page may go with them.

Source: DCLM, baselines/baselines_configs/dclm_baseline_refinedweb.yaml. Its page rules before them are Gopher's with
white-space words; its URL lists and the removal of addresses are no line rules: signals and edits of their own do that.
Words are what white space parts and a letter or digit begins.
"""

import numpy as np

from tilth.filters.characters import ALPHANUMERIC, character_marks
from tilth.filters.kernel import kernel
from tilth.filters.line_edits import line_spans
from tilth.filters.refinedweb_lines import NAME, judge_lines
from tilth.filters.rules import Preset, Rule, Signals, at_least, at_most
from tilth.filters.spans import Spans, edited
from tilth.filters.texts import Texts
from tilth.filters.utf8 import decode


def measure(texts: Texts) -> Signals:
    """Return the signals of the rules below: float64, one a document, NaN for the share of no words."""
    before, after = _words(texts), _words(edited(texts, edits(texts)))
    with np.errstate(invalid="ignore", divide="ignore"):
        return {"words": before.astype(np.float64), "removed_words": (before - after) / before}


def edits(texts: Texts) -> Spans:
    """Return the edits that leave the lines which stay."""
    return line_spans(texts, judge_lines(texts))


def _words(texts: Texts) -> np.ndarray:
    """Count the words of every document: int64."""
    data = texts.data.view()
    data.flags.writeable = False  # the kernels are compiled for one kind of array only
    counts = np.zeros(len(texts), np.int64)
    _count_words(data, texts.chunks.starts, texts.chunks.ends, texts.chunks.rows, character_marks(), counts)
    return counts


@kernel
def _count_words(
    data: np.ndarray, starts: np.ndarray, ends: np.ndarray, rows: np.ndarray, marks: np.ndarray, counts: np.ndarray
) -> None:
    """Count the words of every document that begin with a letter or digit."""
    for document in range(len(counts)):
        for word in range(rows[document], rows[document + 1]):
            counts[document] += marks[decode(data, starts[word], ends[word])[0]] & ALPHANUMERIC != 0


REFINEDWEB = Preset(
    NAME,
    version=1,
    splitting="white space",
    rules=(
        Rule("words", at_least(1)),
        Rule("removed_words", at_most(0.05)),  # share of words
    ),
    measure=measure,
    edits=edits,
)
