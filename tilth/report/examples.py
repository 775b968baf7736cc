"""A few documents of every rule, with their texts, chosen without chance: the smallest ids of the parts that are read.

The text of a dropped document stands where it entered the stage, so one text costs reading its part, 64 MB by default.
So a handful of parts, spread over the corpus, serves all rules of a stage; a rule that they lack brings in one part
more, which the receipts name. Every part is read once, batch by batch.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tilth.corpus.chain import Stored
from tilth.corpus.document import ID
from tilth.corpus.store import DROPS, Lineage, part_name, read_arrow
from tilth.report.excerpt import excerpts, printable
from tilth.report.flows import rule_drops
from tilth.report.model import DropExample, Excerpt, RuleExamples, UnreadableRecord
from tilth.report.sampling import covering, spread

PER_RULE = 3
PER_SOURCE = 2
SOURCES = 12  # the largest ones
RECORDS = 20
PARTS = 6  # 400 MB of text at the default size of a part
# Looking for survivors reads the ids of a part, about 40 bytes a document: this many take about a second.
MOST_SEARCHED = 2_000_000
PLACE = re.compile(r"(?P<file>.*?):(?P<offset>\d+): (?P<reason>.*)", re.DOTALL)


def dropped_examples(stored: Stored) -> tuple[RuleExamples, ...]:
    """Return examples of every rule of a stage that judged documents; the reading stage has none to show."""
    drops = rule_drops([stored])
    if not drops:
        return ()
    counts: dict[str, dict[int, int]] = {drop.rule: {} for drop in drops}
    for receipt in stored.manifest.receipts:
        for rules in receipt.account.dropped.values():
            for rule in counts.keys() & rules.keys():
                counts[rule][receipt.part] = counts[rule].get(receipt.part, 0) + rules[rule][0]
    chosen = {rule: _Smallest(PER_RULE) for rule in counts}
    for part in covering(counts, spread(stored.parts, PARTS)):
        for batch in read_arrow(stored.folder / DROPS / part_name(part), missing_is_empty=True):
            for rule, smallest in chosen.items():
                smallest.offer(part, batch.filter(pc.equal(batch.column("rule"), rule)))
    texts = _texts(stored.entering, chosen.values())
    survivors = _survivors(stored, {row["other"] for few in chosen.values() for _, row in few.rows if row["other"]})
    return tuple(
        RuleExamples(
            drop.stage,
            drop.rule,
            drop.dropped,
            tuple(_example(row, texts, survivors) for _, row in chosen[drop.rule].rows),
        )
        for drop in drops
    )


def kept_examples(stored: Stored) -> tuple[Excerpt, ...]:
    """Return documents that reached the end of the chain: a few of every source, those with the smallest ids."""
    kept = stored.manifest.account.kept
    largest = sorted(kept, key=lambda source: (-kept[source][1], source))[:SOURCES]
    counts: dict[str, dict[int, int]] = {source: {} for source in largest}
    for receipt in stored.manifest.receipts:
        for source in counts.keys() & receipt.account.kept.keys():
            counts[source][receipt.part] = receipt.account.kept[source][0]
    chosen = {source: _Smallest(PER_SOURCE) for source in sorted(counts)}
    for part in covering(counts, spread(stored.parts, PARTS)):
        for batch in stored.lineage.read(part):
            for source, smallest in chosen.items():
                smallest.offer(part, batch.filter(pc.equal(batch.column("source"), source)))
    texts = _texts(stored.lineage, chosen.values())
    return tuple(texts[row["id"]] for few in chosen.values() for _, row in few.rows)


def unreadable_records(stored: Stored) -> tuple[UnreadableRecord, ...]:
    """Return the first records that the reading stage could not turn into documents, in the order of the parts."""
    rows = (
        row
        for receipt in stored.manifest.receipts
        for batch in read_arrow(stored.folder / DROPS / part_name(receipt.part), missing_is_empty=True)
        for row in batch.to_pylist()
    )
    return tuple(_record(row) for row in islice(rows, RECORDS))


class _Smallest:
    """The rows with the smallest ids among those offered, each with the number of its part, in the order of the ids."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.rows: list[tuple[int, dict[str, Any]]] = []

    def offer(self, part: int, batch: pa.RecordBatch) -> None:
        """Take what is smaller than the largest row held."""
        few = batch.take(pc.array_sort_indices(batch.column("id"))[: self.most])
        found = [*self.rows, *((part, row) for row in few.to_pylist())]
        self.rows = sorted(found, key=lambda row: bytes(row[1]["id"]))[: self.most]


def _texts(lineage: Lineage, chosen: Iterable[_Smallest]) -> dict[bytes, Excerpt]:
    """Return the chosen documents as excerpts, by id."""
    by_part: dict[int, set[bytes]] = {}
    for few in chosen:
        for part, row in few.rows:
            by_part.setdefault(part, set()).add(row["id"])
    return {identity: text for part, ids in by_part.items() for identity, text in texts_of(lineage, part, ids).items()}


def texts_of(lineage: Lineage, part: int, ids: Collection[bytes]) -> dict[bytes, Excerpt]:
    """Return the documents with these ids at a part as excerpts, by id."""
    found: dict[bytes, Excerpt] = {}
    wanted = pa.array(sorted(ids), ID)
    for batch in lineage.read(part, ["text"]):
        rows = pc.indices_nonzero(pc.is_in(batch.column("id"), value_set=wanted))
        if len(rows):
            found.update((bytes.fromhex(excerpt.id), excerpt) for excerpt in excerpts(batch, rows))
    return found


def _survivors(stored: Stored, ids: Collection[bytes]) -> dict[bytes, Excerpt]:
    """Return the documents with ``ids`` that left the stage, as far as they are found in reasonable time."""
    missing = set(ids)
    found: dict[bytes, Excerpt] = {}
    searched = 0
    for receipt in stored.manifest.receipts:
        if not missing or searched > MOST_SEARCHED:
            break
        searched += receipt.account.documents_out
        wanted = pa.array(sorted(missing), ID)
        here = {
            identity
            for batch in stored.lineage.read(receipt.part)
            for identity in batch.column("id").filter(pc.is_in(batch.column("id"), value_set=wanted)).to_pylist()
        }
        if here:
            found |= texts_of(stored.lineage, receipt.part, here)
            missing -= here
    return found


def _example(row: Mapping[str, Any], texts: Mapping[bytes, Excerpt], survivors: Mapping[bytes, Excerpt]) -> DropExample:
    other = row["other"]
    return DropExample(
        texts[row["id"]], row["value"], row["limit"], other.hex() if other else None, survivors.get(other)
    )


def _record(row: Mapping[str, Any]) -> UnreadableRecord:
    """Take a reader's ``file:offset: reason`` apart; what does not look so is all reason."""
    detail = printable(row["detail"] or "")
    place = PLACE.fullmatch(detail)
    return UnreadableRecord(
        row["source"],
        row["rule"],
        row["bytes"],
        place["file"] if place else "",
        int(place["offset"]) if place else None,
        place["reason"] if place else detail,
    )
