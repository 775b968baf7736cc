from typing import Any

import pytest

from tilth.corpus.chain import open_chain
from tilth.corpus.document import document_id
from tilth.filters.dedup.survivor import Preference
from tilth.filters.exact import ExactDuplicates
from tilth.report import examples as module
from tilth.report.examples import PER_RULE, PER_SOURCE, dropped_examples, kept_examples, unreadable_records

DUPLICATES = {
    "books": [{"text": f"chapter {number}\n\nsecond line"} for number in range(10)],
    "web": [{"text": f"chapter {number}\n\nsecond line"} for number in range(10)] + [{"text": "only here"}],
}


def duplicates_run(make_run: Any, part_bytes: int = 1 << 20) -> Any:
    return open_chain(make_run(DUPLICATES, [ExactDuplicates("deduplicate", Preference(("books", "web")))], part_bytes))


def test_examples_are_the_smallest_ids_of_the_rule(make_run: Any) -> None:
    chain = duplicates_run(make_run)
    (rule,) = dropped_examples(chain[-1])
    assert (rule.stage, rule.rule, rule.dropped.documents) == ("deduplicate", "exact_duplicate", 10)
    shown = [example.document for example in rule.examples]
    every = sorted(
        row["id"].hex() for batch in chain[0].lineage.read(1) for row in batch.to_pylist() if row["source"] == "web"
    )
    dropped = [identity for identity in every if identity not in {kept.id for kept in kept_examples(chain[-1])}]
    assert [document.id for document in shown] == dropped[:PER_RULE]
    assert all(document.text.endswith("\n\nsecond line") for document in shown)


def test_a_duplicate_is_shown_with_the_document_that_stayed(make_run: Any) -> None:
    (rule,) = dropped_examples(duplicates_run(make_run)[-1])
    for example in rule.examples:
        assert example.survivor is not None
        assert example.survivor.id == example.other
        assert example.survivor.source == "books"
        assert example.survivor.digest == example.document.digest


def test_a_survivor_that_is_far_to_seek_is_named_but_not_shown(make_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = duplicates_run(make_run, part_bytes=40)
    monkeypatch.setattr(module, "MOST_SEARCHED", -1)
    (rule,) = dropped_examples(chain[-1])
    assert all(example.survivor is None and example.other for example in rule.examples)


def test_kept_documents_of_every_source_are_shown(make_run: Any) -> None:
    shown = kept_examples(duplicates_run(make_run)[-1])
    assert [document.source for document in shown] == ["books"] * PER_SOURCE + ["web"]
    assert shown[-1].text == "only here"


def test_the_choice_does_not_depend_on_the_order_of_the_rows(make_run: Any) -> None:
    assert dropped_examples(duplicates_run(make_run)[-1]) == dropped_examples(duplicates_run(make_run)[-1])


def test_an_unreadable_record_tells_file_place_and_reason(make_run: Any) -> None:
    lines = [{"text": "good"}, "{broken", {"text": "also good"}]
    (record,) = unreadable_records(open_chain(make_run({"web": lines}))[0])
    assert (record.source, record.rule, record.bytes) == ("web", "unreadable", len("{broken"))
    assert record.file == "web.jsonl"
    assert record.offset == len('{"text": "good"}\n')
    assert record.reason
    assert document_id("web", f"{record.file}#{record.offset}")


def test_a_reason_that_looks_otherwise_is_shown_whole(make_run: Any) -> None:
    row = {"source": "a", "rule": "unreadable", "bytes": 3, "detail": "no place at all \u202e"}
    record = module._record(row)
    assert (record.file, record.offset, record.reason) == ("", None, "no place at all [U+202E]")
