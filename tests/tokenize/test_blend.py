from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.corpus.errors import UserError
from tilth.tokenize.blend import BLOCK, WEIGHT_UNITS, Blend, CappedBlend, whole_shares

SHARES = st.lists(st.integers(1, 10_000), min_size=1, max_size=12)


def slow_schedule(shares: list[int], count: int) -> list[int]:
    """Say Tijdeman's rule in exact fractions."""
    total, sources = sum(shares), len(shares)
    weights = [Fraction(share, total) for share in shares]
    margin = Fraction(1, 2 * sources - 2) if sources > 1 else Fraction(0)
    had = [0] * sources
    chosen = []
    for step in range(1, count + 1):
        due = [step * weights[source] - had[source] for source in range(sources)]
        eligible = [source for source in range(sources) if due[source] >= margin]
        best = min(eligible, key=lambda source: ((1 - margin - due[source]) / weights[source], source))
        had[best] += 1
        chosen.append(best)
    return chosen


@settings(deadline=None)
@given(SHARES)
def test_every_source_has_its_share_to_within_one_sample(shares: list[int]) -> None:
    sources = Blend(np.array(shares)).sources(0, 2_000).astype(int)
    counts = np.cumsum(sources[:, None] == np.arange(len(shares)), axis=0)
    due = np.arange(1, 2_001)[:, None] * np.array(shares) / sum(shares)
    assert np.abs(counts - due).max() < 1


@settings(deadline=None)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=6))
def test_the_schedule_is_tijdemans(shares: list[int]) -> None:
    assert Blend(np.array(shares)).sources(0, 150).tolist() == slow_schedule(shares, 150)


def test_the_largest_deficit_would_break_the_promise() -> None:
    shares = np.array([29, 29, 5, 5, 1])
    had, worst = np.zeros(len(shares)), 0.0
    for step in range(1, 70):
        had[np.argmax(step * shares / shares.sum() - had)] += 1
        worst = max(worst, np.abs(step * shares / shares.sum() - had).max())
    assert worst > 1.08


@settings(deadline=None)
@given(SHARES, st.integers(0, 3 * BLOCK), st.integers(0, 2 * BLOCK))
def test_any_range_is_a_piece_of_one_schedule(shares: list[int], first: int, count: int) -> None:
    whole = Blend(np.array(shares)).sources(0, 5 * BLOCK)
    blend = Blend(np.array(shares))  # goes there at once
    np.testing.assert_array_equal(blend.sources(first, count), whole[first : first + count])
    np.testing.assert_array_equal(blend.counts(first), np.bincount(whole[:first], minlength=len(shares)))
    np.testing.assert_array_equal(blend.sources(0, 10), whole[:10])  # and back


@settings(deadline=None)
@given(SHARES)
def test_after_one_round_every_source_has_exactly_its_share(shares: list[int]) -> None:
    assert Blend(np.array(shares)).counts(sum(shares)).tolist() == shares


def test_weights_of_any_scale_are_the_same_shares() -> None:
    assert whole_shares({"a": 0.5, "b": 0.25, "c": 0.25}) == whole_shares({"a": 2, "b": 1, "c": 1})
    assert whole_shares({"a": 3, "b": 0}) == {"a": WEIGHT_UNITS}


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_a_weight_that_is_no_share_is_refused(weight: float) -> None:
    with pytest.raises(UserError, match=r"source 'b' has .*, expected a number of at least 0"):
        whole_shares({"a": 1.0, "b": weight})


def test_weights_that_are_all_zero_are_refused() -> None:
    with pytest.raises(UserError, match="all are 0"):
        whole_shares({"a": 0.0, "b": 0})


@settings(deadline=None, max_examples=50)
@given(SHARES, st.data())
def test_a_capped_schedule_gives_every_source_what_it_may_have_and_no_more(
    shares: list[int], data: st.DataObject
) -> None:
    most = data.draw(st.lists(st.integers(0, 40), min_size=len(shares), max_size=len(shares)))
    blend = CappedBlend(np.array(shares, np.int64), np.array(most, np.int64))
    assert blend.total == sum(most)
    drawn = blend.sources(0, sum(most))
    assert np.bincount(drawn, minlength=len(shares)).tolist() == most
    for samples in range(0, sum(most) + 1, 7):
        assert blend.counts(samples).tolist() == np.bincount(drawn[:samples], minlength=len(shares)).tolist()
        np.testing.assert_array_equal(blend.sources(samples, sum(most) - samples), drawn[samples:])


def test_a_source_without_a_limit_never_ends() -> None:
    blend = CappedBlend(np.array([3, 1]), np.array([6, -1]))
    assert blend.total is None
    assert np.bincount(blend.sources(0, 1_000)).tolist() == [6, 994]
    np.testing.assert_array_equal(blend.sources(0, 4), Blend(np.array([3, 1])).sources(0, 4))
