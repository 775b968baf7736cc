"""Bands, quotas and ranks: what each group keeps, equal to sorting it by hand, whichever way documents come."""

from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilth.corpus.document import documents
from tilth.corpus.errors import UserError
from tilth.corpus.stage import Asset
from tilth.corpus.store import file_digest
from tilth.selection.bands import Pool, byte_budget, choose_bands
from tilth.selection.gains import gains, kept_by
from tilth.selection.keep_bands import Band, Grouping, KeepBands
from tilth.selection.keep_best import id_bytes
from tilth.selection.mixture import plan_mixture
from tilth.selection.rank import Rank, ranks_of, write_ranking

row = st.tuples(
    st.sampled_from([-1.0, 0.0, 0.25, 0.5, 1.0]),
    st.binary(min_size=16, max_size=16),
    st.integers(1, 9),
    st.sampled_from(["farm", "web"]),
)
corpora = st.lists(row, min_size=1, max_size=25, unique_by=lambda each: each[1])
Rows = list[tuple[float, bytes, int, str]]


def pool_of(rows: Rows, *, by_source: bool = True) -> Pool:
    scores, ids, sizes, sources = zip(*rows, strict=True)
    names = np.array(sources, str)
    groups = names if by_source else np.full(len(rows), "all")
    return Pool(np.frombuffer(b"".join(ids), "V16"), np.array(scores), np.array(sizes, np.int64), names, groups)


def batch_of(rows: Rows) -> pa.RecordBatch:
    scores, ids, sizes, sources = zip(*rows, strict=True)
    whole = documents({"id": ids, "text": ["x" * size for size in sizes], "source": sources})
    return whole.select(["id", "source", "bytes", "digest"]).append_column("quality", pa.array(scores, pa.float64()))


def longest_run(rows: Rows, budget: int) -> set[bytes]:
    kept, size = set(), 0
    for _, name, more, _ in rows:
        if kept and size + more > budget:
            break
        kept.add(name)
        size += more
    return kept


@given(corpora, st.sampled_from([0.1, 0.5, 0.9]), st.sampled_from(["highest", "lowest"]))
def test_every_group_keeps_its_own_best_or_worst(rows: Rows, keep: float, part: str) -> None:
    pool = pool_of(rows)
    budget = byte_budget(pool.bytes, keep, None)
    try:
        chosen = choose_bands(pool, budget, part)
    except UserError as error:
        assert "keeps nothing of any group" in str(error)
        return
    sign = 1 if part == "lowest" else -1
    expected: set[bytes] = set()
    for source in sorted(set(pool.groups)):
        mine = sorted((each for each in rows if each[3] == source), key=lambda each: (sign * each[0], each[1]))
        share = int(Fraction(1) * budget * sum(each[2] for each in mine) / pool.bytes)
        expected |= longest_run(mine, share) if share else set()
    kept = kept_by(pool, chosen.bands, part)
    assert {rows[place][1] for place in np.flatnonzero(kept)} == expected
    stage = KeepBands("keep", "quality", Grouping("source"), chosen.bands, part)
    outcome = stage.apply(batch_of(rows))
    assert set(outcome.kept.column("id").to_pylist()) == expected
    assert outcome.kept.num_rows + outcome.drops.num_rows == len(rows)
    assert set(outcome.drops.column("rule").to_pylist()) <= {"below_cut", "no_quota"}


@given(corpora, st.sampled_from([0.2, 0.5, 1.0]), st.booleans())
def test_the_middle_is_one_stretch_and_inverse_is_the_rest(rows: Rows, keep: float, by_source: bool) -> None:
    pool = pool_of(rows, by_source=by_source)
    try:
        chosen = choose_bands(pool, byte_budget(pool.bytes, keep, None), "middle")
    except UserError:
        return
    kept = kept_by(pool, chosen.bands, "middle")
    for group in set(pool.groups):
        mine = np.flatnonzero(pool.groups == group)
        order = sorted(mine, key=lambda place: (-rows[place][0], rows[place][1]))
        places = [number for number, place in enumerate(order) if kept[place]]
        assert places == list(range(places[0], places[-1] + 1)) if places else True
    grouping = Grouping("source" if by_source else "all")
    inside, outside = (
        KeepBands("keep", "quality", grouping, chosen.bands, "highest", inverse).apply(batch_of(rows)).kept
        for inverse in (False, True)
    )
    assert sorted(inside.column("id").to_pylist() + outside.column("id").to_pylist()) == sorted(r[1] for r in rows)
    assert set(inside.column("id").to_pylist()) == {rows[place][1] for place in np.flatnonzero(kept)}


@given(corpora, st.permutations(range(25)))
def test_a_batch_may_come_in_any_order_and_in_pieces(rows: Rows, order: list[int]) -> None:
    pool = pool_of(rows)
    try:
        chosen = choose_bands(pool, byte_budget(pool.bytes, 0.5, None), "highest")
    except UserError:
        return
    stage = KeepBands("keep", "quality", Grouping("source"), chosen.bands)
    shuffled = [rows[place] for place in order if place < len(rows)]
    whole = stage.apply(batch_of(rows)).kept.column("id").to_pylist()
    pieces = [name for each in shuffled for name in stage.apply(batch_of([each])).kept.column("id").to_pylist()]
    assert sorted(pieces) == sorted(whole)


def test_a_quota_is_a_share_of_what_is_kept_and_a_shortfall_is_said() -> None:
    plan = plan_mixture({"farm": 100, "web": 900, "wiki": 100}, 400, {"farm": 0.5}, most_epochs=1.5)
    assert (plan["farm"].bytes, plan["farm"].epochs, plan["farm"].missing) == (100, 1.5, 50)
    assert (plan["web"].bytes, plan["wiki"].bytes) == (180, 20)
    assert plan["web"].epochs == 1 and plan["web"].missing == 0


def test_no_quota_keeps_nothing_and_says_so() -> None:
    rows: Rows = [(0.5, bytes([number]) * 16, 5, "farm" if number % 2 else "web") for number in range(8)]
    chosen = choose_bands(pool_of(rows), 20, "highest", {"web": 0.0, "farm": 1.0})
    drops = KeepBands("keep", "quality", Grouping("source"), chosen.bands).apply(batch_of(rows)).drops
    assert drops.column("rule").to_pylist() == ["no_quota"] * 4
    assert set(drops.column("source").to_pylist()) == {"web"}
    told = {gain.source: gain for gain in gains(pool_of(rows), chosen, "highest")}
    assert (told["farm"].kept_bytes, told["farm"].share, told["farm"].kept_share) == (20, 0.5, 1.0)
    assert told["web"].kept_documents == 0


@pytest.mark.parametrize(
    ("quotas", "epochs", "complaint"),
    [
        ({"farms": 0.5}, 1.0, "group 'farms' not found; there are farm, web"),
        ({"farm": 0.7, "web": 0.4}, 1.0, "quotas sum to 1.1"),
        ({}, 0.5, "epochs: found 0.5"),
    ],
)
def test_impossible_mixtures_are_refused(quotas: dict[str, float], epochs: float, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        plan_mixture({"farm": 10, "web": 10}, 10, quotas, epochs)


def test_groups_are_sources_years_or_bins() -> None:
    given_batch = documents(
        {
            "id": [bytes([number]) * 16 for number in range(4)],
            "text": ["a"] * 4,
            "source": ["farm", "web", "web", "web"],
            "date": ["1851-02", "2019", None, "soon"],
        }
    ).append_column("length", pa.array([1.0, 5.0, 5.1, 9.0]))
    assert Grouping("year").groups(given_batch).tolist() == ["1851", "2019", "undated", "undated"]
    assert Grouping("source").groups(given_batch).tolist() == ["farm", "web", "web", "web"]
    bins = Grouping("length", (5.0, 9.0)).groups(given_batch).tolist()
    assert bins == ["below 5", "from 5", "from 5", "from 9"]
    with pytest.raises(UserError, match="expected rising numbers"):
        Grouping("length", (5.0, 5.0))


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_a_missing_score_stops_the_run(missing: float | None) -> None:
    given_batch = batch_of([(0.5, b"a" * 16, 1, "farm")]).set_column(4, "quality", pa.array([missing], pa.float64()))
    with pytest.raises(UserError, match="is missing, expected a number"):
        KeepBands("keep", "quality", Grouping(), (Band("all", None, None),)).apply(given_batch)


@given(corpora)
def test_ranks_are_places_in_the_total_order(rows: Rows) -> None:
    import tempfile
    from pathlib import Path

    ranked = sorted(rows, key=lambda each: (-each[0], each[1]))
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "ranking.npy"
        pool = pool_of(rows)
        write_ranking(path, pool.scores, pool.ids)
        signal = Rank("rank", "quality", Asset(str(path), file_digest(path))).apply(batch_of(rows)).signals["rank"]
        ranking = np.load(path, allow_pickle=False)
    assert signal.to_pylist() == [ranked.index(each) + 1.0 for each in rows]
    strange = np.frombuffer(b"\7" * 16, "V16")
    if all(each[1] != b"\7" * 16 for each in rows):
        assert ranks_of(ranking, np.array([0.25]), strange).tolist() == [-1]
    assert id_bytes(batch_of(rows).column("id")).tolist() == pool.ids.tolist()
