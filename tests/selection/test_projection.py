"""Projections: shares that sum to one under their caps, equal to slow references."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilth.corpus.errors import UserError
from tilth.selection.projection import caps, l2_projection, linear_projection


def fill(estimates: list[float], limits: list[float]) -> list[float]:
    shares, left = [0.0] * len(limits), 1.0
    for place in sorted(range(len(limits)), key=lambda place: (-estimates[place], place)):
        shares[place] = min(left, limits[place])
        left -= shares[place]
    return shares


def bisect(estimates: np.ndarray, limits: np.ndarray) -> np.ndarray:
    low, high = -estimates.max() - 2.0, float((limits - estimates).max()) + 2.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if np.clip(estimates + middle, 0, limits).sum() < 1 else (low, middle)
    return np.clip(estimates + (low + high) / 2, 0, limits)


def test_random_cases_equal_the_references() -> None:
    random = np.random.default_rng(1)
    for _ in range(4_000):  # of 1 to 50 domains each: 1e5 shares
        domains = int(random.integers(1, 51))
        limits = caps(random.integers(1, 1000, domains), float(random.uniform(0.05, 1)))
        estimates = np.round(random.normal(size=domains), 2)
        np.testing.assert_allclose(linear_projection(estimates, limits), fill(estimates.tolist(), limits), atol=1e-9)
        np.testing.assert_allclose(l2_projection(estimates, limits), bisect(estimates, limits), atol=1e-9)


domain = st.tuples(st.floats(-3, 3), st.integers(1, 100))


@given(st.lists(domain, min_size=1, max_size=12), st.floats(0.05, 1))
def test_shares_sum_to_one_and_keep_to_their_caps(rows: list[tuple[float, int]], keep: float) -> None:
    estimates, sizes = (np.array(column, float) for column in zip(*rows, strict=True))
    limits = caps(sizes, keep)
    for project in (linear_projection, l2_projection):
        shares = project(estimates, limits)
        assert shares.sum() == pytest.approx(1)
        assert (shares >= 0).all()
        assert (shares <= limits + 1e-9).all()


@given(st.lists(domain, min_size=2, max_size=12), st.floats(0.1, 3))
def test_the_linear_projection_knows_only_the_order(rows: list[tuple[float, int]], factor: float) -> None:
    estimates, sizes = (np.array(column, float) for column in zip(*rows, strict=True))
    order = np.unique(estimates, return_inverse=True)[1]
    limits = caps(sizes, 0.3)
    np.testing.assert_allclose(linear_projection(estimates, limits), linear_projection(order * factor, limits))


def test_limits_that_allow_too_little_are_refused() -> None:
    for project in (linear_projection, l2_projection):
        with pytest.raises(UserError, match=r"limits sum to 0\.5, expected at least 1"):
            project(np.zeros(2), np.full(2, 0.25))
        with pytest.raises(UserError, match="not finite"):
            project(np.array([np.nan, 1.0]), np.ones(2))
