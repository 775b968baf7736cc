"""A sentence that a page hides in its mean is found, and nothing but sentences is scored."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilth.corpus.document import document_id, documents
from tilth.corpus.errors import UserError
from tilth.corpus.stage import Asset
from tilth.filters.score import Score
from tilth.filters.score_sentences import ScoreSentences, sentence_spans
from tilth.selection.scorer import NEGATIVE, POSITIVE, ScorerSettings, train_scorer

KIND, FOUL = "the oats of the field stand well", "rotten vile stinking weeds"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Asset:
    path = tmp_path_factory.mktemp("sentences") / "foul.bin"
    halves = ([f"{text} {number}" for number in range(60)] for text in (FOUL, KIND))
    return Asset(str(path), train_scorer(*halves, path, ScorerSettings(dim=8, bucket=500, epochs=20)).digest)


def batch_of(texts: list[str]) -> pa.RecordBatch:
    ids = [document_id("s", str(place)) for place in range(len(texts))]
    return documents({"id": ids, "text": texts, "source": ["s"] * len(texts)})


def sentences(text: str) -> list[str]:
    starts, ends, _ = sentence_spans(pa.array([text]))
    return [text.encode()[start:end].decode() for start, end in zip(starts, ends, strict=True)]


def test_sentences_end_at_stops_before_white_space_and_at_lines() -> None:
    text = ' He said "no." Why? 3.5 kg!\nA title\n\n(See below.) End'
    assert sentences(text) == ['He said "no."', "Why?", "3.5 kg!", "A title", "(See below.)", "End"]
    assert sentences("") == sentences(" \n ") == []


@given(st.lists(st.text(alphabet='a.!? \n"\u00e9', max_size=40), max_size=4))
def test_sentences_hold_every_character_but_white_space(texts: list[str]) -> None:
    array = pa.array(texts, pa.string())
    starts, ends, rows = sentence_spans(array)
    assert (starts < ends).all() and (starts[1:] >= ends[:-1]).all() and (np.diff(rows) >= 0).all()
    for row, text in enumerate(texts):
        data = "".join(texts).encode()
        found = b"".join(data[start:end] for start, end in zip(starts[rows == row], ends[rows == row], strict=True))
        assert "".join(found.decode().split()) == "".join(text.split())


def test_the_worst_sentence_counts_where_the_mean_hides_it(model: Asset) -> None:
    given = batch_of([f"{KIND}. " * 30 + f"{FOUL}! " + f"{KIND}. " * 30, f"{KIND}. " * 5, f"{FOUL}.\n{KIND}.", ""])
    outcome = ScoreSentences("toxicity", model, POSITIVE).apply(given)
    assert outcome.kept.equals(given)
    worst, share = (outcome.signals[f"toxicity.{name}"].to_pylist() for name in ("worst", "share"))
    whole = Score("whole", model, POSITIVE).apply(given).signals["whole"].to_pylist()
    assert whole[0] < 0.5 < worst[0] and worst[1] < 0.5 and worst[3] == share[3] == share[1] == 0
    size = len(FOUL) + 1
    assert share[0] == pytest.approx(size / (size + 60 * (len(KIND) + 1)))
    assert share[2] == pytest.approx(size / (size + len(KIND) + 1))


def test_a_label_that_there_is_not_is_named(model: Asset) -> None:
    with pytest.raises(UserError, match=f"label 'x' of toxicity is not in the model; it has .*{NEGATIVE}"):
        ScoreSentences("toxicity", model, "x").apply(batch_of([KIND]))
