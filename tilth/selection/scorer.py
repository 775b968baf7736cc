"""Training a quality scorer: fastText on texts that a model learned from against texts that it did not.

Defaults are PreSelect's (arXiv 2503.00808: lr 0.1, 100 dimensions, word bigrams, 5 epochs, some 200,000 texts a class)
but for the buckets: 200,000 in place of 2,000,000. They take 80 MB, not 800 MB, and of a few thousand real texts the
held-out ones were ranked as well (docs/decisions/fasttext-kernel.md). Raise it for millions of texts.

Everything follows from the texts themselves: a seeded hash of each decides whether it is sampled, held out, and where
it stands in the training order. The same texts in any order give the same bytes of model.
"""

import ctypes
import heapq
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import xxhash

from tilth.corpus.document import text_bytes
from tilth.corpus.errors import UserError
from tilth.corpus.store import file_digest, temporary_name
from tilth.filters.fasttext_kernel import one_line
from tilth.filters.fasttext_model import label_probabilities, load_model
from tilth.filters.fasttext_reading import WHOLE, beginnings
from tilth.filters.length_curve import LengthCurve, fit_length_curve, log_odds
from tilth.filters.score import read_scores

POSITIVE, NEGATIVE = "__label__positive", "__label__negative"
LABEL_TOKEN = re.compile(rb"(?<![^ \n\r\t\v\f\0])__label__[^ \n\r\t\v\f\0]*")  # as fastText splits tokens
BINS = 10  # of equal width, for the calibration
BLOCK = 1 << 16  # bytes, more than any file system gives a file at once
FOLDS = 4  # of the training texts, to learn a length curve: each quarter is scored by a model of the other three
FEWEST = 20  # texts of a class, below which a length curve follows chance
PERTURB = -6  # glibc's M_PERTURB, malloc.h


@dataclass(frozen=True)
class ScorerSettings:
    """How to train: fastText's own names and meanings, the sample, and the seed of every choice."""

    lr: float = 0.1
    dim: int = 100
    word_ngrams: int = 2
    epochs: int = 5
    bucket: int = 200_000
    min_count: int = 1
    examples: int = 200_000  # of each class at most, held-out ones among them
    held_out: float = 0.1  # share of each class
    length: Literal["plain", "end-token", "centred"] = "plain"  # what scoring takes out of a text's length
    first_bytes: int = 0  # of every text, 0 for all: give ``Score`` the same
    seed: int = 0

    @property
    def zero_end(self) -> bool:
        """Whether the end token's weight is taken as zero in scoring."""
        return self.length != "plain"


@dataclass(frozen=True)
class ClassCounts:
    """What became of a class's texts: ``given`` came in, of which ``train`` and ``held_out`` were used."""

    given: int
    train: int
    held_out: int


@dataclass(frozen=True)
class CalibrationBin:
    """Held-out texts with scores from ``low`` to ``high``: a calibrated scorer's two means agree."""

    low: float
    high: float
    count: int
    mean_score: float
    positive_share: float


@dataclass(frozen=True)
class ScorerReport:
    """What was trained, and how well it tells held-out texts apart. All shares are 0 to 1."""

    label: str  # to give to ``Score``
    digest: str  # xxh3-128 of the model file
    bytes: int
    positive: ClassCounts
    negative: ClassCounts
    ambiguous: int  # texts found in both classes, used in neither
    auc: float
    average_precision: float
    calibration: tuple[CalibrationBin, ...]  # bins that hold a text
    settings: ScorerSettings
    curve: LengthCurve | None = None  # of ``centred``: give ``Score`` the same
    training: str = ""  # digest of settings and training lines: equal digests, equal models


def train_scorer(
    positive: Iterable[str], negative: Iterable[str], model_path: str | Path, settings: ScorerSettings
) -> ScorerReport:
    """Train a fastText model that gives ``__label__positive`` a probability; write it to ``model_path`` at once.

    A text counts once however often it comes; a text of both classes is left out; the larger class is sampled down to
    the smaller. Holds ``settings.examples`` texts of each class in memory; ``centred`` trains five times in place of
    once. Raises ``UserError`` where a setting is out of range, a class has fewer than two texts (``centred``: twenty to
    train on), or the training diverges.
    """
    check(settings)
    path = Path(model_path)
    given_positive, positives = sample(positive, settings)
    given_negative, negatives = sample(negative, settings)
    both = positives.keys() & negatives.keys()
    classes = [sorted(texts.keys() - both) for texts in (positives, negatives)]
    for name, keys in zip(("positive", "negative"), classes, strict=True):
        if len(keys) < 2:
            raise UserError(
                f"{name} examples: found {len(keys)} distinct texts of this class alone, expected at "
                "least 2, one to train and one to hold out; name more"
            )
    size = min(map(len, classes))
    held = min(max(1, round(settings.held_out * size)), size - 1)
    if settings.length == "centred" and size - held < FEWEST:
        raise UserError(
            f"length: centred: found {size - held} texts of a class to train on, expected at least "
            f"{FEWEST} to tell lengths apart; name more, or use end-token"
        )
    lines = sorted(
        [(key, training_line(POSITIVE, positives[key])) for key in classes[0][held:size]]
        + [(key, training_line(NEGATIVE, negatives[key])) for key in classes[1][held:size]]
    )
    tests = [positives[key].decode() for key in classes[0][:held]] + [
        negatives[key].decode() for key in classes[1][:held]
    ]

    model = temporary_name(path)
    try:
        training = xxhash.xxh3_128(repr(settings).encode())
        for _, line in lines:
            training.update(line)
        fit((line for _, line in lines), model, settings)
        scorer = load_model(str(model))
        curve = length_curve(model, lines, settings) if settings.length == "centred" else None
        found = read_scores(
            scorer, POSITIVE, pa.array(tests, pa.large_string()), WHOLE, curve, zero_end=settings.zero_end
        )
        digest, size_bytes = file_digest(model), model.stat().st_size
        model.replace(path)
    finally:
        model.unlink(missing_ok=True)
    scores = found.astype(np.float64)
    truth = np.arange(2 * held) < held
    return ScorerReport(
        label=POSITIVE,
        digest=digest,
        bytes=size_bytes,
        positive=ClassCounts(given_positive, size - held, held),
        negative=ClassCounts(given_negative, size - held, held),
        ambiguous=len(both),
        auc=area_under_curve(scores, truth),
        average_precision=average_precision(scores, truth),
        calibration=calibration(scores, truth),
        settings=settings,
        curve=curve,
        training=training.hexdigest(),
    )


def length_curve(model: Path, lines: list[tuple[bytes, bytes]], settings: ScorerSettings) -> LengthCurve:
    """Return what the log odds of the training ``lines`` (key, line) owe to their texts' length.

    Each fourth of the lines is scored by a model that was trained on the other three, so that no text is scored by a
    model that knows it, and the held-out texts, which judge the result, stay unseen. Their order is that of hashes.
    """
    labels = [label.encode() + b" " for label in (POSITIVE, NEGATIVE)]
    odds: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    sizes: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for fold in range(FOLDS):
        part = temporary_name(model)
        try:
            fit((line for place, (_, line) in enumerate(lines) if place % FOLDS != fold), part, settings)
            scorer = load_model(str(part))
        finally:
            part.unlink(missing_ok=True)
        for label, mine, lengths in zip(labels, odds, sizes, strict=True):
            texts = [line[len(label) : -1].decode() for _, line in lines[fold::FOLDS] if line.startswith(label)]
            column = pa.array(texts, pa.large_string())
            found = label_probabilities(scorer, column, zero_end=settings.zero_end)
            mine.append(log_odds(found, scorer.labels.index(POSITIVE)))
            lengths.append(text_bytes(column).to_numpy())
    return fit_length_curve(
        (np.concatenate(odds[0]), np.concatenate(odds[1])), (np.concatenate(sizes[0]), np.concatenate(sizes[1]))
    )


def check(settings: ScorerSettings) -> None:
    """Raise ``UserError`` for the first setting that is out of range."""
    for name in ("dim", "word_ngrams", "epochs", "bucket", "min_count"):
        if getattr(settings, name) < 1:
            raise UserError(f"scorer: {name}: found {getattr(settings, name)}, expected at least 1; correct it")
    if settings.examples < 2:
        raise UserError(f"scorer: examples: found {settings.examples}, expected at least 2 of a class; raise it")
    if settings.first_bytes < 0:
        raise UserError(f"scorer: first_bytes: found {settings.first_bytes}, expected 0 (all) or more; correct it")
    if not settings.lr > 0:
        raise UserError(f"scorer: lr: found {settings.lr}, expected more than 0; fastText's default is 0.1")
    if not 0 < settings.held_out < 1:
        raise UserError(f"scorer: held_out: found {settings.held_out}, expected a share between 0 and 1, such as 0.1")
    if not 0 <= settings.seed < 2**31 - 1:
        raise UserError(f"scorer: seed: found {settings.seed}, expected 0 to {2**31 - 2}; choose another")


def sample(texts: Iterable[str], settings: ScorerSettings) -> tuple[int, dict[bytes, bytes]]:
    """Return how many texts came, and the ``settings.examples`` of lowest hash: UTF-8 bytes by seeded hash."""
    given = 0
    longest = settings.first_bytes
    kept: dict[bytes, bytes] = {}
    highest: list[tuple[int, bytes]] = []  # a heap with the highest hash first
    for text in texts:
        given += 1
        try:
            data = text.encode()
        except UnicodeEncodeError as error:
            raise UserError(
                f"scorer: example {given} is not Unicode text ({error.reason}); clean its source"
            ) from error
        if longest and len(data) > longest:
            data = beginnings(pa.array([text], pa.large_string()), longest)[0].as_py().encode()
        key = xxhash.xxh3_128_digest(data, seed=settings.seed)
        if key in kept:
            continue
        kept[key] = data
        heapq.heappush(highest, (-int.from_bytes(key), key))
        if len(kept) > settings.examples:
            del kept[heapq.heappop(highest)[1]]
    return given, kept


def training_line(label: str, text: bytes) -> bytes:
    """Return the line fastText is trained on: the label, then the text as scoring reads it.

    Words that begin like a label are left out. Scoring passes over them; in training each would found a class.
    """
    line = one_line(np.frombuffer(text, np.uint8)).tobytes()
    return label.encode() + b" " + LABEL_TOKEN.sub(b"", line) + b"\n"


def fit(lines: Iterable[bytes], model: Path, settings: ScorerSettings) -> None:
    """Train on ``lines`` with one thread, write the model and flush it to the disk."""
    import fasttext

    corpus = temporary_name(model)
    try:
        with corpus.open("wb") as stream:
            stream.writelines(lines)
        with zeroed_allocations():
            trained = fasttext.train_supervised(
                str(corpus),
                lr=settings.lr,
                dim=settings.dim,
                wordNgrams=settings.word_ngrams,
                epoch=settings.epochs,
                bucket=settings.bucket,
                minCount=settings.min_count,
                loss="softmax",
                minn=0,
                maxn=0,
                thread=1,
                seed=settings.seed + 1,  # std::minstd_rand takes 0 and 1 as the same seed
                verbose=0,
            )
        trained.save_model(str(model))
        check_room(model)
    except RuntimeError as error:
        raise UserError(f"scorer: training failed ({error}) with lr {settings.lr}; lower lr") from error
    finally:
        corpus.unlink(missing_ok=True)
    with model.open("rb+") as stream:
        os.fsync(stream.fileno())


def check_room(path: Path) -> None:
    """Raise ``OSError`` (no space left on device) where a file that was just written may have been cut by a full disk.

    fastText does not look whether its writes succeeded. A disk that had no room for the last of them has none for
    one block more; the block is taken back.
    """
    size = path.stat().st_size
    try:
        with path.open("ab", buffering=0) as stream:
            block = memoryview(bytes(BLOCK))
            while block:
                block = block[stream.write(block) :]
    finally:
        os.truncate(path, size)


@contextmanager
def zeroed_allocations() -> Iterator[None]:
    """Have the C library clear the memory that it hands out, where it can (glibc).

    With one thread fastText fills only the first tenth of its input matrix and takes the rest as the allocator left it
    (src/densematrix.cc, uniform): fresh pages are zeros, reused ones hold what stood there, and the same training gives
    other weights or "Encountered NaN". M_PERTURB fills new memory with its value's complement, so 255 asks for zeros.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        yield
        return
    mallopt(PERTURB, 255)
    try:
        yield
    finally:
        mallopt(PERTURB, 0)


def area_under_curve(scores: np.ndarray, truth: np.ndarray) -> float:
    """Return the probability that a positive (``truth``, bool) outscores a negative; a tie counts half."""
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    positives = int(truth.sum())
    return float((ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * (len(truth) - positives)))


def average_precision(scores: np.ndarray, truth: np.ndarray) -> float:
    """Return the mean, over the positives, of the precision among texts that score at least as high."""
    _, place = np.unique(-scores, return_inverse=True)
    hits = np.bincount(place, weights=truth)
    precision = np.cumsum(hits) / np.cumsum(np.bincount(place))
    return float((hits * precision).sum() / truth.sum())


def calibration(scores: np.ndarray, truth: np.ndarray) -> tuple[CalibrationBin, ...]:
    """Return ten bins of equal width over [0, 1], without the empty ones; the last includes 1."""
    place = np.minimum((scores * BINS).astype(np.int64), BINS - 1)
    return tuple(
        CalibrationBin(
            low=index / BINS,
            high=(index + 1) / BINS,
            count=int((place == index).sum()),
            mean_score=float(scores[place == index].mean()),
            positive_share=float(truth[place == index].mean()),
        )
        for index in np.unique(place).tolist()
    )
