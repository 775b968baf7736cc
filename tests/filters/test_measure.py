"""Measuring adds every signal of its presets, and nothing of the documents changes."""

import pickle

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilth.corpus.document import document_id, documents
from tilth.corpus.errors import UserError
from tilth.corpus.ledger import Account
from tilth.corpus.stage import Effect, fingerprint
from tilth.filters.measure import Measure

GOPHER = "gopher.datatrove@1"


def batch_of(texts: list[str]) -> pa.RecordBatch:
    ids = [document_id("s", str(place)) for place in range(len(texts))]
    return documents({"id": ids, "text": texts, "source": ["s"] * len(texts)})


@given(st.lists(st.text(), max_size=6), st.integers(0, 2))
def test_measuring_changes_no_document_and_gives_every_one_its_signals(texts: list[str], skip: int) -> None:
    batch = batch_of(texts).slice(skip)
    stage = Measure("signals", (GOPHER,))
    outcome = stage.apply(batch)
    account = Account()
    account.judge(batch, outcome, Effect.MEASURES)
    account.check("test", 0)
    assert outcome.kept.equals(batch)
    assert tuple(outcome.signals) == stage.measures
    for signal in outcome.signals.values():
        assert signal.type == pa.float64() and len(signal) == batch.num_rows and signal.null_count == 0


@given(st.lists(st.sampled_from(["The barley - of...", "", "#\n\u2022 oats\u2026", "12 \u00e9t\u00e9"]), max_size=6))
def test_a_signal_does_not_depend_on_the_batch(texts: list[str]) -> None:
    stage = Measure("signals", (GOPHER,))
    together = stage.apply(batch_of(texts)).signals
    for place, text in enumerate(texts):
        alone = stage.apply(batch_of([text])).signals
        for name in stage.measures:
            np.testing.assert_equal(together[name][place].as_py(), alone[name][0].as_py())


def test_signals_bear_the_presets_name() -> None:
    assert Measure("signals", (GOPHER,)).measures[:2] == ("gopher.datatrove.words", "gopher.datatrove.mean_word_length")


def test_a_preset_given_twice_or_unknown_is_refused() -> None:
    with pytest.raises(UserError, match=r"'gopher.datatrove.words' twice"):
        Measure("signals", (GOPHER, GOPHER))
    with pytest.raises(UserError, match="did you mean"):
        Measure("signals", ("gopher.datatrov@1",))


def test_the_stage_is_a_value_with_a_fingerprint_of_its_own() -> None:
    stage = Measure("signals", (GOPHER,))
    again = pickle.loads(pickle.dumps(stage))
    assert again == stage
    assert fingerprint(again.describe()) == fingerprint(stage.describe())
    assert "unicode" in stage.describe()
