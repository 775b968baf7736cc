"""The score as a stage: a signal that follows from the text, the model's content and nothing else."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tilth.corpus.document import documents
from tilth.corpus.errors import UserError
from tilth.corpus.stage import Asset, fingerprint
from tilth.corpus.store import file_digest
from tilth.filters.fasttext_model import label_probabilities, load_model
from tilth.filters.score import Score, verified_model
from tilth.selection.scorer import NEGATIVE, POSITIVE, ScorerSettings, train_scorer

TEXTS = ["the law of the land", "a proof\nof the theorem", "", "law law law\n\nlaw", "größe"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Asset:
    path = tmp_path_factory.mktemp("score") / "quality.bin"
    positive, negative = ([f"{word} of case {number}" for number in range(40)] for word in ("proof", "law"))
    report = train_scorer(positive, negative, path, ScorerSettings(dim=8, bucket=500))
    return Asset(str(path), report.digest)


def batch(texts: list[str]) -> pa.RecordBatch:
    ids = [number.to_bytes(16, "big") for number in range(len(texts))]
    return documents({"id": ids, "text": texts, "source": ["test"] * len(texts)})


def test_every_document_goes_on_and_is_measured(model: Asset) -> None:
    given = batch(TEXTS)
    outcome = Score("quality", model, POSITIVE).apply(given)
    assert outcome.kept.equals(given)
    assert outcome.drops.num_rows == 0
    signal = outcome.signals["quality"]
    assert len(signal) == len(TEXTS)
    assert signal.type == pa.float32()
    assert 0 <= min(signal.to_pylist()) <= max(signal.to_pylist()) <= 1


def test_the_signal_is_the_named_labels_probability(model: Asset) -> None:
    loaded = load_model(model.path)
    expected = label_probabilities(loaded, pa.array(TEXTS))
    for label in (POSITIVE, NEGATIVE):
        signal = Score("quality", model, label).apply(batch(TEXTS)).signals["quality"]
        np.testing.assert_array_equal(signal.to_numpy(), expected[:, loaded.labels.index(label)])


def test_a_newline_is_a_space(model: Asset) -> None:
    stage = Score("quality", model, POSITIVE)
    lines, spaces = (
        stage.apply(batch(texts)).signals["quality"]
        for texts in (["a proof\nof law\n\n", "\nlaw"], ["a proof of law  ", " law"])
    )
    assert lines.equals(spaces)


def test_a_zeroed_end_changes_the_score_and_the_fingerprint(model: Asset) -> None:
    plain, zeroed = (Score("quality", model, POSITIVE, zero_end=zero_end) for zero_end in (False, True))
    assert not plain.apply(batch(TEXTS)).signals["quality"].equals(zeroed.apply(batch(TEXTS)).signals["quality"])
    assert fingerprint(plain) != fingerprint(zeroed)


def test_the_fingerprint_follows_the_models_content_not_its_place(model: Asset) -> None:
    moved = Score("quality", Asset("elsewhere.bin", model.digest), POSITIVE)
    assert fingerprint(moved) == fingerprint(Score("quality", model, POSITIVE))
    other = Score("quality", Asset(model.path, "0" * 32), POSITIVE)
    assert fingerprint(other) != fingerprint(moved)


def test_a_changed_model_is_refused(model: Asset, tmp_path: Path) -> None:
    copy = tmp_path / "copy.bin"
    copy.write_bytes(Path(model.path).read_bytes())
    stage = Score("quality", Asset(str(copy), file_digest(copy)), POSITIVE)
    stage.apply(batch(TEXTS))
    verified_model.cache_clear()  # a new process
    changed = bytearray(copy.read_bytes())
    changed[-1] ^= 1
    copy.write_bytes(changed)
    with pytest.raises(UserError, match=r"copy\.bin: digest is .*, expected .*the model was changed"):
        stage.apply(batch(TEXTS))


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.bin: can't be read \(No such file"):
        Score("quality", Asset(str(tmp_path / "gone.bin"), "0" * 32), POSITIVE).apply(batch(TEXTS))


def test_an_unknown_label_is_answered_with_the_models_labels(model: Asset) -> None:
    with pytest.raises(UserError, match=r"label 'hq' of quality is not in the model; it has .*__label__positive"):
        Score("quality", model, "hq").apply(batch(TEXTS))


def test_a_model_is_loaded_once_a_process(model: Asset) -> None:
    verified_model.cache_clear()
    stage = Score("quality", model, POSITIVE)
    for _ in range(3):
        stage.apply(batch(TEXTS))
    assert verified_model.cache_info().misses == 1
