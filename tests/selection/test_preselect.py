"""From losses to a scorer: samples that leave the pool, labels that balance, tables that say what they lack."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilth.corpus.document import document_id, documents
from tilth.corpus.errors import UserError
from tilth.filters.fasttext_capsule import open_capsule
from tilth.filters.score import Score
from tilth.selection.labels import projected_labels, strength_labels
from tilth.selection.losses import Losses, read_losses, write_losses
from tilth.selection.preselect import PredictiveSettings, fit_predictive
from tilth.selection.sample import RULE, Sample
from tilth.selection.scorer import ScorerSettings
from tilth.selection.strength import predictive_strength

ABILITY = {"tiny": 0.1, "small": 0.2, "base": 0.3, "large": 0.4}
MODELS = sorted(ABILITY)
SMALL = ScorerSettings(dim=4, bucket=500, length="end-token")


def scored(count: int = 120, *, seed: int = 0) -> tuple[pa.Table, Losses]:
    """Half the documents are of law and tell the models apart; the others are adverts with losses at random."""
    random = np.random.default_rng(seed)
    texts = [
        f"theorem {number} follows by induction" if number % 2 else f"buy {number} cheap offers now"
        for number in range(count)
    ]
    ids = [document_id("web", str(number)) for number in range(count)]
    table = pa.Table.from_batches([documents({"id": ids, "text": texts, "source": ["web", "law"] * (count // 2)})])
    inability = np.array([-ABILITY[name] for name in MODELS])
    values = np.where(np.arange(count)[:, None] % 2, 2 + inability, random.normal(2, 0.2, (count, len(MODELS))))
    return table, Losses(tuple(MODELS), table.column("id").combine_chunks(), values)


def test_a_scorer_learns_which_documents_tell_models_apart(tmp_path: Path) -> None:
    table, losses = scored()
    report = fit_predictive(tmp_path, table, losses, ABILITY, PredictiveSettings(SMALL))
    assert report.positive.train == report.negative.train > 20
    capsule = open_capsule(tmp_path, "")
    assert capsule.zero_end
    score = Score.of("quality", capsule).apply(table.combine_chunks().to_batches()[0]).signals["quality"].to_numpy()
    assert score[1::2].mean() > score[::2].mean()
    told = json.loads((tmp_path / "report.json").read_text())
    assert [name for name, _ in told["predictive"]["ladder"]] == ["tiny", "small", "base", "large"]
    labels = pq.read_table(tmp_path / "strength.parquet")
    assert labels.num_rows == 120
    assert labels.filter(labels.column("label").to_numpy() == 1).column("estimate").to_numpy().min() == 1.0


def test_the_same_losses_give_the_same_capsule_in_any_order(tmp_path: Path) -> None:
    table, losses = scored()
    turned = Losses(losses.models[::-1], losses.ids[::-1], losses.values[::-1, ::-1])
    digests = []
    for name, found in (("a", losses), ("b", turned)):
        (tmp_path / name).mkdir()
        digests.append(fit_predictive(tmp_path / name, table, found, ABILITY, PredictiveSettings(SMALL)).digest)
    assert digests[0] == digests[1]


@pytest.mark.parametrize("estimator", ["sign_sign", "sign_cdf", "spearman"])
@pytest.mark.parametrize("level", ["page", "source"])
def test_projections_include_what_correlates(tmp_path: Path, estimator: str, level: str) -> None:
    table, losses = scored()
    fit_predictive(tmp_path, table, losses, ABILITY, PredictiveSettings(SMALL, estimator, level, keep=0.4))
    labels = pq.read_table(tmp_path / "strength.parquet").to_pylist()
    included = [row for row in labels if row["label"] == 1]
    assert included
    assert np.mean([row["source"] == "law" for row in included]) > 0.8


def test_a_ladder_of_two_models_is_refused(tmp_path: Path) -> None:
    table, losses = scored()
    with pytest.raises(UserError, match="found 2 models, expected at least 3"):
        fit_predictive(tmp_path, table, losses, {"tiny": 1.0, "small": 2.0}, PredictiveSettings(SMALL))


def test_losses_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    table, losses = scored()
    losses.values[3, 1] = np.nan
    with pytest.raises(UserError, match="1 of 120 documents have a loss that is not finite"):
        fit_predictive(tmp_path, table, losses, ABILITY, PredictiveSettings(SMALL))


def test_missing_models_documents_and_classes_are_each_one_line(tmp_path: Path) -> None:
    table, losses = scored()
    with pytest.raises(UserError, match="model 'huge' not found; the table has base, large, small, tiny"):
        fit_predictive(tmp_path, table, losses, ABILITY | {"huge": 1.0}, PredictiveSettings(SMALL))
    strangers = pa.array([bytes([7]) * 16], pa.binary(16))
    with pytest.raises(UserError, match="none of the 120 sampled documents is among the 1 of the table"):
        fit_predictive(
            tmp_path, table, Losses(losses.models, strangers, losses.values[:1]), ABILITY, PredictiveSettings(SMALL)
        )
    same = Losses(losses.models, losses.ids, np.tile(losses.values[1], (120, 1)))
    with pytest.raises(UserError, match="all 120 documents have S = 1"):
        fit_predictive(tmp_path, table, same, ABILITY, PredictiveSettings(SMALL))
    turned = Losses(losses.models, losses.ids, -np.tile(losses.values[1], (120, 1)))
    with pytest.raises(UserError, match="no document orders all models as their ability"):
        fit_predictive(tmp_path, table, turned, ABILITY, PredictiveSettings(SMALL))
    few, some = scored(8)
    with pytest.raises(UserError, match="documents of 8, expected at least 10 to learn from"):
        fit_predictive(tmp_path, few, some, ABILITY, PredictiveSettings(SMALL))


@given(st.lists(st.sampled_from([0.0, 0.3, 0.5, 1.0]), min_size=2, max_size=30), st.integers(1, 20))
def test_labels_are_balanced_perfect_against_lowest(values: list[float], most: int) -> None:
    strength = np.array(values)
    ids = pa.array([bytes([number]) * 16 for number in range(len(values))], pa.binary(16))
    if not 0 < (strength == 1).sum() < len(values):
        with pytest.raises(UserError):
            strength_labels(strength, ids, most)
        return
    labels = strength_labels(strength, ids, most)
    size = min((strength == 1).sum(), (strength < 1).sum(), most)
    assert (labels == 1).sum() == (labels == 0).sum() == size
    assert (strength[labels == 1] == 1).all()
    left = strength[(labels == -1) & (strength < 1)]
    assert not len(left) or strength[labels == 0].max() <= left.min()


def test_the_two_projections_include_what_they_give_a_share() -> None:
    estimates, sizes = np.array([0.9, 0.5, -0.8]), np.ones(3)
    assert projected_labels(estimates, sizes, 0.3).tolist() == [1, 0, 0]
    assert projected_labels(estimates, sizes, 0.3, "l2").tolist() == [1, 1, 0]


def test_the_projection_that_includes_everything_is_refused() -> None:
    with pytest.raises(UserError, match="includes everything"):
        projected_labels(np.array([0.1, 0.2]), np.array([1, 1]), 1.0)


# the sample


def test_a_sample_leaves_the_pool_with_its_reason() -> None:
    ids = [document_id("web", str(number)) for number in range(300)]
    batch = documents({"id": ids, "text": ["x"] * 300, "source": ["web", "law", "other"] * 100})
    outcome = Sample("sample", (("law", 0.2), ("web", 0.1)), 7).apply(batch)
    assert outcome.kept.num_rows + outcome.drops.num_rows == 300
    drops = outcome.drops.to_pylist()
    assert {drop["rule"] for drop in drops} == {RULE}
    assert {drop["source"] for drop in drops} == {"law", "web"}
    assert all(drop["value"] <= drop["limit"] for drop in drops)
    again = Sample("sample", (("law", 0.2), ("web", 0.1)), 7).apply(batch.slice(100))
    assert set(again.drops.column("id").to_pylist()) <= set(outcome.drops.column("id").to_pylist())


# tables of losses


def test_a_table_comes_back_as_it_was_written(tmp_path: Path) -> None:
    table, losses = scored(20)
    columns = {name: losses.values[:, place] for place, name in enumerate(losses.models)}
    write_losses(tmp_path / "losses.parquet", losses.ids, columns)
    found = read_losses(tmp_path / "losses.parquet")
    assert found.models == losses.models
    assert found.ids.equals(losses.ids)
    rows, values = found.of(["tiny", "base"], table.column("id").combine_chunks())
    assert rows.tolist() == list(range(20))
    np.testing.assert_array_equal(values, losses.values[:, [3, 0]])
    assert predictive_strength(found.values, np.array([ABILITY[name] for name in found.models])).shape == (20,)


def test_a_users_own_ids_are_found_by_source(tmp_path: Path) -> None:
    columns = {"id": ["0", "1"], "source": ["web", "web"], "m": [1.0, 2.0], "note": ["a", "b"]}
    pq.write_table(pa.table(columns), tmp_path / "losses.parquet")
    found = read_losses(tmp_path / "losses.parquet")
    assert found.models == ("m",)
    assert found.ids.to_pylist() == [document_id("web", "0"), document_id("web", "1")]


@pytest.mark.parametrize(
    ("columns", "complaint"),
    [
        ({"name": ["a"], "m": [1.0]}, "column 'id' not found; columns are name, m"),
        ({"id": ["00" * 16], "m": ["low"]}, "no column of numbers found"),
        ({"id": ["short"], "m": [1.0]}, "holds 'short', expected 32 hex digits"),
        ({"id": ["00" * 16] * 2, "m": [1.0, 2.0]}, "a document stands in it twice"),
    ],
)
def test_tables_that_lack_something_are_one_clear_line(
    tmp_path: Path, columns: dict[str, list[object]], complaint: str
) -> None:
    pq.write_table(pa.table(columns), tmp_path / "losses.parquet")
    with pytest.raises(UserError, match=complaint) as caught:
        read_losses(tmp_path / "losses.parquet")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such table of losses"):
        read_losses(tmp_path / "gone.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(UserError, match="not a Parquet table"):
        read_losses(tmp_path / "bad.parquet")
