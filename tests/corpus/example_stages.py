"""Small stages for tests: one of every kind, and a few that misbehave.

They live in a module of their own, because a worker process unpickles a stage by importing its class.
"""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from tilth.corpus.document import DOCUMENT, EDIT, ID, documents
from tilth.corpus.errors import UserError
from tilth.corpus.stage import Asset, Effect, GroupStage, MapStage, Outcome, drop_rows


@dataclass(frozen=True)
class DropShort(MapStage):
    """Drop documents of fewer than ``minimum`` bytes; reads no text."""

    minimum: int = 1
    asset: Asset | None = None

    effect: ClassVar[Effect] = Effect.DROPS
    columns: ClassVar[tuple[str, ...]] = ()

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        size = batch.column("bytes").to_numpy()
        mask = size < self.minimum
        value = pa.array(size[mask].astype(np.float64))
        limit = pa.array(np.full(int(mask.sum()), float(self.minimum)))
        drops = drop_rows(batch, mask, self.name, "too_short", value=value, limit=limit)
        return Outcome(batch.filter(pa.array(~mask)), drops)


@dataclass(frozen=True)
class DropShorter(DropShort):
    """The same stage after its code was changed."""

    version: ClassVar[int] = 2


@dataclass(frozen=True)
class CountVowels(MapStage):
    """Measure the signal ``vowels``."""

    effect: ClassVar[Effect] = Effect.MEASURES

    @property
    def measures(self) -> tuple[str, ...]:
        return ("vowels",)

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        found = [sum(letter in "aeiou" for letter in text) for text in batch.column("text").to_pylist()]
        return Outcome(batch, signals={"vowels": pa.array(found, pa.int64())})


@dataclass(frozen=True)
class DropByVowels(MapStage):
    """Drop documents with fewer than ``minimum`` vowels, as measured before; reads no text."""

    minimum: int = 1

    effect: ClassVar[Effect] = Effect.DROPS
    columns: ClassVar[tuple[str, ...]] = ()

    @property
    def needs(self) -> tuple[str, ...]:
        return ("vowels",)

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        vowels = batch.column("vowels")
        mask = pc.less(vowels, self.minimum).to_numpy(zero_copy_only=False)
        value = vowels.filter(pa.array(mask)).cast(pa.float64())
        return Outcome(batch.filter(pa.array(~mask)), drop_rows(batch, mask, self.name, "vowels", value=value))


@dataclass(frozen=True)
class StripSpaces(MapStage):
    """Remove leading spaces as one recorded edit, after ``seconds`` of sleep."""

    seconds: float = 0.0

    effect: ClassVar[Effect] = Effect.EDITS
    columns: ClassVar[tuple[str, ...]] = tuple(DOCUMENT.names)

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        time.sleep(self.seconds)
        texts = batch.column("text").to_pylist()
        ids = batch.column("id").to_pylist()
        stripped = [text.lstrip(" ") for text in texts]
        edits = [
            edit(identity, 0, len(text) - len(short), "", text[: len(text) - len(short)], "leading_spaces")
            for identity, text, short in zip(ids, texts, stripped, strict=True)
            if text != short
        ]
        return Outcome(with_texts(batch, stripped), edits=pa.RecordBatch.from_pylist(edits, schema=EDIT))


@dataclass(frozen=True)
class CountPeers(GroupStage):
    """Append to every document, for each of its words, how many documents of the corpus hold the word.

    A document has several keys, so its reduced rows come from several partitions: the text shows in which order
    ``apply`` was given them.
    """

    seconds: float = 0.0

    effect: ClassVar[Effect] = Effect.EDITS
    columns: ClassVar[tuple[str, ...]] = tuple(DOCUMENT.names)

    def keys(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        time.sleep(self.seconds)
        ids, texts = batch.column("id").to_pylist(), batch.column("text").to_pylist()
        pairs = [(word, identity) for identity, text in zip(ids, texts, strict=True) for word in set(text.split())]
        key = pa.array([xxhash.xxh3_128_digest(word.encode()) for word, _ in pairs], ID)
        identity = pa.array([identity for _, identity in pairs], ID)
        return pa.RecordBatch.from_arrays([key, identity], names=["key", "id"])

    def reduce(self, rows: pa.Table) -> pa.Table:
        count = rows.group_by("key", use_threads=False).aggregate([("id", "count")])
        place = pc.index_in(rows.column("key"), value_set=count.column("key").combine_chunks())
        return rows.select(["id", "home"]).append_column("count", count.column("id_count").take(place))

    def apply(self, batch: pa.RecordBatch, rows: pa.Table) -> Outcome:
        counts: dict[bytes, list[int]] = {}
        for row in rows.to_pylist():
            counts.setdefault(row["id"], []).append(row["count"])
        ids, texts = batch.column("id").to_pylist(), batch.column("text").to_pylist()
        tails = ["".join(f" {count}" for count in counts.get(identity, [])) for identity in ids]
        edits = [
            edit(identity, len(text.encode()), len(text.encode()), tail, "", "peers")
            for identity, text, tail in zip(ids, texts, tails, strict=True)
            if tail
        ]
        changed = [text + tail for text, tail in zip(texts, tails, strict=True)]
        return Outcome(with_texts(batch, changed), edits=pa.RecordBatch.from_pylist(edits, schema=EDIT))


@dataclass(frozen=True)
class Misbehave(MapStage):
    """Do something bad in every batch that holds ``word``: what, says ``deed``. Take ``seconds`` over the others.

    ``kill-once`` ends its own process with SIGKILL, the first time only; ``folder`` remembers that.
    """

    word: str
    deed: str
    folder: str = ""
    seconds: float = 0.0

    effect: ClassVar[Effect] = Effect.DROPS

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        if any(self.word in text for text in batch.column("text").to_pylist()):
            if self.deed == "user-error":
                raise UserError("file.jsonl: field 'text' is a number; expected words, so write some")
            if self.deed == "defect":
                raise ValueError("an array has the wrong shape")
            if self.deed == "kill-once":
                marker = Path(self.folder) / "killed"
                if not marker.exists():
                    marker.touch()
                    os.kill(os.getpid(), signal.SIGKILL)
            if self.deed == "lose":
                return Outcome(batch.slice(1))
        else:
            time.sleep(self.seconds)
        return Outcome(batch)


def edit(identity: bytes, start: int, end: int, replacement: str, original: str, rule: str) -> dict[str, object]:
    """Return one row of edits."""
    return {
        "id": identity,
        "start": start,
        "end": end,
        "replacement": replacement,
        "original": original,
        "rule": rule,
    }


def with_texts(batch: pa.RecordBatch, texts: list[str]) -> pa.RecordBatch:
    """Return the documents of ``batch`` with other texts."""
    names = [name for name in batch.schema.names if name not in ("text", "bytes", "digest")]
    return documents({**{name: batch.column(name) for name in names}, "text": texts})
