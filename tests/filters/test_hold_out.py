"""Holding out: a fraction by chance of the id alone, the same whatever else the corpus holds."""

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.corpus.document import document_id, documents
from tilth.corpus.ledger import Account
from tilth.filters.hold_out import RULE, HoldOut


def batch_of(numbers: list[int], source: str = "web") -> pa.RecordBatch:
    """Return documents whose ids depend on their numbers and whose texts do not."""
    count = len(numbers)
    ids = [document_id(source, str(number)) for number in numbers]
    return documents({"id": ids, "text": ["loam"] * count, "source": [source] * count})


def held(stage: HoldOut, batch: pa.RecordBatch) -> set[bytes]:
    outcome = stage.apply(batch)
    account = Account()
    account.judge(batch, outcome, stage.effect)
    account.check("hold-out", 0)
    return set(outcome.drops.column("id").to_pylist())


@given(
    st.lists(st.integers(0, 10_000), unique=True, max_size=60),
    st.sampled_from([1e-9, 0.01, 0.3, 0.999, 1.0]),
    st.integers(0, 2**32 - 1),
    st.randoms(use_true_random=False),
)
@settings(deadline=None)
def test_the_same_documents_whatever_else_is_in_the_corpus(numbers, fraction, seed, chance) -> None:  # type: ignore[no-untyped-def]
    stage = HoldOut("hold-out", fraction, seed)
    whole = batch_of(numbers)
    expected = held(stage, whole)
    some = sorted(chance.sample(range(len(numbers)), chance.randint(0, len(numbers))))
    part = whole.take(pa.array(some, pa.int64()))
    assert held(stage, part) == expected & set(part.column("id").to_pylist())
    cut = chance.randint(0, len(numbers))
    assert held(stage, whole.slice(0, cut)) | held(stage, whole.slice(cut)) == expected


@pytest.mark.parametrize("fraction", [0.001, 0.01, 0.05, 0.5, 0.99])
@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_the_fraction_holds_within_five_standard_deviations(fraction: float, seed: int) -> None:
    count = 20_000
    found = len(held(HoldOut("hold-out", fraction, seed), batch_of(list(range(count)))))
    assert abs(found - fraction * count) <= 5 * np.sqrt(count * fraction * (1 - fraction))


def test_all_of_it_is_all_of_it() -> None:
    batch = batch_of(list(range(1000)))
    assert held(HoldOut("hold-out", 1.0, 7), batch) == set(batch.column("id").to_pylist())


def test_the_seed_matters_and_its_choices_are_independent() -> None:
    batch = batch_of(list(range(20_000)))
    one, other = (held(HoldOut("hold-out", 0.2, seed), batch) for seed in (1, 2))
    assert one != other
    expected = 0.2 * 0.2 * 20_000
    assert abs(len(one & other) - expected) <= 5 * np.sqrt(expected)


def test_a_larger_fraction_holds_out_what_a_smaller_one_does_and_more() -> None:
    batch = batch_of(list(range(2000)))
    found = [held(HoldOut("hold-out", fraction, 3), batch) for fraction in (0.1, 0.2, 0.5)]
    assert found[0] < found[1] < found[2]


def test_a_changed_text_stays_where_it_was() -> None:
    batch = batch_of(list(range(500)))
    changed = documents({"id": batch.column("id"), "text": [str(n) for n in range(500)], "source": ["web"] * 500})
    stage = HoldOut("hold-out", 0.3, 1)
    assert held(stage, batch) == held(stage, changed)


def test_a_drop_says_where_the_document_fell_and_where_the_limit_is() -> None:
    outcome = HoldOut("hold-out", 0.25, 5).apply(batch_of(list(range(100))))
    assert outcome.drops.num_rows > 0
    for row in outcome.drops.to_pylist():
        assert (row["stage"], row["rule"], row["limit"]) == ("hold-out", RULE, 0.25)
        assert 0 <= row["value"] < 0.25


def test_an_empty_batch_is_well() -> None:
    assert held(HoldOut("hold-out", 0.5, 1), batch_of([1]).slice(0, 0)) == set()


def test_the_choice_never_changes_between_versions() -> None:
    # the documents that this very code held out when it was first released: an old evaluation stays valid
    batch = batch_of(list(range(1000)))
    ids = sorted(held(HoldOut("hold-out", 0.05, 1), batch))
    assert (len(ids), xxhash.xxh3_64_hexdigest(b"".join(ids))) == (45, "2f9fcc7638085ed8")


def test_a_second_stage_of_the_same_seed_draws_anew() -> None:
    batch = batch_of(list(range(20_000)))
    first = HoldOut("for-now", 0.2, 1).apply(batch)
    second = held(HoldOut("for-later", 0.2, 1), first.kept)
    assert 0.18 < len(second) / first.kept.num_rows < 0.22
