"""C4's rules, as its own code and as datatrove apply them: lines that stay, then what their page must hold.

Sources: tensorflow_datasets, text/c4_utils.py (clean_page, is_valid_length); datatrove 0.10.1, C4QualityFilter. The
latter swapped the two counts of the code that it cites: 3 words a line and 5 sentences a page, in place of 5 and 3. It
also takes the apostrophe for an end mark, and counts the words of a line with its citations. A page is measured as it
would be after the edits of its lines, which a stage of their own makes.

Sentences are spaCy's, as datatrove's are. C4's own came from NLTK's trained model, which ours stand in for.
"""

from functools import partial
from typing import Final

import numpy as np

from tilth.filters.c4_lines import C4Lines, C4Verdicts, judge_lines
from tilth.filters.line_edits import line_spans
from tilth.filters.rules import Preset, Rule, Signals, at_least, at_most
from tilth.filters.sentences import count_sentences_left
from tilth.filters.spans import Spans
from tilth.filters.texts import Texts

DATATROVE: Final = C4Lines("c4.datatrove", fewest_words=3, counts_citations=True, end_marks=".?!\"'")
TFDS: Final = C4Lines("c4.tfds", fewest_words=5, counts_citations=False, end_marks='.?!"')


def measure(wanted: C4Lines, texts: Texts) -> Signals:
    """Return the signals of the rules below: float64, one a document."""
    verdicts = _verdicts(wanted, texts)
    return {
        "lorem_ipsum": verdicts.lorem_ipsum.astype(np.float64),
        "curly_brackets": verdicts.curly_brackets.astype(np.float64),
        "sentences": count_sentences_left(texts, verdicts.lines).astype(np.float64),
    }


def _verdicts(wanted: C4Lines, texts: Texts) -> C4Verdicts:
    """Return the verdicts on all lines, once for a batch."""
    if wanted.name not in texts.findings:
        texts.findings[wanted.name] = judge_lines(texts, wanted)
    found = texts.findings[wanted.name]
    if not isinstance(found, C4Verdicts):
        raise TypeError(f"{wanted.name}: found {type(found).__name__}, expected the verdicts on its lines")
    return found


def measure_tfds(texts: Texts) -> Signals:
    """Add the length of the page."""
    return {"characters": texts.characters.astype(np.float64), **measure(TFDS, texts)}


def edits(wanted: C4Lines, texts: Texts) -> Spans:
    """Return the edits that leave the lines which stay."""
    return line_spans(texts, _verdicts(wanted, texts).lines)


C4_DATATROVE = Preset(
    "c4.datatrove",
    version=1,
    splitting="spacy-like",
    rules=(
        Rule("lorem_ipsum", at_most(0)),  # lines, of those that have an end mark and words enough
        Rule("curly_brackets", at_most(0)),  # the same
        Rule("sentences", at_least(5)),  # of the lines that stay
    ),
    measure=partial(measure, DATATROVE),
    edits=partial(edits, DATATROVE),
)

C4_TFDS = Preset(
    "c4.tfds",
    version=1,
    splitting="spacy-like",
    rules=(
        Rule("characters", at_most(190_000)),
        Rule("lorem_ipsum", at_most(0)),
        Rule("curly_brackets", at_most(0)),
        Rule("sentences", at_least(3)),
    ),
    measure=measure_tfds,
    edits=partial(edits, TFDS),
)
