"""The ledger: documents in = documents out + drops, bytes likewise, for every part of every stage.

Counts alone would let one document be swapped for another, so the law also holds for the sum of the ids: a 128-bit
sum is free of order and additive over parts, and so is the set digest, which sums a mix of id and text digest. Two
runs with equal set digests put out the same documents with the same texts. And what a stage neither dropped nor edited
must leave every batch as it came, text and source: a silent change would be believed by every stage after it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tilth.corpus.document import halves, text_bytes, text_digests
from tilth.corpus.stage import Effect, Outcome

Counts = dict[str, list[int]]  # name -> [documents, bytes]


class LedgerError(Exception):
    """A stage lost or invented documents: a defect of the stage, and the part is not committed."""


@dataclass
class Account:
    """What went into a part and what became of it. Documents are counted in documents and UTF-8 bytes of text."""

    documents_in: int = 0
    bytes_in: int = 0
    edited_bytes: int = 0  # what edits added (or removed, if negative)
    kept: Counts = field(default_factory=dict)  # by source
    dropped: dict[str, Counts] = field(default_factory=dict)  # by source, then by rule
    edits: dict[str, int] = field(default_factory=dict)  # by rule
    id_balance: tuple[int, int] = (0, 0)  # ids in - ids out - ids dropped: zero
    digest_sum: tuple[int, int] = (0, 0)

    @property
    def documents_out(self) -> int:
        """Documents that go on."""
        return sum(documents for documents, _ in self.kept.values())

    @property
    def bytes_out(self) -> int:
        """Bytes of text that go on."""
        return sum(size for _, size in self.kept.values())

    @property
    def documents_dropped(self) -> int:
        """Documents that leave here."""
        return sum(count for rules in self.dropped.values() for count, _ in rules.values())

    @property
    def bytes_dropped(self) -> int:
        """Bytes of text that leave here."""
        return sum(size for rules in self.dropped.values() for _, size in rules.values())

    @property
    def set_digest(self) -> str:
        """32 hex digits: equal for equal sets of (id, text), whatever their order and their parts."""
        return f"{self.digest_sum[1]:016x}{self.digest_sum[0]:016x}"

    def read(self, documents: pa.RecordBatch, drops: pa.RecordBatch, records: int) -> None:
        """Count a chunk that a reader brought out of ``records`` records."""
        self.documents_in += records
        self.bytes_in += _sum(documents, "bytes") + _sum(drops, "bytes")
        self._out(documents, drops)

    def judge(self, batch: pa.RecordBatch, outcome: Outcome, effect: Effect) -> None:
        """Count what a stage said about ``batch``.

        Raises ``LedgerError`` where a signal has another length than the batch, where the stage did more than its
        ``effect`` says, or where a document changed that it did not say it changed.
        """
        for name, array in outcome.signals.items():
            if len(array) != batch.num_rows:
                raise LedgerError(f"signal '{name}' has {len(array)} values for {batch.num_rows} documents")
        if outcome.edits.num_rows and effect is not Effect.EDITS:
            raise LedgerError("a stage that may not change texts returned edits")
        if outcome.drops.num_rows and effect is Effect.MEASURES:
            raise LedgerError("a stage that only measures dropped documents")
        _check_untouched(batch, outcome)
        self.documents_in += batch.num_rows
        self.bytes_in += _sum(batch, "bytes")
        if effect is Effect.EDITS:
            _check_derived(outcome.kept)
            edits = outcome.edits
            self.edited_bytes += int(pc.sum(pc.binary_length(edits.column("replacement"))).as_py() or 0) - int(
                pc.sum(pc.subtract(edits.column("end"), edits.column("start"))).as_py() or 0
            )
            for rule, count in _counts(edits.column("rule")):
                self.edits[rule] = self.edits.get(rule, 0) + count
        self.id_balance = _minus(self.id_balance, _id_sum(batch), -1)
        self._out(outcome.kept, outcome.drops)
        self.id_balance = _minus(self.id_balance, _id_sum(outcome.kept), 1)
        self.id_balance = _minus(self.id_balance, _id_sum(outcome.drops), 1)

    def _out(self, kept: pa.RecordBatch, drops: pa.RecordBatch) -> None:
        for source, documents, size in _grouped(kept, ["source"]):
            add(self.kept, source, documents, size)
        for source, rule, documents, size in _grouped(drops, ["source", "rule"]):
            add(self.dropped.setdefault(source, {}), rule, documents, size)
        self.digest_sum = _minus(self.digest_sum, _digest_sum(kept), -1)

    def check(self, folder: str, part: int) -> None:
        """Raise ``LedgerError`` unless documents, bytes and ids balance."""
        out, gone = self.documents_out, self.documents_dropped
        if self.documents_in != out + gone:
            raise LedgerError(f"{folder} part {part}: {self.documents_in} documents in, {out} out + {gone} dropped")
        if self.bytes_in + self.edited_bytes != self.bytes_out + self.bytes_dropped:
            raise LedgerError(
                f"{folder} part {part}: {self.bytes_in} bytes in {self.edited_bytes:+} edited, "
                f"{self.bytes_out} out + {self.bytes_dropped} dropped"
            )
        if self.id_balance != (0, 0):
            raise LedgerError(f"{folder} part {part}: the ids that left are not those that came")

    @staticmethod
    def total(accounts: Iterable["Account"]) -> "Account":
        """Return the sum of accounts."""
        whole = Account()
        for account in accounts:
            whole.documents_in += account.documents_in
            whole.bytes_in += account.bytes_in
            whole.edited_bytes += account.edited_bytes
            for source, (documents, size) in account.kept.items():
                add(whole.kept, source, documents, size)
            for source, rules in account.dropped.items():
                for rule, (documents, size) in rules.items():
                    add(whole.dropped.setdefault(source, {}), rule, documents, size)
            for rule, count in account.edits.items():
                whole.edits[rule] = whole.edits.get(rule, 0) + count
            whole.digest_sum = _minus(whole.digest_sum, account.digest_sum, -1)
        return whole

    def to_json(self) -> dict[str, Any]:
        """Return JSON's types, with the sums that a reader of the file wants to see."""
        return {
            "documents_in": self.documents_in,
            "bytes_in": self.bytes_in,
            "edited_bytes": self.edited_bytes,
            "documents_out": self.documents_out,
            "bytes_out": self.bytes_out,
            "kept": self.kept,
            "dropped": self.dropped,
            "edits": self.edits,
            "set_digest": self.set_digest,
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "Account":
        """Return the account that ``to_json`` described (its ids balanced when it was committed)."""
        digest = data["set_digest"]
        return Account(
            data["documents_in"],
            data["bytes_in"],
            data["edited_bytes"],
            {source: list(counts) for source, counts in data["kept"].items()},
            {
                source: {rule: list(counts) for rule, counts in rules.items()}
                for source, rules in data["dropped"].items()
            },
            dict(data["edits"]),
            (0, 0),
            (int(digest[16:], 16), int(digest[:16], 16)),
        )


def add(counts: Counts, name: str, documents: int, size: int) -> None:
    """Add documents and bytes to the counts of ``name``."""
    entry = counts.setdefault(name, [0, 0])
    entry[0] += documents
    entry[1] += size


def document_sums(ids: np.ndarray, digests: np.ndarray) -> tuple[int, int]:
    """Return the two halves of the set digest's sum over documents.

    ``ids`` and ``digests`` are uint64 of shape (documents, 2). Both are hashes already; the mix binds
    each id to its own text before they are summed.
    """
    low, high = splitmix(ids + splitmix(digests)).sum(axis=0, dtype=np.uint64)
    return int(low), int(high)


def splitmix(x: np.ndarray) -> np.ndarray:
    """Mix the bits of uint64 values: the finaliser of splitmix64 (Steele, Lea and Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)))


def _check_untouched(batch: pa.RecordBatch, outcome: Outcome) -> None:
    """Raise ``LedgerError`` unless all left in their sources, and what was neither dropped nor edited as it came."""
    drops, edits = outcome.drops.column("id"), outcome.edits.column("id")
    if _digest_sum(_without(_without(batch, drops), edits)) != _digest_sum(_without(outcome.kept, edits)):
        raise LedgerError("a document was lost, added or changed, and neither a drop nor an edit says why")
    left = Counter(_sources(outcome.kept))
    left.update(_sources(outcome.drops))
    if left != _sources(batch):
        raise LedgerError(f"documents changed their source: {dict(_sources(batch))} in, {dict(left)} out and dropped")


def _check_derived(documents: pa.RecordBatch) -> None:
    """Raise ``LedgerError`` unless ``bytes`` and ``digest`` are those of the texts: 0.3 µs a document of 1 kB."""
    text = documents.column("text")
    if not text_bytes(text).equals(documents.column("bytes")):
        raise LedgerError("column 'bytes' does not hold the lengths of the texts")
    if not text_digests(text).equals(documents.column("digest")):
        raise LedgerError("column 'digest' does not hold the digests of the texts")


def _without(batch: pa.RecordBatch, ids: pa.Array) -> pa.RecordBatch:
    return batch.filter(pc.invert(pc.is_in(batch.column("id"), value_set=ids))) if len(ids) else batch


def _sources(batch: pa.RecordBatch) -> Counter[str]:
    return Counter(dict(_counts(batch.column("source"))))


def _digest_sum(documents: pa.RecordBatch) -> tuple[int, int]:
    return document_sums(halves(documents.column("id")), halves(documents.column("digest")))


def _id_sum(batch: pa.RecordBatch) -> tuple[int, int]:
    if batch.num_rows == 0:
        return 0, 0
    low, high = halves(batch.column("id")).sum(axis=0, dtype=np.uint64)
    return int(low), int(high)


def _minus(total: tuple[int, int], part: tuple[int, int], sign: int) -> tuple[int, int]:
    """Return total - sign * part, each half modulo 2**64."""
    return (total[0] - sign * part[0]) % 2**64, (total[1] - sign * part[1]) % 2**64


def _sum(batch: pa.RecordBatch, column: str) -> int:
    return int(pc.sum(batch.column(column)).as_py() or 0)


def _counts(column: pa.Array) -> list[tuple[str, int]]:
    return [(item["values"], item["counts"]) for item in pc.value_counts(column).to_pylist()]


def _grouped(batch: pa.RecordBatch, keys: list[str]) -> list[tuple[Any, ...]]:
    """Return (*keys, documents, bytes) for every distinct key."""
    if batch.num_rows == 0:
        return []
    table = pa.Table.from_batches([batch.select([*keys, "bytes"])])
    grouped = table.group_by(keys, use_threads=False).aggregate([("bytes", "count"), ("bytes", "sum")])
    columns = [grouped.column(name).to_pylist() for name in (*keys, "bytes_count", "bytes_sum")]
    return list(zip(*columns, strict=True))
