import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilth.report import formats


def plain(text: str) -> str:
    return text.replace(formats.NARROW, " ")


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (12_345_678, "12.3 MB"),
        (999_499, "999 kB"),
        (999_500, "1.00 MB"),
        (9_995, "10.0 kB"),
        (99_950, "100 kB"),
        (-1_500, "−1.50 kB"),
        (3 * 10**18, "3000 PB"),
    ],
)
def test_sizes_have_three_digits_and_a_decimal_unit(number: int, text: str) -> None:
    assert plain(formats.size(number)) == text


@given(st.integers(0, 10**17))
def test_a_size_is_true_to_half_a_percent(number: int) -> None:
    value, unit = plain(formats.size(number)).split()
    assert abs(float(value) * 1000 ** formats.UNITS.index(unit) - number) <= 0.0051 * number


@given(st.integers(0, 10**14))
def test_a_magnitude_is_true_to_half_a_percent(number: int) -> None:
    value, _, unit = plain(formats.magnitude(number)).partition(" ")
    power = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}[unit]
    assert abs(float(value.replace(",", "")) * power - number) <= 0.0051 * number


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (0, 10, "0 %"),
        (10, 10, "100 %"),
        (1, 3, "33.3 %"),
        (1, 10**6, "<0.1 %"),
        (10**6 - 1, 10**6, ">99.9 %"),
        (1, 0, "–"),
    ],
)
def test_a_share_that_is_not_nothing_is_never_shown_as_nothing(part: int, whole: int, text: str) -> None:
    assert plain(formats.share(part, whole)) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.421, "0.42 s"),
        (12.34, "12.3 s"),
        (59.96, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3600, "1 h 00 min"),
        (7_500, "2 h 05 min"),
    ],
)
def test_durations_roll_over_where_clocks_do(seconds: float, text: str) -> None:
    assert plain(formats.duration(seconds)) == text


@given(st.floats(0, 1e7))
def test_no_duration_shows_sixty(seconds: float) -> None:
    assert not re.search(r"(?<![\d.])60(\.0)? (s|min)", plain(formats.duration(seconds)))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.8, "0.8"),
        (100_000.0, "100,000"),
        (3.14159, "3.142"),
        (1e-7, "1.000e-07"),
        (float("nan"), "not a number"),
        (float("inf"), "infinite"),
    ],
)
def test_measured_values_have_four_digits(value: float, text: str) -> None:
    assert formats.decimal(value) == text


def test_a_change_carries_its_sign() -> None:
    assert plain(formats.change(4.0, 3.0)) == "−25.0 %"
    assert plain(formats.change(4.0, 5.0)) == "+25.0 %"
    assert formats.change(0.0, 1.0) == "–"
