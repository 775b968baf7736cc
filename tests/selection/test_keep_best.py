"""KeepBest drops one side of the cut and can say why each document is missing."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilth.corpus.document import documents
from tilth.corpus.errors import UserError
from tilth.selection.cut import choose_cut
from tilth.selection.keep_best import KeepBest, id_bytes

rows = st.lists(
    st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.binary(min_size=16, max_size=16), st.text(max_size=9)),
    min_size=1,
    max_size=20,
    unique_by=lambda row: row[1],
)


def batch(given_rows: list[tuple[float | None, bytes, str]], kind: pa.DataType | None = None) -> pa.RecordBatch:
    """Documents without their text, as the engine hands them over, and the signal ``quality``."""
    scores, ids, texts = zip(*given_rows, strict=True)
    whole = documents({"id": ids, "text": texts, "source": ["test"] * len(ids)})
    always = whole.select(["id", "source", "bytes", "digest"])
    return always.append_column("quality", pa.array(scores, kind or pa.float64()))


@given(rows, st.sampled_from([0.1, 0.5, 0.9]), st.booleans())
def test_every_document_is_kept_or_dropped_with_its_score_and_the_cut(
    given_rows: list[tuple[float, bytes, str]], fraction: float, inverse: bool
) -> None:
    given_batch = batch(given_rows)
    scores = given_batch.column("quality").to_numpy()
    cut = choose_cut(scores, id_bytes(given_batch.column("id")), given_batch.column("bytes").to_numpy(), fraction)
    outcome = KeepBest("best", "quality", cut.score, cut.id, inverse).apply(given_batch)
    drops = outcome.drops
    assert sorted(outcome.kept.column("id").to_pylist() + drops.column("id").to_pylist()) == sorted(
        row[1] for row in given_rows
    )
    chosen = drops if inverse else outcome.kept
    assert (chosen.num_rows, sum(chosen.column("bytes").to_pylist())) == (cut.documents, cut.bytes)
    score_of = {row[1]: row[0] for row in given_rows}
    assert drops.column("value").to_pylist() == [score_of[each] for each in drops.column("id").to_pylist()]
    assert set(drops.column("limit").to_pylist()) <= {cut.score}
    assert set(drops.column("rule").to_pylist()) <= {"not_below_cut" if inverse else "below_cut"}
    assert set(drops.column("stage").to_pylist()) <= {"best"}


@given(rows, st.integers(0, 19))
def test_a_batch_may_be_split_anywhere(given_rows: list[tuple[float, bytes, str]], place: int) -> None:
    stage = KeepBest("best", "quality", 0.5, given_rows[0][1].hex())
    whole = batch(given_rows)
    parts = [stage.apply(whole.slice(0, place)), stage.apply(whole.slice(place))]
    kept = [each for part in parts for each in part.kept.column("id").to_pylist()]
    assert kept == stage.apply(whole).kept.column("id").to_pylist()


def test_equal_scores_are_decided_by_id_even_with_zero_bytes() -> None:
    ids = [bytes(16), bytes(15) + b"\1", b"\1" + bytes(15), b"\1" + bytes(14) + b"\1"]
    stage = KeepBest("best", "quality", 0.5, ids[2].hex())
    assert stage.apply(batch([(0.5, each, "") for each in ids])).kept.column("id").to_pylist() == ids[:3]


def test_a_single_precision_signal_meets_its_own_cut() -> None:
    score = float(np.float32(0.1))
    stage = KeepBest("best", "quality", score, (b"a" * 16).hex())
    assert stage.apply(batch([(0.1, b"a" * 16, "x")], pa.float32())).kept.num_rows == 1


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_a_missing_score_stops_the_run(missing: float | None) -> None:
    stage = KeepBest("best", "quality", 0.5, "00" * 16)
    with pytest.raises(UserError, match=f"signal quality of document {(b'b' * 16).hex()} is missing"):
        stage.apply(batch([(0.7, b"a" * 16, ""), (missing, b"b" * 16, "")]))


@pytest.mark.parametrize("wrong", ["", "00", "zz" * 16, "00" * 17])
def test_an_id_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(UserError, match="expected 32 hex digits"):
        KeepBest("best", "quality", 0.5, wrong)


def test_it_reads_its_signal_and_no_text() -> None:
    stage = KeepBest("best", "quality", 0.5, "00" * 16)
    assert stage.needs == ("quality",)
    assert stage.columns == ()
