"""The corpus as of a day, and without a source."""

import pyarrow as pa
import pytest

from tilth.corpus.document import documents
from tilth.corpus.errors import UserError
from tilth.selection.as_of import AsOf, LeaveOut, latest

DATES = ["1851", "2019-08", "2019-08-31", "2019-09-01T10:00:00Z", None, "soon", "2020"]


def batch() -> pa.RecordBatch:
    ids = [bytes([number]) * 16 for number in range(len(DATES))]
    sources = ["farm" if number % 2 else "web" for number in range(len(DATES))]
    return documents({"id": ids, "text": ["x"] * len(DATES), "source": sources, "date": DATES})


def kept(stage: AsOf | LeaveOut) -> list[int]:
    outcome = stage.apply(batch())
    assert outcome.kept.num_rows + outcome.drops.num_rows == len(DATES)
    return [name[0] for name in outcome.kept.column("id").to_pylist()]


def test_nothing_is_kept_that_may_have_been_written_later() -> None:
    assert kept(AsOf("as-of", until="2019-08-31")) == [0, 1, 2]
    assert kept(AsOf("as-of", until="2019-08-30")) == [0]  # the month may mean its last day
    assert kept(AsOf("as-of", until="2019")) == [0, 1, 2, 3]
    assert kept(AsOf("as-of", since="2019-08-15", until="2019-12-31")) == [1, 2, 3]


def test_undated_documents_go_where_the_recipe_says() -> None:
    assert kept(AsOf("as-of", until="2021", undated="keep")) == [0, 1, 2, 3, 4, 5, 6]
    drops = AsOf("as-of", until="2019-08-31").apply(batch()).drops
    assert drops.column("rule").to_pylist() == ["too_new", "undated", "not_a_date", "too_new"]


def test_inverse_keeps_exactly_the_rest() -> None:
    one, other = AsOf("as-of", until="2019-08-31"), AsOf("as-of", until="2019-08-31", inverse=True)
    assert sorted(kept(one) + kept(other)) == list(range(len(DATES)))


def test_a_source_is_left_out_or_kept_alone() -> None:
    assert kept(LeaveOut("leave-out", ("farm",))) == [0, 2, 4, 6]
    assert kept(LeaveOut("leave-out", ("farm",), inverse=True)) == [1, 3, 5]


@pytest.mark.parametrize("day", ["soon", "2019-13", "31.08.2019", "19"])
def test_days_that_are_none_are_refused(day: str) -> None:
    with pytest.raises(UserError, match="expected a date such as"):
        AsOf("as-of", until=day)


def test_no_day_at_all_is_refused() -> None:
    with pytest.raises(UserError, match="expected 'until' or 'since'"):
        AsOf("as-of")


def test_a_coarse_date_means_its_last_day() -> None:
    assert [latest(day) for day in ("2019", "2019-02", "2019-02-03T10")] == ["2019-12-31", "2019-02-31", "2019-02-03"]
