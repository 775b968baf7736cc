"""Counts the sentences of lines as spaCy's sentencizer ends them: at a word that is a full stop or its like.

Marks after the stop (quotes, brackets, more stops) still belong to the sentence; the next other word begins a new one.
A line begins a sentence too. White space other than one blank is a word to spaCy, so here it can begin a sentence.
"""

import numpy as np
import numpy.typing as npt

from tilth.filters.characters import MARK, SENTENCE_END, character_marks
from tilth.filters.kernel import kernel
from tilth.filters.texts import Texts
from tilth.filters.utf8 import decode


def count_sentences(texts: Texts) -> npt.NDArray[np.int64]:
    """Return the sentences of every document: int64. Its lines end at line feeds."""
    words = texts.words
    data = texts.data.view()
    data.flags.writeable = False  # the kernels are compiled for one kind of array only
    counts = np.zeros(len(texts), np.int64)
    _count(data, texts.offsets, words.starts, words.ends, words.rows, character_marks(), counts)
    return counts


@kernel
def _count(
    data: np.ndarray,
    offsets: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    rows: np.ndarray,
    marks: np.ndarray,
    counts: np.ndarray,
) -> None:
    """Count the sentences of every document."""
    for document in range(len(rows) - 1):
        stopped = False  # the sentence had its stop
        before = offsets[document]  # where the word before ended
        fresh = True  # a line begins
        for word in range(rows[document], rows[document + 1]):
            start, end = starts[word], ends[word]
            for at in range(before, start):
                fresh = fresh or data[at] == 10
            if fresh:
                counts[document] += 1
                fresh = stopped = False
            elif stopped and start > before and (start - before > 1 or data[before] != 32):
                counts[document] += 1
                stopped = False
            before = end
            code, width = decode(data, start, end)
            if start + width == end and marks[code] & SENTENCE_END:
                stopped = True
                continue
            if not stopped:
                continue
            all_marks = True
            at = start
            while at < end and all_marks:
                code, width = decode(data, at, end)
                all_marks = marks[code] & MARK != 0
                at += width
            if not all_marks:
                counts[document] += 1
                stopped = False
