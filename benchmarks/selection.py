"""Selection: speed a core, equality with the formulas, length, and toxicity classifiers on held-out text and HateCheck.

    python benchmarks/selection.py [--quick] [--json]

Speeds are MB (1e6 bytes of UTF-8) a second of one core's processor time, the best of three passes. DSIR stands beside
the published way of computing it (every n-gram through SHA-256 in Python), written anew from its description without
NLTK, so that the peer here is faster than the published code. The text is that of ../shared/data beside the repository,
without which the benchmark says so and ends.
"""

import argparse
import csv
import hashlib
import io
import json
import platform
import re
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from tilth.filters.fasttext_model import label_probabilities, load_model
from tilth.filters.fasttext_reading import WHOLE
from tilth.filters.score import read_scores
from tilth.selection.byte_ngrams import train_bytes
from tilth.selection.hashed_ngrams import log_ratio, log_weights, ngram_counts
from tilth.selection.scorer import POSITIVE, ScorerSettings, area_under_curve, train_scorer
from tilth.selection.strength import predictive_strength, ranks, sign_cdf, spearman

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
FASTER_THAN_PUBLISHED = 20.0
LARGEST_LENGTH_CORRELATION = 0.05
LARGEST_AUC_LOSS = 0.005


def corpora(most: int) -> dict[str, list[str]]:
    """Return up to ``most`` bytes of every shared corpus."""
    import zstandard

    found = {}
    for path in sorted((DATA / "corpora").glob("*.zst")):
        texts, size = [], 0
        with zstandard.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                texts.append(json.loads(line)["text"])
                size += len(texts[-1])
                if size > most:
                    break
        found[path.name.partition("_")[0]] = texts
    return found


def seconds(call: Callable[[], object], passes: int = 3) -> float:
    """Return the least processor seconds of a call on this thread."""
    best = float("inf")
    for _ in range(passes):
        start = time.thread_time()
        call()
        best = min(best, time.thread_time() - start)
    return best


def published_weight(text: str, ratio: np.ndarray) -> float:
    """Return the log importance weight the published way: NLTK's words by their pattern, SHA-256 of every n-gram."""
    words = re.findall(r"\w+|[^\w\s]+", text.lower())
    counts = np.zeros(len(ratio), int)
    for ngram in [*words, *(f"{a} {b}" for a, b in pairwise(words))]:
        counts[int(hashlib.sha256(ngram.encode()).hexdigest(), 16) % len(ratio)] += 1
    return float(np.inner(counts, ratio))


def speeds(texts: list[str]) -> dict[str, Any]:
    arrow = pa.array(texts, pa.large_string())
    size = sum(len(text.encode()) for text in texts)
    ratio = log_ratio(ngram_counts(arrow.slice(0, 200)), ngram_counts(arrow))
    ours = size / seconds(lambda: log_weights(arrow, ratio)) / 1e6
    few = texts[::40]
    few_size = sum(len(text.encode()) for text in few)
    theirs = few_size / seconds(lambda: [published_weight(text, ratio) for text in few]) / 1e6
    model = train_bytes([arrow.slice(0, len(arrow) // 4)])
    some = arrow.take(pa.array(range(1, len(arrow), 6)))
    some_size = sum(len(text.encode()) for text in some.to_pylist())
    random = np.random.default_rng(0)
    losses, ability = random.normal(size=(100_000, 8)), random.normal(size=8)
    return {
        "dsir_mb_per_second": figure(ours),
        "published_way_mb_per_second": figure(theirs),
        "dsir_times_the_published_way": figure(ours / theirs, FASTER_THAN_PUBLISHED),
        "byte_ngrams_mb_per_second": figure(some_size / seconds(lambda: model.bits(some)) / 1e6),
        "strength_million_documents_per_second": figure(0.1 / seconds(lambda: predictive_strength(losses, ability))),
        "sign_cdf_million_documents_per_second": figure(0.1 / seconds(lambda: sign_cdf(losses, ability))),
        "spearman_million_documents_per_second": figure(0.1 / seconds(lambda: spearman(losses, ability))),
    }


def matched_pieces(corpora: tuple[list[str], list[str]], shortest: int, longest: int) -> list[list[str]]:
    """Cut one piece of each document, equally many of each length: in every quarter of an octave as many as both have.

    One, because pieces of one document would know each other across training and curve; from a random place, because
    beginnings (front matter, headings) tell a corpus by themselves.
    """
    random = np.random.default_rng(0)
    bins: list[dict[int, list[str]]] = []
    for texts in corpora:
        pieces: dict[int, list[str]] = {}
        for text in texts:
            size = int(np.exp(random.uniform(np.log(shortest), np.log(longest))))
            start = int(random.integers(max(len(text) - size, 0) + 1))
            piece = text[start : start + size]
            if len(piece) >= shortest:
                pieces.setdefault(int(4 * np.log2(len(piece))), []).append(piece)
        bins.append(pieces)
    classes: list[list[str]] = [[], []]
    for step in sorted(bins[0].keys() & bins[1].keys()):
        both = min(len(pieces[step]) for pieces in bins)
        for mine, pieces in zip(classes, bins, strict=True):
            mine += pieces[step][:both]
    return classes


def length(
    folder: Path, corpora: tuple[list[str], list[str]], shortest: int, longest: int, label: str
) -> dict[str, Any]:
    """Rank correlation of score and length, over both classes together and in each, and AUC, for every correction.

    Lengths (characters) are alike in both classes, so that length says nothing about the class; no document is in both
    training and test. In each class a longer piece shows more of what it is, so there a correlation may stay that is no
    bias.
    """
    train, test = (matched_pieces((corpora[0][half::2], corpora[1][half::2]), shortest, longest) for half in (0, 1))
    figures: dict[str, Any] = {f"{label}_pieces_tested": figure(2 * len(test[0]))}
    corrections: tuple[Literal["plain", "end-token", "centred"], ...] = ("plain", "end-token", "centred")
    for correction in corrections:
        name = correction.replace("-", "_")
        settings = ScorerSettings(dim=32, bucket=100_000, length=correction)
        report = train_scorer(*train, folder / "length.bin", settings)
        model = load_model(str(folder / "length.bin"))
        scores = [
            read_scores(model, POSITIVE, pa.array(pieces), WHOLE, report.curve, zero_end=settings.zero_end).astype(
                float
            )
            for pieces in test
        ]
        truth = np.arange(len(scores[0]) + len(scores[1])) < len(scores[0])
        area = area_under_curve(np.concatenate(scores), truth)
        figures[f"{label}_auc_{name}"] = figure(area)
        sizes = [np.array([float(len(piece)) for piece in pieces]) for pieces in test]
        both = correlation(np.concatenate(scores), np.concatenate(sizes))
        bound = None if correction == "plain" else LARGEST_LENGTH_CORRELATION
        figures[f"{label}_length_correlation_{name}"] = figure(abs(both), bound, least=False)
        for kind, mine, lengths in zip(("positives", "negatives"), scores, sizes, strict=True):
            figures[f"{label}_length_correlation_{name}_{kind}"] = figure(correlation(mine, lengths))
        if correction != "plain":
            lost = figures[f"{label}_auc_plain"]["value"] - area
            figures[f"{label}_auc_lost_by_{name}"] = figure(lost, LARGEST_AUC_LOSS, least=False)
    return figures


def correlation(values: np.ndarray, others: np.ndarray) -> float:
    """Return Spearman's rank correlation."""
    return float(np.corrcoef(*(ranks(each[None, :], "average")[0] for each in (values, others)))[0, 1])


def toxicity(folder: Path) -> tuple[dict[str, Any], list[tuple[str, int, float]]]:
    """Train on Davidson's tweets; AUC on held-out tweets, on Surge and on HateCheck, with its functionalities."""
    import zstandard

    with zstandard.open(DATA / "toxicity" / "hatecheck_surge_davidson_ldnoobw.tar.zst", "rb") as stream:
        data = stream.read()
    tables: dict[str, list[dict[str, str]]] = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            name = Path(member.name).name
            if name in ("labeled_data.csv", "toxicity_en.csv", "test_suite_cases.csv"):
                content = archive.extractfile(member)
                text = content.read().decode("utf-8") if content else ""
                tables[name] = list(csv.DictReader(io.StringIO(text, newline="")))
    # class 0 is hate, 1 offensive, 2 neither: hate and offence against neither, and hate alone for HateCheck
    tweets = [(plain_tweet(row["tweet"]), int(row["class"])) for row in tables["labeled_data.csv"]]
    order = np.random.default_rng(0).permutation(len(tweets))
    held_out, train = ([tweets[place] for place in part] for part in (order[:4000], order[4000:]))
    figures: dict[str, Any] = {}
    rows: list[tuple[str, int, float]] = []
    for name, wanted in (("toxic", (0, 1)), ("hate", (0,))):
        settings = ScorerSettings(lr=0.5, dim=32, bucket=100_000, epochs=10, held_out=0.05)
        path = folder / f"{name}.bin"
        train_scorer(
            [text for text, kind in train if kind in wanted],
            [text for text, kind in train if kind == 2],
            path,
            settings,
        )
        model = load_model(str(path))
        column = model.labels.index(POSITIVE)

        def scores(texts: list[str], model: Any = model, column: int = column) -> np.ndarray:
            return label_probabilities(model, pa.array(texts))[:, column].astype(float)

        mine = [(text, kind) for text, kind in held_out if kind in (*wanted, 2)]
        truth = np.array([kind in wanted for _, kind in mine])
        figures[f"{name}_auc_held_out"] = figure(area_under_curve(scores([text for text, _ in mine]), truth))
        surge = tables["toxicity_en.csv"]
        truth = np.array([row["is_toxic"] == "Toxic" for row in surge])
        figures[f"{name}_auc_surge"] = figure(area_under_curve(scores([row["text"] for row in surge]), truth))
        cases = tables["test_suite_cases.csv"]
        found = scores([row["test_case"] for row in cases])
        hateful = np.array([row["label_gold"] == "hateful" for row in cases])
        figures[f"{name}_auc_hatecheck"] = figure(area_under_curve(found, hateful))
        if name == "hate":
            kinds = np.array([row["functionality"] for row in cases])
            for kind in sorted(set(kinds)):
                here = kinds == kind
                # a functionality holds one class: its cases stand against all cases of the other
                against = hateful != hateful[here][0]
                both = here | against
                rows.append((kind, int(here.sum()), area_under_curve(found[both], hateful[both])))
    return figures, rows


def plain_tweet(text: str) -> str:
    """Return a tweet without names and links, which would tell its writer."""
    return re.sub(r"https?://\S+|@\w+:?|&\w+;|&#\d+;", " ", text)


def figure(value: float, floor: float | None = None, *, least: bool = True) -> dict[str, Any]:
    """Return a figure beside the bound it must keep: at least ``floor``, or at most."""
    return {"value": value, "floor": floor, "ok": floor is None or (value >= floor if least else value <= floor)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a fifth of the text")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    options = parser.parse_args()
    if not (DATA / "corpora").is_dir():
        print(f"selection: {DATA} is not there; nothing measured")
        return
    found = corpora(600_000 if options.quick else 3_000_000)
    figures = speeds([text for texts in found.values() for text in texts])
    whole = corpora(10**9)
    with tempfile.TemporaryDirectory(prefix="tilth-benchmark-") as name:
        # as long as documents are after rules of fifty words or more, and fragments that no rule would leave
        for shortest, longest, kind in ((300, 6000, "documents"), (20, 2000, "fragments")):
            for one, other in (("encyclopedia", "techdocs"), ("science", "biomedical")):
                label = f"{kind}_{one}_{other}"
                figures |= length(Path(name), (whole[one], whole[other]), shortest, longest, label)
        more, rows = toxicity(Path(name))
    figures |= more
    for key, each in figures.items():
        bound = "" if each["floor"] is None else f"   bound {each['floor']:g}{'' if each['ok'] else '   MISSED'}"
        print(f"{key.replace('_', ' '):68}{each['value']:12.4g}{bound}")
    print("\nHateCheck by functionality (classifier of hate; AUC against all cases of the other class)")
    for kind, count, auc in rows:
        print(f"{kind:40}{count:6}{auc:12.3f}")
    ok = all(each["ok"] for each in figures.values())
    if options.json:
        machine = f"{platform.processor() or platform.machine()}, Python {platform.python_version()}"
        print(
            json.dumps({"benchmark": "selection", "machine": machine, "figures": figures, "hatecheck": rows, "ok": ok})
        )
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
