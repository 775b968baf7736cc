"""The learning rate at the steps that matter."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilth.train.job import TrainConfig
from tilth.train.schedule import learning_rate

BASE = TrainConfig(steps=100, learning_rate=1.0, minimum_learning_rate=0.1, warmup_steps=10)


def rates(**changes: object) -> list[float]:
    config = dataclasses.replace(BASE, **changes)  # type: ignore[arg-type]
    return [learning_rate(config, step) for step in range(config.steps)]


def test_warm_up_rises_in_equal_parts_and_never_begins_at_zero() -> None:
    assert rates()[:10] == pytest.approx([0.1 * step for step in range(1, 11)])


def test_cosine_is_half_way_in_the_middle_of_its_fall() -> None:
    found = rates()
    assert found[10] == 1.0
    assert found[55] == pytest.approx(0.55)
    assert found[99] == pytest.approx(0.1, abs=1e-3)


def test_linear_falls_by_equal_parts() -> None:
    found = rates(schedule="linear")
    assert found[10] - found[11] == pytest.approx(0.9 / 90)
    assert found[99] == pytest.approx(0.1 + 0.9 / 90)


def test_constant_stays() -> None:
    assert set(rates(schedule="constant")[10:]) == {1.0}


def test_wsd_stays_then_falls_over_its_last_steps() -> None:
    found = rates(schedule="wsd", decay_steps=20)
    assert set(found[10:81]) == {1.0}
    assert found[90] == pytest.approx(0.55)


def test_a_longer_wsd_run_has_the_same_past() -> None:
    short, long = (rates(schedule="wsd", decay_steps=20, steps=steps) for steps in (100, 200))
    assert short[:80] == long[:80]


@given(
    steps=st.integers(1, 300),
    warmup=st.integers(0, 100),
    decay=st.integers(1, 100),
    schedule=st.sampled_from(["cosine", "linear", "constant", "wsd"]),
)
def test_no_step_is_above_the_peak_or_without_effect(steps: int, warmup: int, decay: int, schedule: str) -> None:
    if warmup + decay > steps:
        return
    found = rates(steps=steps, warmup_steps=warmup, decay_steps=decay, schedule=schedule, minimum_learning_rate=0.0)
    assert all(0.0 < rate <= 1.0 for rate in found)
    assert found[warmup:] == sorted(found[warmup:], reverse=True)
