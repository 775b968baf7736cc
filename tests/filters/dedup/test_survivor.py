"""The order of survivors is total, declared, and packed without loss."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilth.corpus.document import document_id, documents
from tilth.corpus.errors import UserError
from tilth.filters.dedup.survivor import Preference, dates, descending


def order(preference: Preference, rows: list[dict[str, object]]) -> list[int]:
    columns = {
        "id": [document_id("x", str(number)) for number in range(len(rows))],
        "text": [str(row.get("text", "")) for row in rows],
        "source": [str(row.get("source", "web")) for row in rows],
        "date": [row.get("date") for row in rows],
    }
    batch = documents(columns)
    if preference.needs:
        batch = batch.append_column(preference.needs[0], pa.array([row.get("quality") for row in rows], pa.float64()))
    packed = preference.order(batch).to_pylist()
    return sorted(range(len(rows)), key=lambda place: packed[place])


def test_domain_text_comes_before_a_newer_longer_and_better_web_copy() -> None:
    rows = [
        {"source": "web", "text": "long " * 9, "date": "2024-01-01", "quality": 0.9},
        {"source": "statutes", "text": "short", "date": "1990", "quality": 0.1},
    ]
    assert order(Preference(("statutes",), quality="q"), rows) == [1, 0]


def test_criteria_decide_in_their_order() -> None:
    rows = [{"text": "a" * 5, "date": "2001-05-06"}, {"text": "a" * 9, "date": "2001-05-05"}]
    assert order(Preference(by=("newest", "longest")), rows) == [0, 1]
    assert order(Preference(by=("longest", "newest")), rows) == [1, 0]
    assert order(Preference(by=("shortest",)), rows) == [0, 1]
    assert order(Preference(by=("oldest",)), rows) == [1, 0]


def test_documents_without_a_date_or_quality_come_last_either_way() -> None:
    rows = [{"date": None}, {"date": "1900"}, {"date": "not a date"}]
    assert order(Preference(by=("newest",)), rows)[0] == 1
    assert order(Preference(by=("oldest",)), rows)[0] == 1
    assert order(Preference(by=("quality",), quality="q"), [{"quality": None}, {"quality": -5.0}]) == [1, 0]


def test_a_source_that_is_not_listed_comes_after_those_that_are() -> None:
    assert order(Preference(("b", "a")), [{"source": "z"}, {"source": "a"}, {"source": "b"}]) == [2, 1, 0]


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=2, max_size=20))
def test_qualities_descend(values: list[float]) -> None:
    given_values = np.array(values, np.float32)
    packed = descending(given_values)
    ordered = given_values[np.argsort(packed, kind="stable")]
    assert (ordered[:-1] >= ordered[1:]).all()


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("2019-12-31", 20191231),
        ("2019-12-31T10:00:00Z", 20191231),
        ("2019-08", 20190800),
        ("1840", 18400000),
        ("20191231", 20191231),
        ("31.12.2019", 0),
        ("", 0),
        (None, 0),
        ("99999", 0),
    ],
)
def test_dates_are_read_as_iso_writes_them(text: str | None, number: int) -> None:
    assert dates(pa.array([text], pa.string())).tolist() == [number]


def test_a_criterion_given_both_ways_is_refused() -> None:
    with pytest.raises(UserError, match="every criterion once"):
        Preference(by=("newest", "oldest"))
