"""Training a scorer: reproducible to the byte, on the very tokens that scoring reads."""

import ctypes
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilth.corpus.errors import UserError
from tilth.corpus.store import file_digest
from tilth.filters.fasttext_kernel import one_line
from tilth.filters.fasttext_model import load_model
from tilth.selection import scorer
from tilth.selection.scorer import (
    ClassCounts,
    ScorerSettings,
    area_under_curve,
    average_precision,
    calibration,
    train_scorer,
    training_line,
)

SMALL = ScorerSettings(dim=8, bucket=2000, held_out=0.25)
GOOD = [f"theorem {number} follows from lemma {number * 7 % 11} by induction" for number in range(80)]
BAD = [f"buy {number} cheap offers\nclick here {number * 3 % 13} now" for number in range(60)]


def dirty_the_heap() -> None:
    """Leave freed memory full of ones, in blocks as large as a small model's matrices."""
    libc = ctypes.CDLL(None)
    libc.malloc.argtypes, libc.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
    libc.free.argtypes = [ctypes.c_void_p]
    blocks = [libc.malloc(100_000) for _ in range(200)]
    for block in blocks:
        ctypes.memset(block, 0xFF, 100_000)
    for block in blocks:
        libc.free(block)


def test_a_training_is_reproducible_to_the_byte_whatever_was_in_memory(tmp_path: Path) -> None:
    digests = set()
    for name in "abc":
        report = train_scorer(GOOD, BAD, tmp_path / f"{name}.bin", SMALL)
        assert report.digest == file_digest(tmp_path / f"{name}.bin")
        digests.add(report.digest)
        dirty_the_heap()
    assert len(digests) == 1


def test_the_order_of_the_examples_does_not_matter(tmp_path: Path) -> None:
    forward = train_scorer(GOOD, BAD, tmp_path / "forward.bin", SMALL)
    backward = train_scorer(reversed(GOOD), iter(BAD[::-1]), tmp_path / "backward.bin", SMALL)
    assert forward == backward


def test_another_seed_gives_another_model(tmp_path: Path) -> None:
    settings = [ScorerSettings(dim=8, bucket=2000, seed=seed) for seed in range(3)]
    assert len({train_scorer(GOOD, BAD, tmp_path / "model.bin", each).digest for each in settings}) == 3


def test_classes_are_balanced_and_repeats_count_once(tmp_path: Path) -> None:
    report = train_scorer(GOOD + GOOD[:50], BAD * 2, tmp_path / "model.bin", SMALL)
    assert report.positive == ClassCounts(given=130, train=45, held_out=15)
    assert report.negative == ClassCounts(given=120, train=45, held_out=15)


def test_a_text_of_both_classes_is_used_in_neither(tmp_path: Path) -> None:
    both = ["seen by both, good for nothing", "and another"]
    report = train_scorer(GOOD + both, [*BAD, *both], tmp_path / "model.bin", SMALL)
    assert report.ambiguous == 2
    assert report.digest == train_scorer(GOOD, BAD, tmp_path / "model.bin", SMALL).digest


def test_no_held_out_text_is_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[bytes] = []
    fit = scorer.fit
    monkeypatch.setattr(scorer, "fit", lambda lines, *rest: fit(trained.extend(lines := list(lines)) or lines, *rest))
    scored: list[str] = []
    measure = scorer.read_scores
    monkeypatch.setattr(
        scorer,
        "read_scores",
        lambda model, label, text, *rest, **more: (
            scored.extend(text.to_pylist()) or measure(model, label, text, *rest, **more)
        ),
    )
    train_scorer(GOOD, BAD, tmp_path / "model.bin", SMALL)
    assert len(trained) == 90
    assert len(scored) == 30
    held_out = {training_line(label, each.encode()) for each in scored for label in (scorer.POSITIVE, scorer.NEGATIVE)}
    assert not held_out & set(trained)


def test_a_scorer_learns_what_sets_the_classes_apart(tmp_path: Path) -> None:
    report = train_scorer(GOOD, BAD, tmp_path / "model.bin", ScorerSettings(dim=8, bucket=2000, epochs=20, lr=0.5))
    assert report.auc == 1
    assert report.average_precision == 1
    assert sum(each.count for each in report.calibration) == report.positive.held_out + report.negative.held_out


def test_label_words_and_newlines_in_a_text_found_no_class(tmp_path: Path) -> None:
    spoiled = [f"{each}\n__label__spam __label__negative and more" for each in GOOD]
    train_scorer(spoiled, BAD, tmp_path / "model.bin", SMALL)
    assert set(load_model(str(tmp_path / "model.bin")).labels) == {scorer.POSITIVE, scorer.NEGATIVE}


TOKENS = st.sampled_from(["a", "__label__x", "x__label__", "</s>", "__label", "\n", "\0", "größe", "__label__"])


@given(st.one_of(st.text(), st.lists(TOKENS).map(" ".join), st.lists(TOKENS).map("".join)))
def test_training_reads_the_words_that_scoring_reads(text: str) -> None:
    line = training_line(scorer.POSITIVE, text.encode())
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    normalised = one_line(np.frombuffer(text.encode(), np.uint8)).tobytes().replace(b"\0", b" ")
    words = [word for word in normalised.split() if not word.startswith(b"__label__")]  # scoring passes over labels
    assert line.replace(b"\0", b" ").split() == [scorer.POSITIVE.encode(), *words]


@pytest.mark.parametrize(
    ("positive", "negative", "complaint"),
    [
        ([], BAD, "positive examples: found 0 distinct texts"),
        (GOOD, [], "negative examples: found 0 distinct texts"),
        (GOOD[:1] * 9, BAD, "positive examples: found 1 distinct texts"),
        (GOOD, GOOD, "positive examples: found 0 distinct texts of this class alone"),
        (["\ud800"], BAD, "example 1 is not Unicode"),
    ],
)
def test_a_class_without_examples_is_refused(
    tmp_path: Path, positive: list[str], negative: list[str], complaint: str
) -> None:
    with pytest.raises(UserError, match=complaint):
        train_scorer(positive, negative, tmp_path / "model.bin", SMALL)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"dim": 0},
        {"word_ngrams": 0},
        {"epochs": -1},
        {"bucket": 0},
        {"min_count": 0},
        {"lr": 0.0},
        {"lr": float("nan")},
        {"held_out": 0.0},
        {"held_out": 1.0},
        {"examples": 1},
        {"seed": -1},
    ],
)
def test_a_setting_out_of_range_is_named(tmp_path: Path, wrong: dict[str, float]) -> None:
    with pytest.raises(UserError, match=f"scorer: {next(iter(wrong))}: found"):
        train_scorer(GOOD, BAD, tmp_path / "model.bin", ScorerSettings(**wrong))


def test_a_training_that_diverges_leaves_no_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="lower lr"):
        train_scorer(GOOD, BAD, tmp_path / "model.bin", ScorerSettings(dim=8, bucket=2000, lr=1e30))
    assert list(tmp_path.iterdir()) == []


def test_the_model_is_all_that_is_left_behind(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    train_scorer(GOOD, BAD, tmp_path / "model.bin", SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["model.bin"]
    assert capfd.readouterr() == ("", "")


def test_the_sample_is_the_same_however_large_the_stream(tmp_path: Path) -> None:
    few = ScorerSettings(dim=8, bucket=2000, examples=20)
    report = train_scorer(GOOD, BAD, tmp_path / "model.bin", few)
    assert report.positive == ClassCounts(given=80, train=18, held_out=2)
    assert report.digest == train_scorer(GOOD[::-1], BAD[::-1], tmp_path / "model.bin", few).digest


scored = st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.5, 0.55, 1.0]), st.booleans()), min_size=2).filter(
    lambda rows: len({truth for _, truth in rows}) == 2
)


@given(scored)
def test_the_area_under_the_curve_is_the_share_of_pairs_in_order(rows: list[tuple[float, bool]]) -> None:
    pairs = [(good > bad) + (good == bad) / 2 for good, is_good in rows for bad, other in rows if is_good and not other]
    scores, truth = (np.array(column) for column in zip(*rows, strict=True))
    assert area_under_curve(scores, truth) == pytest.approx(sum(pairs) / len(pairs))


@given(scored)
def test_average_precision_is_the_area_of_the_steps_of_recall(rows: list[tuple[float, bool]]) -> None:
    expected, recall = 0.0, 0.0
    for limit in sorted({score for score, _ in rows}, reverse=True):
        above = [truth for score, truth in rows if score >= limit]
        step = sum(above) / sum(truth for _, truth in rows)
        expected += (step - recall) * sum(above) / len(above)
        recall = step
    scores, truth = (np.array(column) for column in zip(*rows, strict=True))
    assert average_precision(scores, truth) == pytest.approx(expected)


def test_calibration_counts_every_text_once_and_the_highest_score_too() -> None:
    bins = calibration(np.array([0.0, 0.05, 0.1, 0.95, 1.0]), np.array([False, True, True, True, True]))
    assert [(each.low, each.high, each.count) for each in bins] == [(0.0, 0.1, 2), (0.1, 0.2, 1), (0.9, 1.0, 2)]
    assert bins[0].positive_share == 0.5
    assert bins[2].mean_score == pytest.approx(0.975)


def test_a_length_curve_is_learned_from_texts_that_their_model_never_saw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known: list[set[str]] = []
    scored: list[str] = []
    fit, measure = scorer.fit, scorer.label_probabilities

    def remembered(lines: Any, *rest: Any) -> None:
        kept = list(lines)
        known.append({line.decode().split(" ", 1)[1].strip() for line in kept})
        fit(kept, *rest)

    def measured(model: Any, text: pa.Array, **rest: Any) -> Any:
        assert known[-1].isdisjoint(one.strip() for one in text.to_pylist())
        scored.extend(one.strip() for one in text.to_pylist())
        return measure(model, text, **rest)

    monkeypatch.setattr(scorer, "fit", remembered)
    monkeypatch.setattr(scorer, "label_probabilities", measured)
    settings = dataclasses.replace(SMALL, length="centred")
    report = train_scorer(GOOD, BAD, tmp_path / "model.bin", settings)
    assert len(known) == 1 + scorer.FOLDS
    assert sorted(scored) == sorted(known[0])  # every training text once, no held-out one
    again = train_scorer(GOOD[::-1], BAD[::-1], tmp_path / "again.bin", settings)
    assert report.curve == again.curve is not None


def test_a_length_curve_of_a_few_texts_is_refused(tmp_path: Path) -> None:
    settings = dataclasses.replace(SMALL, length="centred")
    with pytest.raises(UserError, match=r"length: centred: found .* texts of a class to train on, expected at"):
        train_scorer(GOOD[:15], BAD[:15], tmp_path / "model.bin", settings)
