"""The rivals as stages: one signal each, every document goes on, and nothing but the recipe decides."""

import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tilth.corpus.document import document_id, documents
from tilth.corpus.errors import UserError
from tilth.corpus.stage import Asset, MapStage, fingerprint
from tilth.corpus.store import file_digest
from tilth.selection.byte_ngrams import train_bytes
from tilth.selection.hashed_ngrams import gumbel, log_ratio, log_weights, ngram_counts
from tilth.selection.rivals import BitsPerByte, ImportanceWeight, RandomDraw, Size

TEXTS = ["rain on the field", "", "worm worm worm worm worm worm", "größe \n und mehr"]


def batch(texts: list[str]) -> pa.RecordBatch:
    ids = [document_id("test", str(number)) for number in range(len(texts))]
    return documents({"id": ids, "text": texts, "source": ["test"] * len(texts)})


def asset(path: Path) -> Asset:
    return Asset(str(path), file_digest(path))


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, MapStage]:
    folder = tmp_path_factory.mktemp("rivals")
    counts = ngram_counts(pa.array(TEXTS[:1])), ngram_counts(pa.array(TEXTS))
    np.save(folder / "ratio.npy", log_ratio(*counts))
    train_bytes([pa.array(TEXTS[:1])]).save(folder / "model.npz")
    return {
        "random": RandomDraw("random", 3),
        "length": Size("length", "length"),
        "compression": Size("compression", "compression"),
        "dsir": ImportanceWeight("dsir", asset(folder / "ratio.npy"), 5),
        "perplexity": BitsPerByte("perplexity", asset(folder / "model.npz")),
    }


@pytest.mark.parametrize("name", ["random", "length", "compression", "dsir", "perplexity"])
def test_every_rival_measures_one_finite_number_a_document(stages: dict[str, MapStage], name: str) -> None:
    stage, given = stages[name], batch(TEXTS)
    outcome = stage.apply(given)
    assert outcome.kept.num_rows == len(TEXTS)
    assert outcome.drops.num_rows == 0
    assert list(outcome.signals) == list(stage.measures) == [name]
    values = outcome.signals[name].to_numpy()
    assert np.isfinite(values).all()
    apart = [stage.apply(given.slice(place, 1)).signals[name][0].as_py() for place in range(len(TEXTS))]
    assert values.tolist() == apart


def test_sizes_are_bytes_and_zlibs(stages: dict[str, MapStage]) -> None:
    sizes = [len(text.encode()) for text in TEXTS]
    assert stages["length"].apply(batch(TEXTS)).signals["length"].to_pylist() == sizes
    packed = [len(zlib.compress(text.encode(), 1)) for text in TEXTS]
    expected = [packed[0] / sizes[0], 1.0, packed[2] / sizes[2], packed[3] / sizes[3]]
    assert stages["compression"].apply(batch(TEXTS)).signals["compression"].to_pylist() == expected


def test_an_importance_weight_is_weight_plus_noise(stages: dict[str, MapStage]) -> None:
    stage, given = stages["dsir"], batch(TEXTS)
    weights = log_weights(given.column("text"), np.load(stage.ratio.path))
    found = stage.apply(given).signals["dsir"].to_numpy()
    np.testing.assert_allclose(found, weights + gumbel(given.column("id"), 5))
    plain = ImportanceWeight("dsir", stage.ratio, 5, noise=False).apply(given).signals["dsir"].to_numpy()
    assert plain.tolist() == weights.tolist()


def test_another_seed_is_another_draw_and_another_fingerprint(stages: dict[str, MapStage]) -> None:
    one, other = RandomDraw("random", 3), RandomDraw("random", 4)
    assert fingerprint(one) != fingerprint(other)
    assert one.apply(batch(TEXTS)).signals["random"] != other.apply(batch(TEXTS)).signals["random"]


def test_a_changed_or_foreign_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ratio.npy"
    np.save(path, np.zeros(10_000))
    with pytest.raises(UserError, match="it was changed"):
        ImportanceWeight("dsir", Asset(str(path), "0" * 32), 1).apply(batch(TEXTS))
    path.write_bytes(b"none")
    for stage in (ImportanceWeight("dsir", asset(path), 1), BitsPerByte("perplexity", asset(path))):
        with pytest.raises(UserError, match=r"ratio\.npy: not a"):
            stage.apply(batch(TEXTS))
    np.save(path, np.array([np.nan]))
    with pytest.raises(UserError, match="expected 10000 finite float64"):
        ImportanceWeight("dsir", asset(path), 1).apply(batch(TEXTS))
