from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tilth.corpus.chain import open_chain
from tilth.corpus.stage import Effect, MapStage, Outcome
from tilth.report import distributions as module
from tilth.report.distributions import axis, distributions
from tilth.report.limits import Limited


@dataclass(frozen=True)
class Length(MapStage):
    """Measures the bytes of a text; a text of one byte cannot be measured."""

    effect: ClassVar[Effect] = Effect.MEASURES
    columns: ClassVar[tuple[str, ...]] = ()

    @property
    def measures(self) -> tuple[str, ...]:
        return ("length",)

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        size = batch.column("bytes").to_numpy().astype(float)
        return Outcome(batch, signals={"length": pa.array(np.where(size == 1, np.nan, size))})


VALUES = arrays(np.float64, st.integers(1, 60), elements=st.floats(-1e12, 1e12) | st.just(np.nan))


@given(VALUES, st.none() | st.floats(-1e6, 1e6), st.none() | st.floats(-1e6, 1e6))
def test_an_axis_always_ascends(values: np.ndarray, low: float | None, high: float | None) -> None:
    edges = axis(values, low, high).edges
    assert np.isfinite(edges).all()
    assert (np.diff(edges) > 0).all()


@given(st.lists(st.floats(0, 1), min_size=1), st.floats(0, 1))
def test_the_limit_of_a_share_is_inside_the_picture(values: list[float], limit: float) -> None:
    chosen = axis(np.asarray(values), None, limit)
    if not 0 < 20 * max(values) < limit:
        assert chosen.edges[0] <= limit <= chosen.edges[-1]


def test_whole_numbers_have_a_bin_each() -> None:
    chosen = axis(np.asarray([0.0, 1.0, 2.0, 8.0]), low=2.0)
    assert chosen.scale == "whole"
    assert chosen.edges.tolist() == [number - 0.5 for number in range(10)]


def test_counts_with_a_long_tail_are_told_in_decades() -> None:
    chosen = axis(np.exp(np.random.default_rng(0).normal(6, 2, 5000)), 50.0, 100_000.0)
    assert chosen.scale == "logarithmic"
    assert chosen.edges[0] < 50
    assert chosen.edges[-1] > 100_000


def records(sizes: list[int]) -> dict[str, Any]:
    return {"a": [{"text": "x" * size} for size in sizes]}


def test_every_document_is_in_a_bin_or_was_not_measured(make_run: Any) -> None:
    sizes = [1, 1, *range(2, 300)]
    chain = open_chain(make_run(records(sizes), [Length("length")], part_bytes=4000))
    assert chain[0].parts > 3
    (found,), (read, parts) = distributions(chain, [Limited("length", "rules", "length", 10.0, 200.0)])
    assert (read, parts) == (chain[0].parts, chain[0].parts)
    assert (found.documents, found.unmeasured) == (300, 2)
    assert sum(found.counts) == 298
    assert found.outside == sum(size < 10 or size > 200 for size in sizes if size > 1)


def test_a_large_run_is_sampled_evenly_and_says_so(make_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = open_chain(make_run(records(list(range(2, 300))), [Length("length")], part_bytes=4000))
    monkeypatch.setattr(module, "MOST_BYTES", 4000)
    (found,), (read, parts) = distributions(chain, [Limited("length", "rules", "length", 10.0)])
    assert 0 < read < parts
    assert 0 < found.documents < 298


def test_a_signal_that_nobody_measured_is_left_out(make_run: Any) -> None:
    chain = open_chain(make_run(records([5, 6]), []))
    assert distributions(chain, [Limited("length", "rules", "length", 10.0)])[0] == []
