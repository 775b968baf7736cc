"""Exact deduplication: one document of every text stays, and which one is no accident."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilth.corpus.document import document_id, documents
from tilth.corpus.ledger import Account
from tilth.corpus.stage import Outcome
from tilth.filters.dedup.survivor import Preference
from tilth.filters.exact import ExactDuplicates, SameAddress

CORPUS = st.lists(
    st.tuples(
        st.sampled_from(["books", "farm", "web"]), st.sampled_from(["", "loam", "Loam", "loam ", "löam", "worm"])
    ),
    max_size=20,
)
Records = Sequence[tuple[str, str]]


def batch_of(records: Records) -> pa.RecordBatch:
    return documents(
        {
            "id": [document_id(source, str(number)) for number, (source, _) in enumerate(records)],
            "text": [text for _, text in records],
            "source": [source for source, _ in records],
        }
    )


def deduplicated(stage: ExactDuplicates, batches: Sequence[pa.RecordBatch]) -> list[Outcome]:
    """Run the stage over batches as an engine does: all keys, one reduction, every batch with all reduced rows."""
    keyed = [
        (rows := stage.keys(batch)).append_column("home", pa.array(np.full(rows.num_rows, home, np.int32)))
        for home, batch in enumerate(batches)
    ]
    rows = pa.Table.from_batches(keyed)
    rows = stage.reduce(rows.sort_by([(name, "ascending") for name in rows.column_names]))
    outcomes = [stage.apply(batch, rows) for batch in batches]
    account = Account()
    for batch, outcome in zip(batches, outcomes, strict=True):
        account.judge(batch, outcome, stage.effect)
    account.check("exact", 0)
    return outcomes


def slow_twin(priority: Sequence[str], batch: pa.RecordBatch) -> dict[bytes, bytes]:
    """Return dropped id -> surviving id, said slowly."""
    rank = {source: place for place, source in enumerate(priority)}
    groups: dict[str, list[tuple[int, bytes]]] = {}
    for row in batch.to_pylist():
        groups.setdefault(row["text"], []).append((rank.get(row["source"], len(priority)), row["id"]))
    return {identity: min(group)[1] for group in groups.values() for _, identity in group if identity != min(group)[1]}


@pytest.mark.parametrize("priority", [(), ("web",), ("web", "farm"), ("farm", "books", "web"), ("unheard of", "books")])
@given(CORPUS, st.randoms(use_true_random=False))
def test_the_best_of_every_text_stays_however_documents_arrive(priority, records, chance) -> None:  # type: ignore[no-untyped-def]
    whole = batch_of(records)
    expected = slow_twin(priority, whole)
    shuffled = whole.take(pa.array(chance.sample(range(len(records)), len(records)), pa.int64()))
    cut = chance.randint(0, len(records))
    # the batches are slices, so that their Arrow offsets are not zero
    outcomes = deduplicated(
        ExactDuplicates("exact", Preference(priority)), [shuffled.slice(0, cut), shuffled.slice(cut)]
    )
    dropped = {row["id"]: row["other"] for outcome in outcomes for row in outcome.drops.to_pylist()}
    assert dropped == expected
    kept = [row["text"] for outcome in outcomes for row in outcome.kept.to_pylist()]
    assert sorted(kept) == sorted({text for _, text in records})


@given(CORPUS)
def test_a_second_pass_finds_nothing(records: Records) -> None:
    stage = ExactDuplicates("exact", Preference(("farm",)))
    (first,) = deduplicated(stage, [batch_of(records)])
    (second,) = deduplicated(stage, [first.kept])
    assert second.drops.num_rows == 0
    assert second.kept.equals(first.kept)


def test_a_corpus_without_duplicates_loses_nothing() -> None:
    batch = batch_of([("web", str(number)) for number in range(50)])
    (outcome,) = deduplicated(ExactDuplicates("exact"), [batch])
    assert outcome.kept.equals(batch)


def test_a_drop_says_stage_rule_and_survivor() -> None:
    batch = batch_of([("web", "loam"), ("farm", "loam")])
    (outcome,) = deduplicated(ExactDuplicates("exact", Preference(("farm",))), [batch])
    (drop,) = outcome.drops.to_pylist()
    assert (drop["stage"], drop["rule"], drop["source"]) == ("exact", "exact_duplicate", "web")
    assert drop["other"] == document_id("farm", "1")


def test_the_whole_order_of_survivors_decides_not_the_priority_alone() -> None:
    batch = documents(
        {
            "id": [document_id("web", str(number)) for number in range(4)],
            "text": ["loam"] * 4,
            "source": ["web"] * 4,
            "date": ["2001", "2024-05", "2024-06-01", None],
        }
    )
    for by, stays in (("newest", "2"), ("oldest", "0")):
        (outcome,) = deduplicated(ExactDuplicates("exact", Preference((), (by,))), [batch])  # type: ignore[arg-type]
        assert outcome.kept.column("id").to_pylist() == [document_id("web", stays)]
    scored = batch.append_column("good", pa.array([0.1, 0.2, 0.3, 0.9]))
    stage = ExactDuplicates("exact", Preference((), ("quality", "newest"), "good"))
    assert stage.needs == ("good",)
    (outcome,) = deduplicated(stage, [scored])
    assert outcome.kept.column("id").to_pylist() == [document_id("web", "3")]


def test_one_address_is_one_document_and_documents_without_one_stay() -> None:
    urls = ["http://farm.example/a", "http://farm.example/b", "http://farm.example/a", None, "", None]
    rows = [("web" if number else "farm", str(number)) for number in range(6)]
    batch = batch_of(rows).set_column(3, "url", pa.array(urls, pa.string()))
    (outcome,) = deduplicated(SameAddress("url", Preference(("farm",))), [batch])
    (drop,) = outcome.drops.to_pylist()
    assert (drop["id"], drop["rule"], drop["other"]) == (
        document_id("web", "2"),
        "same_url",
        document_id("farm", "0"),
    )


def test_documents_too_short_to_compare_elsewhere_are_compared_here() -> None:
    # text-dedup removes them from the output
    batch = batch_of([("web", ""), ("web", "a"), ("web", "")])
    (outcome,) = deduplicated(ExactDuplicates("exact"), [batch])
    assert sorted(row["text"] for row in outcome.kept.to_pylist()) == ["", "a"]


def test_no_text_is_read() -> None:
    assert "text" not in ExactDuplicates.columns
    bare = batch_of([("web", "loam"), ("farm", "loam")]).select(["id", "source", "bytes", "digest", "date"])
    (outcome,) = deduplicated(ExactDuplicates("exact"), [bare])
    assert outcome.drops.num_rows == 1


def test_the_priority_is_part_of_the_fingerprint() -> None:
    described = [
        ExactDuplicates("exact", Preference(priority)).describe() for priority in ((), ("a",), ("a", "b"), ("b", "a"))
    ]
    assert len({str(one) for one in described}) == 4
