"""The learning rate at the steps that matter."""

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilth.train.job import Phase, TrainConfig
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


def test_phases_follow_each_other_from_the_rate_that_was_reached() -> None:
    phases = (Phase(4, 1.0), Phase(3, 1.0, "constant"), Phase(2, 0.5), Phase(4, 0.1, "cosine"), Phase(4, 0.0, "root"))
    found = rates(phases=phases, warmup_steps=0, steps=20)
    assert found[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])  # a rise already learns at its first step
    assert found[4:7] == [1.0] * 3
    assert found[7:9] == pytest.approx([1.0, 0.75])  # a fall begins at the old rate
    assert found[9:13] == pytest.approx([0.5 - 0.4 * (1 - math.cos(math.pi * k / 4)) / 2 for k in range(4)])
    assert found[13:17] == pytest.approx([0.1 * (1 - math.sqrt(k / 4)) for k in range(4)])
    assert found[17:] == [0.0] * 3


def test_warm_up_then_cosine_is_a_sequence_of_two_phases() -> None:
    told = rates(phases=(Phase(10, 1.0), Phase(90, 0.1, "cosine")), warmup_steps=0)
    assert told == pytest.approx(rates())
