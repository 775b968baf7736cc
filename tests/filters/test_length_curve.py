"""A curve over length takes off what a hand-made score owes to it, and nothing between texts of one length."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilth.corpus.errors import UserError
from tilth.filters.length_curve import LengthCurve, centred, fit_length_curve, log_odds

ODDS = st.floats(-30, 30)


def probabilities(odds: np.ndarray) -> np.ndarray:
    """Return texts x two labels, as a softmax gives them."""
    return np.stack([1 / (1 + np.exp(-odds)), 1 / (1 + np.exp(odds))], axis=1).astype(np.float32)


def test_a_linear_dependence_on_the_logarithm_of_length_is_removed() -> None:
    random = np.random.default_rng(0)
    sizes = (np.exp(random.uniform(3, 8, 4000)), np.exp(random.uniform(3, 8, 4000)))
    own = (2 + random.normal(0, 0.5, 4000), -2 + random.normal(0, 0.5, 4000))
    odds = (own[0] + 0.8 * np.log(sizes[0]), own[1] + 0.8 * np.log(sizes[1]))
    curve = fit_length_curve(odds, sizes)
    inside = np.linspace(curve.log_bytes[0], curve.log_bytes[-1], 50)
    slopes = np.diff(curve.at(np.exp(inside))) / np.diff(inside)
    np.testing.assert_allclose(slopes, 0.8, atol=0.05)
    both, lengths = np.concatenate(odds), np.concatenate(sizes)
    corrected = both - curve.at(lengths)
    assert np.median(corrected) == pytest.approx(np.median(both), abs=1e-9)


def test_classes_of_other_lengths_keep_what_tells_them_apart() -> None:
    sizes = (np.repeat([1000.0, 2000.0, 4000.0], 20), np.repeat([10.0, 20.0, 40.0], 20))
    curve = fit_length_curve((np.full(60, 3.0), np.full(60, -3.0)), sizes)
    np.testing.assert_allclose(curve.at(np.concatenate(sizes)), 0.0, atol=1e-12)


def test_a_small_class_weighs_as_much_as_a_large_one() -> None:
    sizes = (np.tile([10.0, 20.0, 40.0, 80.0], 300), np.tile([10.0, 20.0, 40.0, 80.0], 3))
    rising = fit_length_curve((np.log(sizes[0]), 0 * sizes[1]), sizes)
    assert rising.log_odds[-1] - rising.log_odds[0] == pytest.approx(np.log(8) / 2)


def test_the_ends_are_level_and_an_empty_text_is_the_shortest() -> None:
    curve = LengthCurve((2.0, 5.0), (-1.0, 1.0))
    np.testing.assert_array_equal(curve.at(np.array([0, 1, 7, 10**9])), [-1.0, -1.0, -1.0, 1.0])


def test_texts_of_one_length_have_a_curve_of_one_knot() -> None:
    curve = fit_length_curve((np.array([1.0, 2.0]), np.array([-1.0, -2.0])), (np.full(2, 50.0), np.full(2, 50.0)))
    assert curve.log_bytes == (pytest.approx(np.log(50)),)
    np.testing.assert_allclose(curve.at(np.array([1, 50, 900])), 0.0, atol=1e-12)


@given(
    st.lists(ODDS, min_size=2, max_size=20), st.lists(st.floats(-9, 9), min_size=3, max_size=3), st.integers(0, 9999)
)
def test_the_order_inside_one_length_never_changes(odds: list[float], knots: list[float], size: int) -> None:
    given_ = probabilities(np.array(odds))
    scores = centred(given_, 0, np.full(len(odds), size), LengthCurve((1.0, 4.0, 8.0), tuple(knots)))
    order = np.argsort(log_odds(given_, 0), kind="stable")
    assert (np.diff(scores[order]) >= 0).all()
    assert ((scores >= 0) & (scores <= 1)).all()


@pytest.mark.parametrize(
    ("places", "values"),
    [((), ()), ((1.0, 2.0), (0.0,)), ((2.0, 1.0), (0.0, 0.0)), ((1.0, 1.0), (0.0, 0.0)), ((1.0,), (float("nan"),))],
)
def test_knots_that_make_no_curve_are_one_clear_line(places: tuple[float, ...], values: tuple[float, ...]) -> None:
    with pytest.raises(UserError, match=r"^length curve: found knots at .*; train it again$"):
        LengthCurve(places, values)
