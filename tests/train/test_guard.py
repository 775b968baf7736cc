"""The guard objects to what is no number or far above, and to nothing else."""

import math

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilth.train.guard import LEAST, Guard


def after(losses: list[float], deviations: float | None = 6.0, window: int = 128) -> Guard:
    guard = Guard(deviations, window)
    for loss in losses:
        guard = guard.taken(loss)
    return guard


def test_a_spike_is_refused_and_a_fall_is_not() -> None:
    guard = after([3.0, 3.2] * 40)
    assert guard.objection(3.1 + 6 * 0.1 + 0.01) is not None
    assert guard.objection(3.1 + 6 * 0.1 - 0.01) is None
    assert guard.objection(0.1) is None


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_what_is_no_number_is_refused_from_the_first_step_on(loss: float) -> None:
    assert after([]).objection(loss) == f"loss is {loss}"


def test_nothing_is_refused_before_a_deviation_means_anything() -> None:
    assert after([3.0] * (LEAST - 1)).objection(1e9) is None
    assert after([3.0] * LEAST).objection(1e9) is not None


def test_without_deviations_nothing_is_refused_or_remembered() -> None:
    guard = after([3.0] * 200, deviations=None)
    assert guard.objection(math.nan) is None
    assert guard.losses == ()


def test_a_row_of_skips_ends_with_a_step() -> None:
    guard = after([3.0] * 5).refused().refused()
    assert (guard.skipped, guard.in_a_row) == (2, 2)
    assert (guard.taken(3.0).skipped, guard.taken(3.0).in_a_row) == (2, 0)


@given(st.lists(st.floats(0, 20), max_size=60), st.integers(2, 40))
def test_a_guard_comes_back_from_json_as_it_was(losses: list[float], window: int) -> None:
    guard = after(losses, window=window).refused()
    assert len(guard.losses) <= window
    told = orjson.loads(orjson.dumps(guard.to_json()))
    assert Guard.from_json(6.0, window, told) == guard
