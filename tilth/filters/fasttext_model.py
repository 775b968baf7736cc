"""A supervised fastText model, read without the library and collapsed to a table of scores.

The library keeps an embedding of ``dim`` floats for every word and n-gram bucket, and multiplies their mean by the
output matrix. Both steps are linear, so the product is taken once, at load. Softmax sees only differences of logits,
so the last label's column is subtracted and left out. A model of 2,000,000 buckets, 100 dimensions and two labels
(800 MB) becomes one column (8 MB), which fits a processor's cache.

A model with more outputs than dimensions would grow by this. It keeps its embeddings, and its output matrix is applied
to the mean of each text. A quantised matrix is written out in full before the product: its rows are sums of centroids,
so nothing is lost, and the table is as small as any.
"""

import struct
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
from numba import njit

from tilth.corpus.document import utf8_buffers
from tilth.corpus.errors import UserError
from tilth.filters import fasttext_kernel, fasttext_words

# fastText 0.9.2, src/fasttext.cc: FASTTEXT_FILEFORMAT_MAGIC_INT32 and FASTTEXT_VERSION; src/args.h: the enumerations.
MAGIC = 793712314
VERSIONS = (11, 12)
MODELS = {1: "cbow", 2: "skip-gram", 3: "supervised"}
LOSSES = {1: "hierarchical softmax", 2: "negative sampling", 3: "softmax", 4: "one-vs-all"}
SUPERVISED = 3
HIERARCHICAL, NEGATIVE_SAMPLING, SOFTMAX, ONE_VS_ALL = 1, 2, 3, 4

# Magic, version, then src/args.cc, Args::save: twelve int32 and one float64.
HEADER = struct.Struct("<ii12id")
DICTIONARY = struct.Struct("<iiiqq")  # src/dictionary.cc, Dictionary::save: entries, words, labels, tokens, pruned
MATRIX = struct.Struct("<?qq")  # src/fasttext.cc and src/densematrix.cc: quantised, rows, columns
NOT_PRUNED = -1  # 0: no n-gram is left
QUANTISED = struct.Struct("<?qqi")  # src/quantmatrix.cc, QuantMatrix::save: norms apart, rows, columns, codes
QUANTISER = struct.Struct("<4i")  # src/productquantizer.cc: dimensions, subspaces, width of one, width of the last
CENTROIDS = 256  # of a subspace
SIGMOID_STEPS, SIGMOID_REACH = 512, 8.0  # src/loss.cc: the library looks the logistic function up
LONGEST_NGRAM = 100  # tokens; published models have two or three, a damaged file may say anything
SMALLEST_ENTRY = 1 + 1 + 8 + 1  # a byte, its NUL, a count, a type

ROWS = 1 << 14  # rows of the input matrix in one step: 6.5 MB at 100 dimensions
FILLED = 0.7  # of the word table's slots, at most; the library's own share, and smaller tables are faster


@dataclass(frozen=True)
class FastTextModel:
    """What scoring needs of a model.

    Entries of the dictionary are words first, then labels; entry ``e`` is ``pool[word_starts[e] :][: word_lengths[e]]``
    and the slots are those of ``fasttext_words.find``. ``table`` is float32 with a row a word and a row a bucket, in a
    pruned model a row for each that ``kept`` names. Its columns are logits: for softmax of all labels but the last,
    less that of the last; for hierarchical softmax of every inner node of the tree of ``counts``; else of every label.
    Where ``output`` (float32, outputs x dimensions) is given, the columns are the embedding's, and logits come of both.
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
    word_keys: np.ndarray = field(repr=False)  # uint64, entries x 2
    slots: np.ndarray = field(repr=False)  # uint32
    kept: np.ndarray = field(repr=False)  # int32, one a bucket; empty where nothing was pruned
    table: np.ndarray = field(repr=False)
    output: np.ndarray | None = field(repr=False)
    loss: int = SOFTMAX
    counts: tuple[int, ...] = ()  # of the labels in training, for the tree


def label_probabilities(model: FastTextModel, text: pa.Array, *, zero_end: bool = False) -> np.ndarray:
    """Return every label's probability for every text: float32, texts x labels, rows in order of ``model.labels``.

    Newlines count as spaces. ``zero_end`` takes the embedding of ``</s>`` as zeros: fastText appends that token to
    every text, so its share of the mean, and with it the score, depends on the length (PreSelect, arXiv 2503.00808,
    sets its weight to 0). Texts without a known feature, which the library leaves without an answer, get the softmax of
    zeros. The library itself adds 1e-5 to each probability (src/loss.cc, std_log), in a tree to each branch on the way;
    here they sum to one. One-vs-all and negative sampling give every label a probability of its own, from the library's
    table of 512 steps: a logit that lies at the edge of a step may fall on its other side, which is 0.008 at most.
    """
    data, offsets = utf8_buffers(text)
    means = fasttext_kernel.mean_features(
        data,
        offsets,
        model.words,
        model.word_ngrams,
        model.bucket,
        model.minn,
        model.maxn,
        model.pool,
        model.word_starts,
        model.word_lengths,
        model.word_keys,
        model.slots,
        model.kept,
        model.table,
        zero_end,
    )
    outputs = means if model.output is None else products(means, model.output)
    if model.loss == SOFTMAX:
        zeros = np.zeros((len(outputs), 1 if model.output is None else 0))
        logits = np.concatenate([outputs, zeros], axis=1)
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)
    if model.loss == HIERARCHICAL:
        return np.asarray(leaf_probabilities(outputs, model.counts), np.float32)
    return np.asarray(stepped_sigmoid(outputs), np.float32)


def stepped_sigmoid(logits: np.ndarray) -> np.ndarray:
    """Return the library's logistic function (float64): a table of steps of 1/32 between -8 and 8, then 0 and 1."""
    values = logits.astype(np.float32)
    place = ((values + np.float32(SIGMOID_REACH)) * SIGMOID_STEPS / np.float32(SIGMOID_REACH) / 2).astype(np.int64)
    step = np.clip(place, 0, SIGMOID_STEPS) * 2 * SIGMOID_REACH / SIGMOID_STEPS - SIGMOID_REACH
    found = 1.0 / (1.0 + np.exp(-step))
    return np.asarray(np.where(values < -SIGMOID_REACH, 0.0, np.where(values > SIGMOID_REACH, 1.0, found)))


def leaf_probabilities(logits: np.ndarray, counts: tuple[int, ...]) -> np.ndarray:
    """Return the probability of every leaf of the labels' tree: float64, texts x labels. ``logits``: of inner nodes."""
    parents, rights = huffman_tree(counts)
    right = 1.0 / (1.0 + np.exp(-logits))
    labels = len(counts)
    nodes = np.ones((len(logits), 2 * labels - 1))
    for node in range(2 * labels - 3, -1, -1):  # parents stand after their children
        branch = right[:, parents[node] - labels]
        nodes[:, node] = nodes[:, parents[node]] * (branch if rights[node] else 1.0 - branch)
    return nodes[:, :labels]


@lru_cache(maxsize=8)
def huffman_tree(counts: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    """Return every node's parent and whether it is the right child, labels first (src/loss.cc, buildTree).

    ``counts`` are those of the labels in the model's order, highest first.
    """
    labels = len(counts)
    weights = [float(count) for count in counts] + [1e15] * (labels - 1)
    parents, rights = [-1] * (2 * labels - 1), [False] * (2 * labels - 1)
    leaf, node = labels - 1, labels
    for new in range(labels, 2 * labels - 1):
        children = []
        for _ in range(2):
            if leaf >= 0 and weights[leaf] < weights[node]:
                children.append(leaf)
                leaf -= 1
            else:
                children.append(node)
                node += 1
        weights[new] = weights[children[0]] + weights[children[1]]
        parents[children[0]] = parents[children[1]] = new
        rights[children[1]] = True
    return tuple(parents), tuple(rights)


def load_model(path: str) -> FastTextModel:
    """Read a supervised model, ``.bin`` or ``.ftz``: 2,000,000 buckets of 100 dimensions in one to two seconds.

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
    if loss not in LOSSES:
        raise damaged(path, f"loss {loss}, expected one of {', '.join(LOSSES.values())}")
    if version == 11:
        maxn = 0  # src/fasttext.cc, loadModel: old supervised models have no subwords
    if dim < 1 or bucket < 0 or word_ngrams > LONGEST_NGRAM or (bucket == 0 and (word_ngrams > 1 or maxn > 0)):
        raise damaged(path, f"dim {dim}, bucket {bucket}, wordNgrams {word_ngrams}, maxn {maxn} can't go together")

    entries, words, labels, _, pruned = DICTIONARY.unpack_from(data.data, HEADER.size)
    place = HEADER.size + DICTIONARY.size
    if min(words, labels - 1) < 0 or entries != words + labels or entries > (len(data) - place) // SMALLEST_ENTRY:
        raise damaged(path, f"{entries} dictionary entries, {words} words and {labels} labels in {len(data)} bytes")
    starts, lengths = np.empty(entries, np.int64), np.empty(entries, np.int32)
    end = int(read_entries(data, place, words, starts, lengths))
    if end < 0:
        raise damaged(path, "the dictionary breaks off or holds an entry that is neither word nor label")

    kept, place = read_kept(path, data, end, pruned, bucket)
    rows = words + (bucket if pruned == NOT_PRUNED else pruned)
    matrix, place = read_matrix(path, data, place, "input", (rows, dim))
    if isinstance(matrix, Dense) and pruned != NOT_PRUNED:
        raise damaged(path, "a pruned dictionary beside an input matrix that is not quantised")
    output, place = read_matrix(path, data, place, "output", (labels, dim))
    if len(data) != place:
        raise damaged(path, f"{len(data)} bytes, expected {place}")
    weights = output.rows(0, labels)
    if loss == HIERARCHICAL:
        weights = weights[: labels - 1]  # the inner nodes of a binary tree; the last row is never used
    table, kept_output = collapse(matrix, weights, differences=loss == SOFTMAX)
    if not (np.isfinite(table).all() and np.isfinite(weights).all()):
        raise damaged(path, "a matrix holds values that are not finite; its training diverged")
    counts = label_counts(data, starts[words:], lengths[words:]) if loss == HIERARCHICAL else ()
    begin = HEADER.size + DICTIONARY.size
    pool = data[begin:end].copy()
    starts -= begin
    slots = np.zeros(1 << int(np.ceil(np.log2(entries / FILLED))), np.uint32)
    word_keys = np.empty((entries, 2), np.uint64)
    fasttext_words.fill_slots(pool, starts, lengths, word_keys, slots)
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
        word_keys=word_keys,
        slots=slots,
        kept=kept,
        table=table,
        output=kept_output,
        loss=loss,
        counts=counts,
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


@dataclass(frozen=True)
class Dense:
    """A matrix of float32 at byte ``place`` of a model file."""

    data: np.ndarray
    place: int
    shape: tuple[int, int]

    def rows(self, first: int, count: int) -> np.ndarray:
        """Return ``count`` rows from ``first`` on: float32."""
        columns = self.shape[1]
        return floats(self.data, self.place + 4 * first * columns, count * columns).reshape(count, columns)


@dataclass(frozen=True)
class Quantised:
    """A matrix whose rows are one of 256 centroids a subspace, times one of 256 norms where norms stand apart."""

    codes: np.ndarray  # uint8, rows x subspaces
    centroids: tuple[np.ndarray, ...]  # of each subspace: float32, 256 x its width
    norms: np.ndarray | None  # float32, one a row
    shape: tuple[int, int]

    def rows(self, first: int, count: int) -> np.ndarray:
        """Return ``count`` rows from ``first`` on: float32."""
        codes = self.codes[first : first + count]
        parts = [centroids[codes[:, place]] for place, centroids in enumerate(self.centroids)]
        block = np.concatenate(parts, axis=1)
        return block if self.norms is None else block * self.norms[first : first + count, None]


def read_kept(path: str, data: np.ndarray, place: int, pruned: int, bucket: int) -> tuple[np.ndarray, int]:
    """Return which row each bucket kept (int32; empty where nothing was pruned), and the place after the pairs."""
    if pruned == NOT_PRUNED:
        return np.zeros(0, np.int32), place
    if not 0 <= pruned <= bucket or place + 8 * pruned > len(data):
        raise damaged(path, f"{pruned} n-grams kept of {bucket} buckets in {len(data)} bytes")
    pairs = data[place : place + 8 * pruned].view(np.int32).reshape(-1, 2)
    if pruned and (pairs.min() < 0 or pairs[:, 0].max() >= bucket or pairs[:, 1].max() >= pruned):
        raise damaged(path, "a kept n-gram names a bucket or a row that there is not")
    kept = np.full(max(bucket, 1), -1, np.int32)
    kept[pairs[:, 0]] = pairs[:, 1]
    return kept, place + 8 * pruned


def read_matrix(
    path: str, data: np.ndarray, place: int, name: str, expected: tuple[int, int]
) -> tuple[Dense | Quantised, int]:
    """Return the matrix whose head stands at byte ``place``, and the place after it; ``UserError`` if damaged."""
    if place + MATRIX.size > len(data):
        raise damaged(path, f"ends at byte {len(data)}, before its {name} matrix at {place}")
    quantised, *found = MATRIX.unpack_from(data.data, place)
    if not quantised:
        check_shape(path, name, tuple(found), expected)
        end = place + MATRIX.size + 4 * expected[0] * expected[1]
        if end > len(data):
            raise damaged(path, f"{len(data)} bytes, expected {end} or more: the {name} matrix breaks off")
        return Dense(data, place + MATRIX.size, expected), end
    place += 1
    if place + QUANTISED.size > len(data):
        raise damaged(path, f"ends at byte {len(data)}, inside its {name} matrix")
    apart, rows, columns, size = QUANTISED.unpack_from(data.data, place)
    check_shape(path, name, (rows, columns), expected)
    place += QUANTISED.size
    codes = data[place : place + max(size, 0)]
    centroids, place = read_quantiser(path, data, place + max(size, 0), name, columns)
    if size != rows * len(centroids):
        raise damaged(path, f"{name} matrix has {size} codes, expected {rows} x {len(centroids)}")
    norms = None
    if apart:
        norm_codes = data[place : place + rows]
        (levels,), place = read_quantiser(path, data, place + rows, name, 1)
        norms = levels[norm_codes, 0]
    return Quantised(codes.reshape(rows, -1), centroids, norms, expected), place


def read_quantiser(
    path: str, data: np.ndarray, place: int, name: str, columns: int
) -> tuple[tuple[np.ndarray, ...], int]:
    """Return the centroids of every subspace (float32, 256 x its width), and the place after them."""
    if place + QUANTISER.size > len(data):
        raise damaged(path, f"ends at byte {len(data)}, before the centroids of its {name} matrix")
    dim, subspaces, width, last = QUANTISER.unpack_from(data.data, place)
    if dim != columns or min(subspaces, width, last) < 1 or last > width or (subspaces - 1) * width + last != dim:
        raise damaged(path, f"{name} matrix: {subspaces} subspaces of {width} and {last} columns, expected {columns}")
    place += QUANTISER.size
    end = place + 4 * dim * CENTROIDS
    if end > len(data):
        raise damaged(path, f"ends at byte {len(data)}, inside the centroids of its {name} matrix")
    values = floats(data, place, dim * CENTROIDS)
    cuts = [CENTROIDS * width * subspace for subspace in range(1, subspaces)]
    return tuple(part.reshape(CENTROIDS, -1) for part in np.split(values, cuts)), end


def check_shape(path: str, name: str, found: tuple[int, ...], expected: tuple[int, int]) -> None:
    """Raise ``UserError`` where a matrix is not as large as dictionary and arguments say."""
    if found != expected:
        raise damaged(path, f"{name} matrix is {found[0]} x {found[1]}, expected {expected[0]} x {expected[1]}")


def label_counts(data: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> tuple[int, ...]:
    """Return how often each label came in training: the int64 behind each entry's NUL."""
    places = (starts + lengths + 1).tolist()
    return tuple(int(data[place : place + 8].view(np.int64)[0]) for place in places)


def collapse(
    matrix: Dense | Quantised, output: np.ndarray, *, differences: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the table of an input matrix, and the output matrix (float32) if it stays apart.

    With ``differences`` the last row of ``output`` is subtracted from the others and left out, which a softmax does not
    see. Products are summed in double precision in one order, so a model gives the same table on every machine.
    """
    rows, dim = matrix.shape
    wanted = output[:-1].astype(np.float64) - output[-1] if differences else output.astype(np.float64)
    if len(wanted) > dim:
        return matrix.rows(0, rows), output
    table = np.empty((rows, len(wanted)), np.float32)
    with np.errstate(over="ignore"):  # a damaged file's numbers; the caller looks for infinities
        for first in range(0, rows, ROWS):
            count = min(ROWS, rows - first)
            table[first : first + count] = products(matrix.rows(first, count), wanted)
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
