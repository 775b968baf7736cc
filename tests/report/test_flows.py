from typing import Any

from tilth.corpus.chain import open_chain
from tilth.filters.dedup.survivor import Preference
from tilth.filters.exact import ExactDuplicates
from tilth.filters.hold_out import HoldOut
from tilth.report.flows import rule_drops, source_flows, stage_flow
from tilth.report.model import Amount

RECORDS = {
    "web": [{"text": f"page {number % 30}"} for number in range(40)] + ["{broken", '{"title": "no text"}'],
    "books": [{"text": f"chapter {number}"} for number in range(20)] + [{"text": "page 1"}],
}


def test_every_document_that_was_read_is_found_again(make_run: Any) -> None:
    chain = open_chain(
        make_run(RECORDS, [ExactDuplicates("deduplicate", Preference(("books", "web"))), HoldOut("hold-out", 0.3, 1)])
    )
    flows = source_flows(chain)
    assert {flow.source: flow.read.documents for flow in flows} == {"web": 42, "books": 21}
    for flow in flows:
        assert flow.read == flow.dropped + flow.held_out + flow.kept
    for stage in (stage_flow(stored) for stored in chain):
        assert stage.entered == stage.kept + stage.dropped + stage.held_out


def test_held_out_documents_are_not_called_dropped(make_run: Any) -> None:
    chain = open_chain(make_run(RECORDS, [HoldOut("hold-out", 0.3, 1)]))
    held_out = stage_flow(chain[-1])
    assert held_out.dropped == Amount()
    assert held_out.held_out.documents > 0
    assert {(drops.stage, drops.rule) for drops in rule_drops(chain)} == {("read", "unreadable")}


def test_rules_add_up_to_what_the_sources_lost(make_run: Any) -> None:
    chain = open_chain(make_run(RECORDS, [ExactDuplicates("deduplicate", Preference(("books", "web")))]))
    rules = rule_drops(chain)
    assert [(drops.stage, drops.rule, drops.dropped.documents) for drops in rules] == [
        ("read", "unreadable", 2),
        ("deduplicate", "exact_duplicate", 11),
    ]
    for source in source_flows(chain):
        lost = sum((drops.by_source.get(source.source, Amount()) for drops in rules), Amount())
        assert lost == source.dropped
