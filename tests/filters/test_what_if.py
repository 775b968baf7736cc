"""What another limit keeps is what the stage would keep, document for document; sweeps and neighbours agree with it."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilth.filters.entering import Entering
from tilth.filters.rules import Limits, Preset, Rule, breaks, holds, judge
from tilth.filters.what_if import by_source, kept

VALUES = st.lists(st.tuples(*[st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0, math.nan])] * 3), min_size=1, max_size=12)
BOUNDS = st.one_of(st.none(), st.sampled_from([0.0, 0.5, 1.0]))
LIMITS = st.lists(st.builds(Limits, BOUNDS, BOUNDS, st.booleans()), min_size=3, max_size=3)


def rules_of(limits: list[Limits]) -> Preset:
    rules = tuple(Rule(f"rule{place}", limit) for place, limit in enumerate(limits))
    return Preset("test", 1, "none", rules, measure=lambda texts: {})


def entering_of(values: list[tuple[float, ...]]) -> Entering:
    rows = len(values)
    signals = [np.array(column) for column in zip(*values, strict=True)]
    return Entering(["a", "b"], np.arange(rows) % 2, np.arange(rows) + 1, signals, pa.array([], pa.binary(16)))


@given(VALUES, LIMITS, LIMITS, st.booleans())
def test_the_answer_is_the_verdict_of_the_rules(
    values: list[tuple[float, ...]], limits: list[Limits], others: list[Limits], inverse: bool
) -> None:
    now, then = rules_of(limits), rules_of([others[0], *limits[1:]])
    if inverse:
        now, then = now.inverted(), then.inverted()
    entering = entering_of(values)
    found = list(kept(entering, now, [then, now]))
    for mask, rules in zip(found, (now, then, now), strict=True):
        assert mask.tolist() == (judge(rules, entering.signals).rule < 0).tolist()


@given(VALUES, LIMITS)
def test_one_rule_holds_or_breaks_or_has_no_number(values: list[tuple[float, ...]], limits: list[Limits]) -> None:
    for rule, signal in zip(rules_of(limits).rules, entering_of(values).signals, strict=True):
        held, broken = holds(rule, signal), breaks(rule, signal)
        assert (held.astype(int) + broken + np.isnan(signal)).tolist() == [1] * len(signal)


def test_documents_and_bytes_are_counted_by_source_and_verdict() -> None:
    entering = entering_of([(0.0,)] * 5)
    now, then = np.array([True, False, True, True, False]), np.array([True, True, False, True, False])
    found = by_source(entering, now, then)
    assert {name: (documents.tolist(), sizes.tolist()) for name, (documents, sizes) in found.items()} == {
        "a": ([1, 1, 0, 1], [5, 3, 0, 1]),
        "b": ([0, 0, 1, 1], [0, 0, 2, 4]),
    }


def test_sweeps_neighbours_and_answers_agree_on_a_run(stored_run: object) -> None:
    from tilth.filters.near import near
    from tilth.filters.what_if import sweep, what_if

    chain = stored_run
    swept = sweep(chain, "words", ["10..", "50..", "90.."])  # type: ignore[arg-type]
    for place, limit in enumerate(("10..", "50..", "90..")):
        answer = what_if(chain, [f"words={limit}"])  # type: ignore[arg-type]
        assert sum(documents for documents, _ in swept.kept[place].values()) == answer.total.documents_then
        assert sum(size for _, size in swept.kept[place].values()) == answer.total.bytes_then
    found = near(chain, "gopher.datatrove.words", 2)  # type: ignore[arg-type]
    assert [(one.value, one.passes) for one in found.documents if one.value < 60] == [
        (48, False),
        (49, False),
        (50, True),
        (51, True),
    ]
    assert all(len(one.text.split()) == one.value for one in found.documents)


@pytest.fixture(params=[False, True], ids=["all documents", "after drops"])
def stored_run(request: pytest.FixtureRequest, tmp_path: object) -> object:
    """A chain of 100 documents with 1 to 100 words, in two sources; with or without documents that left before."""
    import json
    from pathlib import Path

    from tilth.corpus.chain import Chain
    from tilth.corpus.engines import engine
    from tilth.corpus.sources import Source, find_files, input_digests
    from tilth.corpus.splits import plan_parts
    from tilth.filters.apply_rules import ApplyRules
    from tilth.filters.dedup.survivor import Preference
    from tilth.filters.exact import ExactDuplicates
    from tilth.filters.measure import Measure

    root = Path(str(tmp_path))
    sources, digests, files = {}, {}, []
    for name, first in (("field", 1), ("garden", 2)):
        texts = [" ".join((["the", "of", *["oats"] * 98])[:words]) for words in range(first, 101, 2)]
        lines = [json.dumps({"text": text}) for text in [*texts, *(texts[:3] if request.param else [])]]
        (root / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        sources[name] = Source(name, (str(root / f"{name}.jsonl"),))
        found = find_files(sources[name], root)
        digests[name] = input_digests(found, root / "digests.json")
        files += found
    chain = Chain(root / "run", engine("local", 1))
    stored = chain.read(sources, plan_parts(tuple(files), 1 << 20), digests)
    if request.param:
        stored = chain.apply(ExactDuplicates("deduplicate", Preference(("field", "garden"))), stored)
    stored = chain.apply(Measure("rules-signals", ("gopher.datatrove@1",)), stored)
    chain.apply(ApplyRules("rules", "gopher.datatrove@1"), stored)
    return chain.done
