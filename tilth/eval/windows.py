"""Cuts token sequences into windows that a model can see and windows into batches, the same whoever computes them.

A token of a long document is predicted once, with at least half a window of the text before it; rereading that half
doubles the work on long documents, and without it every window would begin blind. Batches are made before they are
shared out, so a result does not depend on how many processes work on it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Windows:
    """Windows over documents; all arrays int64 (windows,), ordered by document and place."""

    document: np.ndarray  # row of the document
    start: np.ndarray  # first input: 0 is the separator that stands before every document, 1 its first token
    length: np.ndarray  # inputs
    scored: np.ndarray  # predictions that count: the last ones; the inputs before them are context


def cut_windows(tokens: np.ndarray, sequence_length: int) -> Windows:
    """Return windows of at most ``sequence_length`` inputs over documents of ``tokens`` (int, (documents,)) tokens.

    Every token of every document is scored exactly once. In all windows of a document but its first, at least half of
    the inputs are context.
    """
    fresh = sequence_length - sequence_length // 2
    rows: list[tuple[int, int, int, int]] = []
    for document, size in enumerate(tokens.tolist()):
        done = min(size, sequence_length)
        if size:
            rows.append((document, 0, done, done))
        while done < size:
            scored = min(fresh, size - done)
            done += scored
            rows.append((document, done - sequence_length, sequence_length, scored))
    columns = np.array(rows, np.int64).reshape(-1, 4).T
    return Windows(*columns)


def window_length(model: Mapping[str, Any]) -> int:
    """Return the inputs of a window for a model with these fields.

    A GPT reads all of a window but its last token; a BERT reads that too.
    """
    longest = int(model["sequence_length"])
    return longest - 1 if model["kind"] == "bert" else longest


def cut_batches(windows: Windows, most: int) -> Iterator[np.ndarray]:
    """Yield the indices (int64) of windows that go together: longest first, at most ``most`` inputs with padding."""
    order = np.lexsort((np.arange(len(windows.length)), -windows.length))
    first = 0
    while first < len(order):
        rows = max(1, most // int(windows.length[order[first]]))
        yield order[first : first + rows]
        first += rows


def fill_batch(
    windows: Windows, rows: np.ndarray, tokens: np.ndarray, offsets: np.ndarray, separator: int
) -> np.ndarray:
    """Return inputs and labels of the windows ``rows``: int64, (windows, longest + 1), padded with the separator.

    ``tokens`` are those of all documents, ``offsets`` (documents + 1) their bounds. Input i of a row is in column i,
    its label in column i + 1.
    """
    filled = np.full((len(rows), int(windows.length[rows].max()) + 1), separator, np.int64)
    for out, window in zip(filled, rows.tolist(), strict=True):
        begin = int(offsets[windows.document[window]]) - 1 + int(windows.start[window])  # of input 0 in ``tokens``
        length = int(windows.length[window])
        if windows.start[window] == 0:
            out[1 : length + 1] = tokens[begin + 1 : begin + 1 + length]
        else:
            out[: length + 1] = tokens[begin : begin + 1 + length]
    return filled


def scored_mask(windows: Windows, rows: np.ndarray) -> np.ndarray:
    """Return which predictions of a filled batch count: bool, (windows, longest)."""
    place = np.arange(int(windows.length[rows].max()))
    length, scored = windows.length[rows, None], windows.scored[rows, None]
    mask: np.ndarray = (place < length) & (place >= length - scored)
    return mask
