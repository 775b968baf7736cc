"""Rules refuse what lies outside their limits, limits that make no sense, and signals that are not numbers."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilth.corpus.errors import UserError
from tilth.filters.rules import (
    Limits,
    Preset,
    Rule,
    at_least,
    at_most,
    between,
    judge,
    less_than,
    more_than,
    preset,
)

GOPHER = preset("gopher.datatrove@1")


def rules_of(*limits: Limits) -> Preset:
    rules = tuple(Rule(f"rule{place}", limit) for place, limit in enumerate(limits))
    return Preset("test", 1, "none", rules, measure=lambda texts: {})


def verdict(rules: Preset, *values: float) -> tuple[int, bool, float | None, float | None]:
    """Judge one document by one value a rule."""
    found = judge(rules, [np.array([value]) for value in values])
    value, limit = (None if math.isnan(x) else float(x) for x in (found.value[0], found.limit[0]))
    return int(found.rule[0]), bool(found.undefined[0]), value, limit


@pytest.mark.parametrize(
    ("limits", "kept", "refused"),
    [
        (between(1, 2), [1, 1.5, 2], [(math.nextafter(1, 0), 1), (math.nextafter(2, 3), 2)]),
        (at_least(1), [1, math.inf], [(math.nextafter(1, 0), 1), (-math.inf, 1)]),
        (at_most(1), [1, -math.inf], [(math.nextafter(1, 2), 1), (math.inf, 1)]),
        (more_than(1), [math.nextafter(1, 2)], [(1, 1)]),
        (less_than(1), [math.nextafter(1, 0)], [(1, 1)]),
        (Limits(None, None), [-math.inf, 0, math.inf], []),
        (between(0, 0), [0, -0.0], [(1e-300, 0)]),
    ],
)
def test_a_limit_is_kept_to_the_last_bit(limits: Limits, kept: list[float], refused: list[tuple[float, float]]) -> None:
    for value in kept:
        assert verdict(rules_of(limits), value) == (-1, False, None, None)
    for value, limit in refused:
        assert verdict(rules_of(limits), value) == (0, False, value, limit)


def test_the_first_rule_that_fails_decides() -> None:
    rules = rules_of(at_most(1), at_least(5), at_most(3))
    assert verdict(rules, 0, 4, 9) == (1, False, 4, 5)
    assert verdict(rules, 2, 4, 9) == (0, False, 2, 1)


def test_a_signal_that_is_no_number_fails_as_undefined_and_never_passes() -> None:
    for limits in (between(1, 2), at_least(1), at_most(1), Limits(None, None)):
        assert verdict(rules_of(limits), math.nan) == (0, True, None, None)
        assert verdict(rules_of(limits).inverted(), math.nan) == (0, True, None, None)


def test_an_inverse_preset_keeps_an_undefined_document_only_for_a_rule_it_breaks() -> None:
    rules = rules_of(at_most(1), at_most(1)).inverted()
    assert verdict(rules, math.nan, 2) == (-1, False, None, None)
    assert verdict(rules, math.nan, 0) == (0, True, None, None)
    assert verdict(rules, 0, 0) == (2, False, None, None)


VALUES = st.lists(st.tuples(*[st.floats(-2, 2) | st.just(math.nan)] * 3), min_size=1, max_size=8)
BOUNDS = st.one_of(st.none(), st.floats(-2, 2))


@given(VALUES, st.lists(st.builds(Limits, BOUNDS, BOUNDS, st.booleans()), min_size=3, max_size=3))
def test_a_preset_and_its_inverse_share_the_documents_out(
    values: list[tuple[float, ...]], limits: list[Limits]
) -> None:
    rules = rules_of(*limits)
    signals = [np.array(column) for column in zip(*values, strict=True)]
    kept = judge(rules, signals).rule < 0
    kept_by_inverse = judge(rules.inverted(), signals).rule < 0
    assert not (kept & kept_by_inverse).any()
    assert (kept | kept_by_inverse | np.isnan(signals).any(axis=0)).all()
    assert rules.inverted().inverted() == rules


@given(VALUES)
def test_a_document_is_judged_by_itself(values: list[tuple[float, ...]]) -> None:
    rules = rules_of(between(-1, 1), at_most(0), more_than(0))
    together = judge(rules, [np.array(column) for column in zip(*values, strict=True)])
    alone = [verdict(rules, *row)[0] for row in values]
    assert together.rule.tolist() == alone


def test_no_documents_are_no_trouble() -> None:
    assert len(judge(GOPHER, [np.zeros(0)] * len(GOPHER.rules)).rule) == 0


def test_a_recipes_limits_are_read_in_the_order_of_the_rules() -> None:
    given_limits = {"stop_words": 1, "hash_to_words": 0.2, "words": [40, None]}
    assert GOPHER.read_limits(given_limits) == (
        ("words", 40.0, None),
        ("hash_to_words", None, 0.2),
        ("stop_words", 1.0, None),
    )
    assert GOPHER.read_limits({}) == ()


def test_new_limits_replace_only_those_of_the_rule_they_name() -> None:
    changed = GOPHER.with_limits(GOPHER.read_limits({"words": (40, None), "alphabetic_words": [0.5, 0.9]}))
    rules = {rule.name: rule.limits for rule in changed.rules}
    assert rules.pop("words") == Limits(40, None)
    assert rules.pop("alphabetic_words") == Limits(0.5, 0.9)
    assert rules == {name: limits for name, limits in {r.name: r.limits for r in GOPHER.rules}.items() if name in rules}
    assert [rule.name for rule in changed.rules] == [rule.name for rule in GOPHER.rules]
    assert replace(changed, rules=GOPHER.rules) == GOPHER


def test_a_strict_limit_stays_strict() -> None:
    rules = rules_of(more_than(1)).with_limits([("rule0", 2, None)])
    assert verdict(rules, 2) == (0, False, 2, 2)


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"word": 3}, "did you mean 'words'"),
        ({"zzz": 3}, "known: words, mean_word_length"),
        ({"words": 40}, "expected two limits"),
        ({"words": [1, 2, 3]}, "expected two limits"),
        ({"words": "40"}, "expected two limits"),
        ({"words": None}, "expected two limits"),
        ({"stop_words": "2"}, "expected a number"),
        ({"stop_words": True}, "expected a number"),
        ({"stop_words": -1}, "found -1, expected a number from 0"),
        ({"stop_words": math.nan}, "found nan, expected a number from 0"),
        ({"hash_to_words": math.inf}, "found inf, expected a number from 0"),
        ({"words": [True, None]}, "found True, expected a number"),
        ({"words": ["a", None]}, "found 'a', expected a number"),
        ({"words": [50, 40]}, r"found \[50, 40\], expected the lower limit first"),
    ],
)
def test_limits_that_make_no_sense_are_refused_in_one_line(limits: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said) as refused:
        GOPHER.read_limits(limits)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("limits", [("word", 1, 2), ("words", -1, 2), ("words", 3, 2), ("words", math.nan, None)])
def test_limits_are_checked_where_they_are_set_too(limits: tuple[str, float, float | None]) -> None:
    with pytest.raises(UserError, match="limits: gopher"):
        GOPHER.with_limits([limits])


@pytest.mark.parametrize("reference", ["gopher.datatrove", "gopher.datatrove@2", "gofer.datatrove@1"])
def test_an_unknown_preset_is_refused_with_the_nearest_name(reference: str) -> None:
    with pytest.raises(UserError, match=r"did you mean 'gopher.datatrove@1'"):
        preset(reference)
