"""Where documents went: the accounts of a chain, added up by stage, by source and by rule. Only manifests are read.

Held-out documents leave the chain as drops, so that the ledger counts them, but nobody wants them called dropped: they
stand apart everywhere.
"""

from collections.abc import Iterable, Sequence

from tilth.corpus.chain import Stored
from tilth.corpus.ledger import Counts
from tilth.filters.hold_out import RULE as HELD_OUT
from tilth.report.model import Amount, RuleDrops, RuleEdits, SourceFlow, StageFlow


def stage_flow(stored: Stored) -> StageFlow:
    """Return what went into a stage and what became of it."""
    manifest, account = stored.manifest, stored.manifest.account
    by_rule = list(account.dropped.values())
    return StageFlow(
        name=manifest.name,
        kind=str(manifest.description["stage"]),
        effect=manifest.effect,
        entered=Amount(account.documents_in, account.bytes_in),
        kept=Amount(account.documents_out, account.bytes_out),
        dropped=total(counts for rules in by_rule for rule, counts in rules.items() if rule != HELD_OUT),
        held_out=total(rules.get(HELD_OUT, (0, 0)) for rules in by_rule),
        edited_bytes=account.edited_bytes,
        parts=stored.parts,
        fingerprint=manifest.fingerprint,
        set_digest=account.set_digest,
    )


def source_flows(chain: Sequence[Stored]) -> tuple[SourceFlow, ...]:
    """Return what was read of every source and what is left of it, largest source first."""
    accounts = [stored.manifest.account for stored in chain]
    kept: Counts = accounts[-1].kept
    sources = {*accounts[0].kept, *accounts[0].dropped}
    flows = []
    for source in sources:
        rules = [(rule, counts) for account in accounts for rule, counts in account.dropped.get(source, {}).items()]
        unreadable = total(accounts[0].dropped.get(source, {}).values())
        flows.append(
            SourceFlow(
                source=source,
                read=Amount(*accounts[0].kept.get(source, (0, 0))) + unreadable,
                dropped=total(counts for rule, counts in rules if rule != HELD_OUT),
                held_out=total(counts for rule, counts in rules if rule == HELD_OUT),
                kept=Amount(*kept.get(source, (0, 0))),
            )
        )
    return tuple(sorted(flows, key=lambda flow: (-flow.read.bytes, flow.source)))


def rule_drops(chain: Iterable[Stored]) -> tuple[RuleDrops, ...]:
    """Return what every rule removed, in the order of the stages, then the strictest rule first."""
    drops = []
    for stored in chain:
        by_rule: dict[str, dict[str, Amount]] = {}
        for source, rules in stored.manifest.account.dropped.items():
            for rule, counts in rules.items():
                by_rule.setdefault(rule, {})[source] = Amount(*counts)
        found = [
            RuleDrops(stored.manifest.name, rule, sum(sources.values(), Amount()), dict(sorted(sources.items())))
            for rule, sources in by_rule.items()
            if rule != HELD_OUT
        ]
        drops += sorted(found, key=lambda drop: (-drop.dropped.documents, drop.rule))
    return tuple(drops)


def rule_edits(chain: Iterable[Stored]) -> tuple[RuleEdits, ...]:
    """Return how often every rule edited a text, in the order of the stages, the busiest rule first."""
    edits = []
    for stored in chain:
        found = [RuleEdits(stored.manifest.name, rule, count) for rule, count in stored.manifest.account.edits.items()]
        edits += sorted(found, key=lambda edit: (-edit.edits, edit.rule))
    return tuple(edits)


def total(counts: Iterable[Sequence[int]]) -> Amount:
    """Return the sum of (documents, bytes) pairs."""
    return sum((Amount(*pair) for pair in counts), Amount())
