"""fastText scores: MB of text a second on one core and equality with the library, both in one run.

    python benchmarks/fasttext_scoring.py [--quick] [--json]

A model of PreSelect's size (100 dimensions, word bigrams, 2,000,000 buckets) is trained on every fourth text, and the
rest is scored, corpus by corpus, in turns by the library and by the kernel; the best of the passes counts. Time is the
processor time of the one thread that works, so that a busy machine changes little. The library is given Python strings
without newlines, ready to be read; the kernel is given Arrow, newlines and all.

Where the two put a pair of texts in different order, one of them is wrong. Which one is asked of a third reading, slow
and plain, in double precision over the library's own matrices: the kernel may turn none of all pairs, the library's
number is printed. ``arithmetic: library``, which repeats the library's sums, must give its very bits.

The text is that of the folder ../shared/data/corpora where it lies beside the repository (105 MB, six domains), else
the source code of Python's own library; which of the two is printed. ``--quick`` scores a sixth of it.
"""

import argparse
import json
import platform
import sys
import sysconfig
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fasttext
import numpy as np
import pyarrow as pa

from tilth.filters.fasttext_library import LibraryModel, library_probabilities, map_matrices
from tilth.filters.fasttext_model import label_probabilities, load_model
from tilth.selection.scorer import POSITIVE, ScorerSettings, train_scorer

CORPORA = Path(__file__).resolve().parents[2] / "shared" / "data" / "corpora"
FASTER_THAN_LIBRARY = 8.0  # times, over all and in every corpus
LOAD_SECONDS = 5.0  # for a file of 0.9 GB
DIFFERENCE = 2e-5  # the library adds up in single precision
ERROR = 5e-7  # of a score of the kernel's: so that no two that are ``ROUNDING`` apart can change places
ROUNDING = 1e-6  # scores that the library tells apart by less stand where single precision put them
SEPARATORS = bytes.maketrans(b"\n\r\t\v\f\0", b"      ")
PASSES = 5


@dataclass(frozen=True)
class Example:
    text: str
    good: bool  # of the class that the model learns
    corpus: str


def examples() -> tuple[str, list[Example]]:
    """Return where the texts are from, and each with its class: encyclopedia, science and medicine, or not."""
    if CORPORA.is_dir():
        import zstandard

        found = []
        for path in sorted(CORPORA.glob("*.zst")):
            corpus = path.name.partition("_")[0]
            good = corpus in ("encyclopedia", "science", "biomedical")
            with zstandard.open(path, "rt", encoding="utf-8") as lines:
                found += [Example(json.loads(line)["text"], good, corpus) for line in lines]
        return "shared corpora", found
    found = []
    for path in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")):
        if "site-packages" not in path.parts:
            text = path.read_text(encoding="utf-8", errors="replace")
            found += [Example(piece, "test" in path.parts, "python") for piece in text.split("\n\n\n")]
    return "Python's own library", found


class Truth:
    """Scores in double precision: the library's rules in plain Python, over its own matrices."""

    def __init__(self, library: Any, positive: int) -> None:
        self.words = {word.encode(): row for row, word in enumerate(library.get_words())}
        self.hashes: dict[bytes, int] = {}
        matrix, output = library.get_input_matrix(), library.get_output_matrix().astype(np.float64)
        difference = output[positive] - output[1 - positive]  # of two labels
        rows = range(0, len(matrix), 1 << 14)
        self.logits = np.concatenate([matrix[row : row + (1 << 14)].astype(np.float64) @ difference for row in rows])
        self.buckets = np.uint64(len(matrix) - len(self.words))

    def score(self, text: str) -> float:
        """Return the probability of the positive label."""
        tokens = [token for token in text.encode().translate(SEPARATORS).split(b" ") if token]
        tokens = [*tokens[: tokens.index(b"</s>") if b"</s>" in tokens else None], b"</s>"]
        tokens = [token for token in tokens if token in self.words or not token.startswith(b"__label__")]
        rows = [self.words[token] for token in tokens if token in self.words]
        hashes = np.array([self.hash(token) for token in tokens], np.int64).view(np.uint64)
        bigrams = (hashes[:-1] * np.uint64(116049371) + hashes[1:]) % self.buckets
        found = np.concatenate([self.logits[rows], self.logits[len(self.words) + bigrams.astype(np.int64)]])
        return float(1 / (1 + np.exp(-found.mean()))) if len(found) else 0.5

    def hash(self, token: bytes) -> int:
        """Return FNV-1a of signed bytes, as a signed number of 32 bits."""
        if token not in self.hashes:
            value = 2166136261
            for byte in token:
                value = (value ^ (byte if byte < 128 else byte | 0xFFFFFF00)) * 16777619 & 0xFFFFFFFF
            self.hashes[token] = value - (value >> 31 << 32)
        return self.hashes[token]


@dataclass(frozen=True)
class Race:
    """What the library and the kernel make of one corpus."""

    bytes: int
    difference: float  # the largest of two scores of one text
    errors: tuple[float, float]  # the largest difference from the truth, the kernel's and the library's
    wrong: tuple[int, int]  # pairs of texts that each puts in the wrong order
    other_bits: int  # texts to which the library's arithmetic gives another number than the library
    library_seconds: float  # the best of the passes
    kernel_seconds: float
    repeated_seconds: float  # by the library's arithmetic


def race(texts: list[str], library: Any, mapped: LibraryModel, truth: Truth, passes: int) -> Race:
    model = mapped.model
    arrow = pa.array(texts, pa.large_string())
    lines = [text.replace("\n", " ") for text in texts]
    column = model.labels.index(POSITIVE)
    ours, repeated = (
        scores[:, column] for scores in (label_probabilities(model, arrow), library_probabilities(mapped, arrow))
    )
    names, values = library.predict(lines, k=2)
    theirs = np.array(
        [value[list(name).index(POSITIVE)] if name else 0.5 for name, value in zip(names, values, strict=True)]
    )
    other_bits = int((theirs.astype(np.float32) != repeated).sum())
    theirs -= 1e-5  # what the library adds to every probability
    true = np.array([truth.score(text) for text in texts])
    calls = (
        lambda: library.predict(lines, k=2),
        lambda: label_probabilities(model, arrow),
        lambda: library_probabilities(mapped, arrow),
    )
    seconds = np.empty((passes, len(calls)))
    for turn in seconds:
        for place, call in enumerate(calls):
            start = time.thread_time()
            call()
            turn[place] = time.thread_time() - start
    return Race(
        bytes=sum(len(line.encode()) for line in lines),
        difference=float(np.abs(ours - theirs).max()),
        errors=(float(np.abs(ours - true).max()), float(np.abs(theirs - true).max())),
        wrong=(turned(ours, true), turned(theirs, true)),
        other_bits=other_bits,
        library_seconds=float(seconds[:, 0].min()),
        kernel_seconds=float(seconds[:, 1].min()),
        repeated_seconds=float(seconds[:, 2].min()),
    )


def turned(scores: np.ndarray, true: np.ndarray) -> int:
    """Return how many pairs stand in the wrong order and are, by score or in truth, more than ``ROUNDING`` apart."""
    order = np.argsort(true)
    scores, true = scores[order].astype(np.float64), true[order]
    count = 0
    for place in range(len(order) - 1):
        ahead, truly = scores[place] - scores[place + 1 :], true[place + 1 :] - true[place]
        count += int(((ahead > 0) & (truly > 0) & (np.maximum(ahead, truly) > ROUNDING)).sum())
    return count


def measure(folder: Path, *, quick: bool) -> dict[str, Any]:
    origin, found = examples()
    start = time.perf_counter()
    path = folder / "model.bin"
    train_scorer(
        *([each.text for each in found[:: 12 if quick else 4] if each.good == wanted] for wanted in (True, False)),
        path,
        ScorerSettings(bucket=2_000_000, epochs=1 if quick else 5),
    )
    training = time.perf_counter() - start

    rest = [each for place, each in enumerate(found) if place % (6 if quick else 4)][:: 5 if quick else 1]
    library = fasttext.load_model(str(path))
    load_model(str(path))  # compiles
    start = time.perf_counter()
    model = load_model(str(path))
    loading = time.perf_counter() - start

    truth = Truth(library, model.labels.index(POSITIVE))
    races = {
        corpus: race(
            [each.text for each in rest if each.corpus == corpus],
            library,
            map_matrices(str(path), model),
            truth,
            PASSES,
        )
        for corpus in sorted({each.corpus for each in rest})
    }
    size, ours, theirs, repeated = (
        sum(getattr(each, name) for each in races.values())
        for name in ("bytes", "kernel_seconds", "library_seconds", "repeated_seconds")
    )
    figures = {
        "kernel_mb_per_second": figure(size / ours / 1e6, None),
        "library_mb_per_second": figure(size / theirs / 1e6, None),
        "times_the_library": figure(theirs / ours, FASTER_THAN_LIBRARY),
        "library_arithmetic_mb_per_second": figure(size / repeated / 1e6, None),
        "library_arithmetic_times_the_library": figure(theirs / repeated, None),
        "load_seconds": figure(loading, LOAD_SECONDS, least=False),
    }
    for corpus, each in races.items():
        figures[f"{corpus}_times_the_library"] = figure(each.library_seconds / each.kernel_seconds, FASTER_THAN_LIBRARY)
        figures[f"{corpus}_largest_difference"] = figure(each.difference, DIFFERENCE, least=False)
        figures[f"{corpus}_other_bits_in_library_arithmetic"] = figure(each.other_bits, 0, least=False)
        figures[f"{corpus}_kernel_error"] = figure(each.errors[0], ERROR, least=False)
        figures[f"{corpus}_library_error"] = figure(each.errors[1], None)
        figures[f"{corpus}_pairs_the_kernel_turns"] = figure(each.wrong[0], 0, least=False)
        figures[f"{corpus}_pairs_the_library_turns"] = figure(each.wrong[1], None)
    return {
        "benchmark": "fasttext",
        "text": origin,
        "texts": len(rest),
        "megabytes": round(size / 1e6, 1),
        "model_megabytes": round(path.stat().st_size / 1e6),
        "words": model.words,
        "training_seconds": round(training, 1),
        "machine": f"{platform.processor() or platform.machine()}, Python {platform.python_version()}",
        "figures": figures,
        "ok": all(each["ok"] for each in figures.values()),
    }


def figure(value: float, floor: float | None, *, least: bool = True) -> dict[str, Any]:
    """Return a figure beside the bound it must keep: at least ``floor``, or at most."""
    return {"value": value, "floor": floor, "ok": floor is None or (value >= floor if least else value <= floor)}


def show(result: dict[str, Any]) -> None:
    print(
        f"{result['megabytes']} MB, {result['texts']} texts of {result['text']}; "
        f"model of {result['model_megabytes']} MB with {result['words']} words"
    )
    for name, each in result["figures"].items():
        bound = "" if each["floor"] is None else f"   bound {each['floor']:g}{'' if each['ok'] else '   MISSED'}"
        print(f"{name.replace('_', ' '):46}{each['value']:12.3g}{bound}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a sixth of the text: under 50 s")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tilth-benchmark-") as name:
        result = measure(Path(name), quick=options.quick)
    show(result)
    if options.json:
        print(json.dumps(result))
    sys.exit(0 if result["ok"] else 1)


if __name__ == "__main__":
    main()
