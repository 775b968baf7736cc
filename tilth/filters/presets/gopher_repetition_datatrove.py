"""Gopher's repetition rules with datatrove's limits.

Sources: Rae et al. 2021, table A1; datatrove 0.10.1, GopherRepetitionFilter. A preset of its own, as it is a filter of
its own there: what goes by ``gopher.datatrove@1`` may not change, and a study can lift repetition without quality.
Shares are of all the text's characters, white space included.
"""

from typing import Final

import numpy as np

from tilth.filters.repeats import glued_runs, repeated_pieces, repeated_runs
from tilth.filters.rules import Preset, Rule, Signals, at_least, at_most
from tilth.filters.texts import Texts

TOP: Final = {2: 0.20, 3: 0.18, 4: 0.16}  # words in a run: share of characters in the run that occurs most often
REPEATED: Final = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}  # the same in runs that stood before


def measure(texts: Texts) -> Signals:
    """Return the signals of the rules below: float64, one a document, NaN where the text is empty."""
    paragraphs = repeated_pieces(texts.data, texts.paragraphs)
    lines = repeated_pieces(texts.data, texts.fed_lines)
    runs = repeated_runs(texts.data, texts.words, tuple(TOP))
    glued = glued_runs(texts.data, texts.words, tuple(REPEATED))
    characters = texts.characters
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "characters": characters.astype(np.float64),
            "repeated_paragraphs": paragraphs.later / paragraphs.pieces,
            "repeated_paragraph_characters": paragraphs.later_characters / characters,
            "repeated_lines": lines.later / lines.pieces,
            "repeated_line_characters": lines.later_characters / characters,
            # the peer joins the words of a run by spaces
            **{f"top_{n}_gram": (run.top + (n - 1)) * run.top_count / characters for n, run in runs.items()},
            **{f"repeated_{n}_grams": inside / characters for n, inside in glued.items()},
        }


GOPHER_REPETITION = Preset(
    "gopher.repetition.datatrove",
    version=1,
    splitting="spacy-like",
    rules=(
        Rule("characters", at_least(1)),
        Rule("repeated_paragraphs", at_most(0.3)),  # share of paragraphs: what two or more line feeds part
        Rule("repeated_paragraph_characters", at_most(0.2)),
        Rule("repeated_lines", at_most(0.3)),  # share of lines: what one or more line feeds part
        Rule("repeated_line_characters", at_most(0.2)),
        *(Rule(f"top_{n}_gram", at_most(limit)) for n, limit in TOP.items()),
        *(Rule(f"repeated_{n}_grams", at_most(limit)) for n, limit in REPEATED.items()),
    ),
    measure=measure,
)
