"""A supervised fastText model, read without the library and collapsed to a table of scores.

The library keeps an embedding of ``dim`` floats for every word and n-gram bucket, and multiplies their mean by the
output matrix. Both steps are linear, so the product is taken once, at load. Softmax sees only differences of logits,
so the last label's column is subtracted and left out. A model of 2,000,000 buckets, 100 dimensions and two labels
(800 MB) becomes one column (8 MB), which fits a processor's cache.

A model with more labels than dimensions would grow by this. It keeps its embeddings, and its output matrix is applied
to the mean of each text. Only what common filters use is read: softmax, neither quantised nor pruned; all else is
refused by name.
"""

import struct
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from numba import njit

from tilth.corpus.document import utf8_buffers
from tilth.corpus.errors import UserError
from tilth.filters import fasttext_kernel

# fastText 0.9.2, src/fasttext.cc: FASTTEXT_FILEFORMAT_MAGIC_INT32 and FASTTEXT_VERSION; src/args.h: the enumerations.
MAGIC = 793712314
VERSIONS = (11, 12)
MODELS = {1: "cbow", 2: "skip-gram", 3: "supervised"}
LOSSES = {1: "hierarchical softmax", 2: "negative sampling", 3: "softmax", 4: "one-vs-all"}
SUPERVISED, SOFTMAX = 3, 3

# Magic, version, then src/args.cc, Args::save: twelve int32 and one float64.
HEADER = struct.Struct("<ii12id")
DICTIONARY = struct.Struct("<iiiqq")  # src/dictionary.cc, Dictionary::save: entries, words, labels, tokens, pruned
MATRIX = struct.Struct("<?qq")  # src/fasttext.cc and src/densematrix.cc: quantised, rows, columns
NOT_PRUNED = -1
LONGEST_NGRAM = 100  # tokens; published models have two or three, a damaged file may say anything
SMALLEST_ENTRY = 1 + 1 + 8 + 1  # a byte, its NUL, a count, a type

ROWS = 1 << 14  # rows of the input matrix in one step: 6.5 MB at 100 dimensions
FILLED = 0.7  # of the word table's slots, at most; the library's own share, and smaller tables are faster


@dataclass(frozen=True)
class FastTextModel:
    """What scoring needs of a model.

    Entries of the dictionary are words first, then labels; entry ``e`` is ``pool[word_starts[e] :][: word_lengths[e]]``
    and the slots are those of ``fasttext_kernel.find``. ``table`` is float32, (words + bucket) x columns. Where
    ``output`` is None its columns are the logits of all labels but the last, less those of the last; else they are the
    embedding's dimensions and ``output`` is float32, labels x dimensions.
    """

    labels: tuple[str, ...]
    words: int
    word_ngrams: int
    bucket: int
    minn: int
    maxn: int
    pool: np.ndarray = field(repr=False)  # uint8
    word_starts: np.ndarray = field(repr=False)  # int64
    word_lengths: np.ndarray = field(repr=False)  # int32
    slot_keys: np.ndarray = field(repr=False)  # uint64
    slot_entries: np.ndarray = field(repr=False)  # int32
    table: np.ndarray = field(repr=False)
    output: np.ndarray | None = field(repr=False)


def label_probabilities(model: FastTextModel, text: pa.Array, *, zero_end: bool = False) -> np.ndarray:
    """Return every label's probability for every text: float32, texts x labels, rows in order of ``model.labels``.

    Newlines count as spaces. ``zero_end`` takes the embedding of ``</s>`` as zeros: fastText appends that token to
    every text, so its share of the mean, and with it the score, depends on the length (PreSelect, arXiv 2503.00808,
    sets its weight to 0). Texts without a known feature, which the library leaves without an answer, get the softmax of
    zeros. The library itself adds 1e-5 to each probability (src/loss.cc, std_log); here they sum to one.
    """
    data, offsets = utf8_buffers(text)
    first = offsets[0]
    means = fasttext_kernel.mean_features(
        fasttext_kernel.one_line(data[first : offsets[-1]]),
        offsets - first,
        model.words,
        model.word_ngrams,
        model.bucket,
        model.minn,
        model.maxn,
        model.pool,
        model.word_starts,
        model.word_lengths,
        model.slot_keys,
        model.slot_entries,
        model.table,
        zero_end,
    )
    if model.output is None:
        logits = np.concatenate([means, np.zeros((len(means), 1))], axis=1)
    else:
        logits = products(means, model.output)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


def load_model(path: str) -> FastTextModel:
    """Read a supervised softmax model: 2,000,000 buckets of 100 dimensions in one to two seconds.

    Only the table stays in memory; the input matrix passes through in steps of a few MB. Raises ``UserError`` where the
    file is missing, foreign, damaged, or of a kind that is not read.
    """
    data = mapped(path)
    if len(data) < HEADER.size + DICTIONARY.size or HEADER.unpack_from(data.data)[0] != MAGIC:
        raise UserError(
            f"{path}: begins with {data[:4].tobytes().hex() or 'nothing'}, expected a fastText model "
            f"({struct.pack('<i', MAGIC).hex()}); give the .bin file that fastText wrote"
        )
    _, version, dim, _, _, _, _, word_ngrams, loss, kind, bucket, minn, maxn, _, _ = HEADER.unpack_from(data.data)
    if version not in VERSIONS:
        raise UserError(f"{path}: fastText file version {version}, expected 11 or 12; train it again with fastText 0.9")
    if kind != SUPERVISED:
        raise UserError(
            f"{path}: model is {MODELS.get(kind, kind)}, expected supervised; word vectors hold no labels to score by"
        )
    if loss != SOFTMAX:
        raise UserError(f"{path}: loss is {LOSSES.get(loss, loss)}, expected softmax; train with -loss softmax")
    if version == 11:
        maxn = 0  # src/fasttext.cc, loadModel: old supervised models have no subwords
    if dim < 1 or bucket < 0 or word_ngrams > LONGEST_NGRAM or (bucket == 0 and (word_ngrams > 1 or maxn > 0)):
        raise damaged(path, f"dim {dim}, bucket {bucket}, wordNgrams {word_ngrams}, maxn {maxn} can't go together")

    entries, words, labels, _, pruned = DICTIONARY.unpack_from(data.data, HEADER.size)
    if pruned != NOT_PRUNED:
        raise UserError(f"{path}: model is pruned (quantised with a cutoff), expected a plain .bin; give that instead")
    place = HEADER.size + DICTIONARY.size
    if min(words, labels - 1) < 0 or entries != words + labels or entries > (len(data) - place) // SMALLEST_ENTRY:
        raise damaged(path, f"{entries} dictionary entries, {words} words and {labels} labels in {len(data)} bytes")
    starts, lengths = np.empty(entries, np.int64), np.empty(entries, np.int32)
    end = int(read_entries(data, place, words, starts, lengths))
    if end < 0:
        raise damaged(path, "the dictionary breaks off or holds an entry that is neither word nor label")

    rows = words + bucket
    at_input = end + MATRIX.size
    at_output = at_input + 4 * rows * dim + MATRIX.size
    for place, name, expected in ((end, "input", (rows, dim)), (at_output - MATRIX.size, "output", (labels, dim))):
        if place + MATRIX.size > len(data):
            raise damaged(path, f"ends at byte {len(data)}, before its {name} matrix at {place}")
        quantised, *found = MATRIX.unpack_from(data.data, place)
        if quantised:
            raise UserError(f"{path}: {name} matrix is quantised (.ftz), expected a plain .bin; give that instead")
        if tuple(found) != expected:
            raise damaged(path, f"{name} matrix is {found[0]} x {found[1]}, expected {expected[0]} x {expected[1]}")
    if len(data) != at_output + 4 * labels * dim:
        raise damaged(path, f"{len(data)} bytes, expected {at_output + 4 * labels * dim}")

    output = floats(data, at_output, labels * dim).reshape(labels, dim)
    table, kept_output = collapse(data, at_input, rows, output)
    if not (np.isfinite(table).all() and np.isfinite(output).all()):
        raise damaged(path, "a matrix holds values that are not finite; its training diverged")
    begin = HEADER.size + DICTIONARY.size
    pool = data[begin:end].copy()
    starts -= begin
    slots = 1 << int(np.ceil(np.log2(entries / FILLED)))
    slot_keys, slot_entries = np.zeros(slots, np.uint64), np.full(slots, -1, np.int32)
    fasttext_kernel.fill_slots(pool, starts, lengths, slot_keys, slot_entries)
    names = tuple(
        pool[start : start + length].tobytes().decode(errors="replace")
        for start, length in zip(starts[words:].tolist(), lengths[words:].tolist(), strict=True)
    )
    return FastTextModel(
        labels=names,
        words=words,
        word_ngrams=word_ngrams,
        bucket=bucket,
        minn=minn,
        maxn=maxn,
        pool=pool,
        word_starts=starts,
        word_lengths=lengths,
        slot_keys=slot_keys,
        slot_entries=slot_entries,
        table=table,
        output=kept_output,
    )


def mapped(path: str) -> np.ndarray:
    """Return the bytes of a file, read as they are touched: uint8."""
    try:
        if Path(path).stat().st_size == 0:
            return np.zeros(0, np.uint8)
        return np.asarray(np.memmap(path, np.uint8, mode="r"))
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror}); give the path of a fastText model") from error


def damaged(path: str, found: str) -> UserError:
    """Return the error for a file that contradicts itself."""
    return UserError(f"{path}: damaged model: {found}; copy or train it again")


def floats(data: np.ndarray, place: int, count: int) -> np.ndarray:
    """Return a copy of ``count`` float32 values at byte ``place``, which need not be a multiple of four."""
    return data[place : place + 4 * count].view(np.float32).copy()


def collapse(data: np.ndarray, place: int, rows: int, output: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the table of a model whose input matrix stands at byte ``place``, and the output matrix if it stays apart.

    Products are summed in double precision in one order, so a model gives the same table on every machine.
    """
    labels, dim = output.shape
    if labels - 1 > dim:
        return floats(data, place, rows * dim).reshape(rows, dim), output
    differences = output[:-1].astype(np.float64) - output[-1]
    table = np.empty((rows, labels - 1), np.float32)
    for first in range(0, rows, ROWS):
        count = min(ROWS, rows - first)
        block = floats(data, place + 4 * first * dim, count * dim).reshape(count, dim)
        table[first : first + count] = products(block, differences)
    return table, None


@njit(cache=True, nogil=True)
def products(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return ``left`` times the transpose of ``right`` in float64: rows x rows. The order of summation is fixed."""
    result = np.zeros((len(left), len(right)), np.float64)
    for row in range(len(left)):
        for other in range(len(right)):
            total = 0.0
            for column in range(left.shape[1]):
                total += left[row, column] * right[other, column]
            result[row, other] = total
    return result


@njit(cache=True, nogil=True)
def read_entries(data: np.ndarray, place: int, words: int, starts: np.ndarray, lengths: np.ndarray) -> int:
    """Fill in where every entry's bytes start and how many they are; return where the dictionary ends, -1 if damaged.

    An entry is its bytes, a NUL, a count (int64) and a type: 0 for the first ``words`` entries, 1 for labels.
    """
    for entry in range(len(starts)):
        starts[entry] = place
        while place < len(data) and data[place] != 0:
            place += 1
        lengths[entry] = place - starts[entry]
        kind = place + 9
        if lengths[entry] == 0 or kind >= len(data) or data[kind] != (0 if entry < words else 1):
            return -1
        place = kind + 1
    return place
