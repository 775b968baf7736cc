"""A capsule scores as it was trained to, or it does not score."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tilth.corpus.document import document_id, documents
from tilth.corpus.errors import UserError
from tilth.corpus.stage import Asset
from tilth.corpus.store import file_digest
from tilth.filters.fasttext_capsule import CAPSULE, MODEL, NORMALISER, Capsule, open_capsule, write_capsule
from tilth.filters.fasttext_reading import Reading
from tilth.filters.length_curve import LengthCurve
from tilth.filters.score import Score
from tilth.selection.scorer import NEGATIVE, POSITIVE, ScorerSettings, train_scorer

GOOD = [f"lemma {number} follows\n\nfrom theorem {number * 3}" for number in range(40)]
BAD = [f"buy {number} offers\n\nnow and {number * 7}" for number in range(40)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    report = train_scorer(GOOD, BAD, tmp_path / MODEL, ScorerSettings(dim=4, bucket=500, first_bytes=40))
    capsule = Capsule(
        Asset(str(tmp_path / MODEL), report.digest),
        POSITIVE,
        (POSITIVE, NEGATIVE),
        zero_end=True,
        reading=Reading(first_bytes=40),
        training=report.training,
    )
    write_capsule(tmp_path, capsule)
    return tmp_path


def batch(texts: list[str]) -> pa.RecordBatch:
    ids = [document_id("test", str(number)) for number in range(len(texts))]
    return documents({"id": ids, "text": texts, "source": ["test"] * len(texts)})


def test_a_capsule_comes_back_as_it_was_written(folder: Path) -> None:
    capsule = open_capsule(folder, "ignored")
    assert (capsule.label, capsule.zero_end, capsule.reading) == (POSITIVE, True, Reading(first_bytes=40))
    assert capsule.normaliser == NORMALISER
    assert len(capsule.training) == 32
    signal = Score.of("quality", capsule).apply(batch(GOOD)).signals["quality"]
    expected = Score("quality", capsule.model, POSITIVE, True, Reading(40)).apply(batch(GOOD)).signals["quality"]
    assert signal.equals(expected)


def test_a_capsule_scores_less_what_its_curve_says_of_the_length_it_reads(folder: Path) -> None:
    plain = open_capsule(folder, "")
    write_capsule(folder, dataclasses.replace(plain, curve=LengthCurve((2.0, 4.0), (-0.5, 1.5))))
    found = open_capsule(folder, "")
    assert found.curve == LengthCurve((2.0, 4.0), (-0.5, 1.5))
    texts = ["lemma 7", "lemma 7 follows from theorem 21 and more that is not read"]
    before, after = (
        Score.of("quality", capsule).apply(batch(texts)).signals["quality"].to_numpy() for capsule in (plain, found)
    )
    shift = np.log(before / (1 - before)) - np.log(after / (1 - after))
    read = [len(texts[0]), len("lemma 7 follows from theorem 21 and more")]
    np.testing.assert_allclose(shift, found.curve.at(np.array(read)), atol=1e-5)


def test_the_first_bytes_are_all_that_counts(folder: Path) -> None:
    stage = Score.of("quality", open_capsule(folder, ""))
    same = "lemma 7 follows from theorem 21 and more "
    one, other = stage.apply(batch([same + "good", same + "buy cheap offers"])).signals["quality"].to_pylist()
    assert one == other


def test_paragraphs_are_scored_one_by_one(folder: Path) -> None:
    capsule = open_capsule(folder, "")
    whole = Score("quality", capsule.model, POSITIVE)
    parted = Score("quality", capsule.model, POSITIVE, reading=Reading(paragraphs=True))
    first, second = "lemma 7 follows", "buy 8 offers now"
    scores = whole.apply(batch([first, second])).signals["quality"].to_numpy().astype(float)
    found = parted.apply(batch([f"{first}\n\n\n{second}\n", first])).signals["quality"].to_pylist()
    sizes = [len(first), len(second)]
    assert found[0] == pytest.approx((scores @ sizes) / sum(sizes), abs=1e-6)
    assert found[1] == pytest.approx(scores[0], abs=1e-6)


def test_another_normaliser_is_refused(folder: Path) -> None:
    data = json.loads((folder / CAPSULE).read_text())
    (folder / CAPSULE).write_text(json.dumps(data | {"normaliser": "newlines-removed@1"}))
    with pytest.raises(UserError, match=r"trained with text normaliser 'newlines-removed@1', expected"):
        open_capsule(folder, "")
    with pytest.raises(UserError, match=r"text normaliser 'lower-case@1'"):
        Score("quality", Asset("m.bin", "0" * 32), POSITIVE, normaliser="lower-case@1")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"format": 9}, "format 9, expected 2"),
        ({"label": "__label__other"}, "is not among its labels"),
        ({"model": "0" * 32}, "the model was changed"),
        ({"reading": {"words": 3}}, "not a capsule"),
        ({"reading": None}, "not a capsule"),
        (
            {"length_curve": {"log_bytes": [3.0, 2.0], "log_odds": [0.0, 0.0]}},
            r"capsule\.json: length curve: found knots",
        ),
        ({"length_curve": {"log_bytes": [3.0], "log_odds": ["0.1"]}}, "length curve: found knots"),
        ({"length_curve": {"log_bytes": [3.0]}}, "not a capsule"),
        ({"length_curve": [3.0]}, "not a capsule"),
    ],
)
def test_a_damaged_capsule_is_one_clear_line(folder: Path, change: dict[str, object], complaint: str) -> None:
    data = json.loads((folder / CAPSULE).read_text())
    (folder / CAPSULE).write_text(json.dumps(data | change))
    with pytest.raises(UserError, match=complaint) as caught:
        open_capsule(folder, "")
    assert "\n" not in str(caught.value)


def test_what_is_missing_is_named(folder: Path, tmp_path: Path) -> None:
    (folder / MODEL).unlink()
    with pytest.raises(UserError, match=r"model\.bin: not found"):
        open_capsule(folder, "")
    (folder / CAPSULE).write_text("{")
    with pytest.raises(UserError, match=r"capsule\.json: not a capsule"):
        open_capsule(folder, "")
    with pytest.raises(UserError, match=r"gone: model not found"):
        open_capsule(tmp_path / "gone", "")


def test_a_bare_model_is_read_as_the_library_reads_it(folder: Path) -> None:
    capsule = open_capsule(folder / MODEL, NEGATIVE)
    assert capsule == Capsule(Asset(str(folder / MODEL), file_digest(folder / MODEL)), NEGATIVE, ())
