"""Applying rules drops what they refuse, says why, and needs no text for it."""

import math
import pickle

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilth.corpus.document import document_id, documents
from tilth.corpus.errors import UserError
from tilth.corpus.ledger import Account
from tilth.corpus.stage import Effect, fingerprint
from tilth.filters.apply_rules import ApplyRules
from tilth.filters.rules import preset

GOPHER = preset("gopher.datatrove@1")
GOOD = [100.0, 5.0, 0.0, 0.0, 0.0, 0.0, 1.0, 8.0]  # a document that passes every rule


def batch_of(rows: list[list[float]]) -> pa.RecordBatch:
    """Documents with the signals of Gopher's rules and, as the stage asks for none, without their text."""
    ids = [document_id("s", str(place)) for place in range(len(rows))]
    whole = documents({"id": ids, "text": ["barley"] * len(rows), "source": ["s"] * len(rows)})
    batch = whole.select(["id", "source", "bytes", "digest"])
    for place, name in enumerate(GOPHER.signals):
        batch = batch.append_column(name, pa.array([row[place] for row in rows], pa.float64()))
    return batch


def with_value(rule: str, value: float) -> list[float]:
    names = [known.name for known in GOPHER.rules]
    return [value if name == rule else good for name, good in zip(names, GOOD, strict=True)]


def test_a_drop_tells_stage_rule_value_and_limit() -> None:
    batch = batch_of([GOOD, with_value("words", 49), with_value("mean_word_length", 10.5)])
    outcome = ApplyRules("quality", "gopher.datatrove@1").apply(batch)
    assert outcome.kept.equals(batch.slice(0, 1))
    shown = outcome.drops.select(["stage", "rule", "value", "limit"]).to_pylist()
    assert shown == [
        {"stage": "quality", "rule": "gopher.datatrove.words", "value": 49.0, "limit": 50.0},
        {"stage": "quality", "rule": "gopher.datatrove.mean_word_length", "value": 10.5, "limit": 10.0},
    ]
    assert outcome.drops.column("id").to_pylist() == batch.column("id").to_pylist()[1:]


def test_an_undefined_signal_is_a_reason_of_its_own() -> None:
    outcome = ApplyRules("quality", "gopher.datatrove@1").apply(batch_of([with_value("bullet_lines", math.nan)]))
    (drop,) = outcome.drops.to_pylist()
    assert (drop["rule"], drop["value"], drop["limit"]) == ("gopher.datatrove.bullet_lines.undefined", None, None)


SIGNAL = st.one_of(st.floats(0, 1), st.sampled_from([2.0, 3.0, 10.0, 50.0, 1e5, 1e6, math.nan]))
ROWS = st.lists(st.lists(SIGNAL, min_size=8, max_size=8) | st.just(GOOD), max_size=8)


@given(ROWS, st.booleans())
def test_no_document_leaves_without_a_reason(rows: list[list[float]], inverse: bool) -> None:
    batch = batch_of(rows)
    outcome = ApplyRules("quality", "gopher.datatrove@1", inverse=inverse).apply(batch)
    account = Account()
    account.judge(batch, outcome, Effect.DROPS)
    account.check("test", 0)
    assert all(rule.startswith("gopher.datatrove.") for rule in outcome.drops.column("rule").to_pylist())


@given(st.lists(st.lists(st.floats(0, 200), min_size=8, max_size=8) | st.just(GOOD), max_size=8))
def test_the_inverse_keeps_exactly_what_the_rules_drop(rows: list[list[float]]) -> None:
    batch = batch_of(rows)
    plain, inverse = (ApplyRules("q", "gopher.datatrove@1", inverse=inverse).apply(batch) for inverse in (False, True))
    assert inverse.kept.column("id").to_pylist() == plain.drops.column("id").to_pylist()
    assert inverse.drops.column("id").to_pylist() == plain.kept.column("id").to_pylist()
    assert set(inverse.drops.column("rule").to_pylist()) <= {"gopher.datatrove.passed"}


def test_limits_of_the_recipe_are_in_force() -> None:
    stage = ApplyRules("quality", "gopher.datatrove@1", limits=GOPHER.read_limits({"words": [40, None]}))
    outcome = stage.apply(batch_of([with_value("words", 40), with_value("words", 39), with_value("words", 1e9)]))
    assert outcome.kept.num_rows == 2
    assert outcome.drops.column("limit").to_pylist() == [40.0]


def test_the_stage_reads_signals_and_no_text() -> None:
    stage = ApplyRules("quality", "gopher.datatrove@1")
    assert stage.columns == () and stage.needs == GOPHER.signals and stage.measures == ()


def test_every_setting_changes_the_fingerprint_and_nothing_else_does() -> None:
    stages = [
        ApplyRules("quality", "gopher.datatrove@1"),
        ApplyRules("quality", "gopher.datatrove@1", inverse=True),
        ApplyRules("quality", "gopher.datatrove@1", limits=(("words", 40.0, None),)),
        ApplyRules("quality", "gopher.datatrove@1", limits=(("words", 40.0, 1e5),)),
    ]
    prints = [fingerprint(stage.describe()) for stage in stages]
    assert len(set(prints)) == len(stages)
    batch = batch_of([GOOD])
    for stage, before in zip(stages, prints, strict=True):
        stage.apply(batch)
        again = pickle.loads(pickle.dumps(stage))
        assert again == stage and hash(again) == hash(stage)
        assert fingerprint(again.describe()) == before


def test_unknown_presets_rules_and_senseless_limits_are_refused_at_once() -> None:
    with pytest.raises(UserError, match=r"did you mean 'gopher.datatrove@1'"):
        ApplyRules("quality", "gopher.datatrove")
    with pytest.raises(UserError, match="did you mean 'words'"):
        ApplyRules("quality", "gopher.datatrove@1", limits=(("wrods", 1.0, None),))
    with pytest.raises(UserError, match="lower limit first"):
        ApplyRules("quality", "gopher.datatrove@1", limits=(("words", 2.0, 1.0),))
