from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tilth.corpus.chain import open_chain
from tilth.filters.apply_rules import ApplyRules
from tilth.filters.measure import Measure
from tilth.filters.rules import Limits, Rule, judge, preset
from tilth.report.distributions import distributions
from tilth.report.limits import Limited, rule_limits, score_cuts
from tilth.selection.keep_best import KeepBest

GOPHER = "gopher.datatrove@1"
PROSE = "The fox and the hound have been with us for a long time, and that is to be expected of them. "
RECORDS = {"web": [{"text": PROSE * number} for number in range(1, 12)] + [{"text": "# # # #"}, {"text": ""}]}

BOUND = st.none() | st.integers(0, 9).map(float)


@given(BOUND, BOUND, st.booleans(), st.lists(st.integers(0, 9).map(float), min_size=1))
def test_limits_hold_exactly_where_the_rule_does(
    low: float | None, high: float | None, strict: bool, values: list[float]
) -> None:
    limited = Limited("signal", "stage", "rule", low, high, strict)
    rules = replace(preset(GOPHER), rules=(Rule("rule", Limits(low, high, strict)),))
    verdicts = judge(rules, [np.asarray(values)])
    assert (limited.holds(np.asarray(values)) == (verdicts.rule < 0)).all()


def test_limits_are_those_of_the_run_with_its_changes(make_run: Any) -> None:
    stages = [Measure("signals", (GOPHER,)), ApplyRules("rules", GOPHER, (("words", 40.0, None),))]
    found = {limited.signal: limited for limited in rule_limits(open_chain(make_run(RECORDS, stages)))}
    words = found["gopher.datatrove.words"]
    assert (words.stage, words.rule, words.low, words.high) == ("rules", "gopher.datatrove.words", 40.0, None)
    assert found["gopher.datatrove.hash_to_words"].high == 0.1
    assert len(found) == len(stages[1].needs)


def test_what_lies_outside_a_first_limit_is_what_the_rule_dropped(make_run: Any) -> None:
    stages = [Measure("signals", (GOPHER,)), ApplyRules("rules", GOPHER)]
    chain = open_chain(make_run(RECORDS, stages))
    shown, _ = distributions(chain, list(rule_limits(chain)))
    dropped = chain[-1].manifest.account.dropped["web"]
    assert shown[0].signal == "gopher.datatrove.words"
    assert shown[0].outside == dropped["gopher.datatrove.words"][0] > 0
    # an empty text has no share of anything
    assert all(one.unmeasured == 1 for one in shown if one.signal.endswith("_to_words"))


def test_an_inverted_stage_is_drawn_inverted(make_run: Any) -> None:
    stages = [Measure("signals", (GOPHER,)), ApplyRules("rules", GOPHER, inverse=True)]
    assert all(limited.inverted for limited in rule_limits(open_chain(make_run(RECORDS, stages))))


def test_a_cut_is_drawn_with_its_score_and_a_score_without_a_cut_without(make_run: Any) -> None:
    stages = [Measure("signals", (GOPHER,)), KeepBest("select", "gopher.datatrove.words", 60.0, "0" * 32)]
    chain = open_chain(make_run(RECORDS, stages))
    (cut,) = score_cuts(chain)
    assert (cut.signal, cut.stage, cut.rule, cut.low) == ("gopher.datatrove.words", "select", "below_cut", 60.0)
    (shown,), _ = distributions(chain, [cut])
    assert shown.outside == chain[-1].manifest.account.documents_dropped
