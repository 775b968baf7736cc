"""fastText's scores to the last bit: its own sums, in single precision and in its order, where a cut was published.

A cut such as 0.018112 was made on the library's numbers: with the 1e-5 that it adds to each and with its rounding,
which reached 1.6e-5 in a long text. This reading gives those very numbers. It adds up all of the embedding's columns in
place of one, so it runs at 2.7 times the library's speed, not at 15; the matrix stays in its file, mapped.
"""

import ctypes
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import cast

import numpy as np
import pyarrow as pa
from numba import njit

from tilth.corpus.document import utf8_buffers
from tilth.corpus.errors import UserError
from tilth.filters.fasttext_kernel import NGRAM_FACTOR, next_features
from tilth.filters.fasttext_model import (
    HEADER,
    MATRIX,
    SOFTMAX,
    Dense,
    FastTextModel,
    mapped,
    read_matrix,
)
from tilth.filters.fasttext_tokens import PADDING, TOKENS, padded

ADDED = 1e-5  # src/loss.cc, std_log


@dataclass(frozen=True)
class LibraryModel:
    """A model whose matrices are as the file holds them: float32, rows or labels x dimensions."""

    model: FastTextModel  # its labels and dictionary
    matrix: np.ndarray = field(repr=False)
    output: np.ndarray = field(repr=False)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels as the model spells them."""
        return self.model.labels


def map_matrices(path: str, model: FastTextModel) -> LibraryModel:
    """Return a model that was read from ``path``, with its input matrix, which stays in the file.

    Raises ``UserError`` where it is of a kind whose sums are not repeated here: quantised or pruned, with subwords, or
    with another loss than softmax.
    """
    data = mapped(path)
    dim, labels, rows = HEADER.unpack_from(data.data)[2], len(model.labels), model.words + model.bucket
    start = len(data) - 2 * MATRIX.size - 4 * dim * (rows + labels)
    if model.loss != SOFTMAX or model.maxn > 0 or len(model.kept) > 0 or start < 0 or data[start] != 0:
        raise UserError(
            f"{path}: arithmetic: library: expected a plain softmax model (.bin) without subwords; take arithmetic: "
            "double, which reads this one"
        )
    matrix, place = read_matrix(path, data, start, "input", (rows, dim))
    output, _ = read_matrix(path, data, place, "output", (labels, dim))
    if not isinstance(matrix, Dense):
        raise TypeError(f"{path}: a quantised matrix behind the head of a plain one")
    values = data[matrix.place : place].view(np.float32).reshape(rows, dim)
    return LibraryModel(model, values, output.rows(0, labels))


def library_probabilities(library: LibraryModel, text: pa.Array, *, zero_end: bool = False) -> np.ndarray:
    """Return what the library's ``predict`` answers for every label: float32, texts x labels.

    Newlines count as spaces. ``zero_end`` takes the row of ``</s>`` as zeros. A text without a known feature, for which
    the library has no answer, gets equal probabilities.
    """
    model = library.model
    data, offsets = utf8_buffers(text)
    most = int(((offsets[1:] - offsets[:-1]) // 2 + 2).sum()) * max(
        model.word_ngrams, 1
    )  # tokens times n-grams of each
    rows, ends, counts = np.empty(most, np.uint32), np.empty(len(text), np.int64), np.empty(len(text), np.int64)
    feature_rows(
        data,
        offsets,
        model.words,
        model.word_ngrams,
        model.bucket,
        model.pool,
        model.word_starts,
        model.word_lengths,
        model.word_keys,
        model.slots,
        zero_end,
        rows,
        ends,
        counts,
    )
    logits = single_logits(library.matrix, library.output, rows, ends, counts)
    return np.array([answers(row) for row in logits], np.float32).reshape(logits.shape)


def answers(logits: np.ndarray) -> list[float]:
    """Return the library's answers to a text's logits (float32): src/loss.cc, computeOutput and std_log.

    The library takes the first exponential in double precision and the second (src/fasttext.cc, predictLine) in single
    precision from the C library, so that one is asked for it: rounded from double, 21 of 48,306 answers were others.
    """
    exponential = single_exponential()
    highest = logits.max()
    weights = [np.float32(math.exp(value - highest)) for value in logits]
    total = np.float32(0)
    for weight in weights:
        total += weight
    return [exponential(math.log(float(weight / total) + ADDED)) for weight in weights]


@lru_cache(maxsize=1)
def single_exponential() -> Callable[[float], float]:
    """Return the C library's ``expf``."""
    function = ctypes.CDLL(None).expf
    function.argtypes, function.restype = [ctypes.c_float], ctypes.c_float
    return cast(Callable[[float], float], function)


@njit(cache=True, nogil=True, error_model="numpy")
def feature_rows(
    data: np.ndarray,
    offsets: np.ndarray,
    words: int,
    word_ngrams: int,
    bucket: int,
    pool: np.ndarray,
    word_starts: np.ndarray,
    word_lengths: np.ndarray,
    word_keys: np.ndarray,
    slots: np.ndarray,
    zero_end: bool,
    rows: np.ndarray,
    ends: np.ndarray,
    counts: np.ndarray,
) -> None:
    """Write the rows of every text in the library's order: words, then n-grams by the token that they begin at.

    ``ends`` (int64): where a text's rows end in ``rows`` (uint32); ``counts`` (int64): how many features it has, which
    is one more where ``zero_end`` left the row of ``</s>`` out. The other arguments are those of ``mean_features``.
    """
    edges = np.empty(2 * TOKENS, np.int64)
    low, high = np.empty(TOKENS, np.uint64), np.empty(TOKENS, np.uint64)
    hashes, codes = np.empty(TOKENS, np.uint32), np.empty(TOKENS, np.uint32)
    others = np.empty(TOKENS, np.uint16)
    entries = np.empty(TOKENS, np.int64)
    found = np.empty(TOKENS, np.uint32)
    longest = np.int64(0)
    for text in range(len(offsets) - 1):
        longest = max(longest, offsets[text + 1] - offsets[text])
    signed = np.empty(longest // 2 + 2, np.uint64)  # hashes of a text's tokens, signed as the library keeps them
    filled = 0
    for text in range(len(offsets) - 1):
        line, place, stop = data, offsets[text], offsets[text + 1]
        if stop + PADDING > len(data):
            line, place, stop = padded(data[place:stop]), 0, stop - place
        tokens, features = 0, 0
        ended = False
        while not ended:
            size, heard, known, place, ended = next_features(
                line,
                place,
                stop,
                words,
                pool,
                word_starts,
                word_lengths,
                word_keys,
                slots,
                edges,
                low,
                high,
                hashes,
                codes,
                others,
                entries,
                found,
            )
            features += known
            if zero_end and ended and 0 <= entries[size - 1] < words:
                known -= 1
            rows[filled : filled + known] = found[:known]
            filled += known
            for token in range(heard):
                signed[tokens + token] = np.uint64(np.int64(np.int32(hashes[token])))
            tokens += heard
        for first in range(tokens):
            value = signed[first]
            for token in range(first + 1, min(first + word_ngrams, tokens)):
                value = value * NGRAM_FACTOR + signed[token]
                rows[filled] = words + np.int64(value % np.uint64(bucket))
                filled += 1
                features += 1
        ends[text], counts[text] = filled, features


@njit(cache=True, nogil=True)
def add_row(matrix: np.ndarray, row: np.int64, hidden: np.ndarray) -> None:
    """Add a row of the matrix to ``hidden``, in single precision: within ``single_logits`` it is no vector loop."""
    for column in range(len(hidden)):
        hidden[column] += matrix[row, column]


@njit(cache=True, nogil=True)
def single_logits(
    matrix: np.ndarray, output: np.ndarray, rows: np.ndarray, ends: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """Return the logit of every label for every text: float32, texts x labels.

    src/model.cc, computeHidden: rows are added one by one, and the sum is multiplied by the reciprocal of their number.
    src/densematrix.cc, dotRow: products are added in the order of columns.
    """
    labels, dim = output.shape
    logits = np.zeros((len(ends), labels), np.float32)
    hidden = np.empty(dim, np.float32)
    place = 0
    for text in range(len(ends)):
        hidden[:] = 0
        while place < ends[text]:
            add_row(matrix, np.int64(rows[place]), hidden)
            place += 1
        if counts[text] == 0:
            continue
        scale = np.float32(1.0 / counts[text])
        for column in range(dim):
            hidden[column] *= scale
        for label in range(labels):
            total = np.float32(0)
            for column in range(dim):
                total += output[label, column] * hidden[column]
            logits[text, label] = total
    return logits
