"""Measures how much of an evaluation example each document holds, then drops the document or cuts the spans.

An example counts as found in a document where the document holds a share of the n-grams of one of its passages. One
n-gram alone is no proof: law and liturgy, lists and licences repeat 13 words without a benchmark. What was found below
the limit is a near miss, and is told in the certificate.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tilth.corpus.document import DOCUMENT, utf8_buffers
from tilth.corpus.stage import Asset, Effect, MapStage, Outcome, drop_rows
from tilth.filters.decontamination.ngrams import EXAMPLES, Matches, find_matches, load_index
from tilth.filters.dedup.clusters import read_table
from tilth.filters.dedup.units import describe, units_of
from tilth.filters.dedup.windows import edited
from tilth.filters.edits import Edit
from tilth.filters.texts import Texts

RULE: Final = "contaminated"


@dataclass(frozen=True)
class Contamination(MapStage):
    """Add ``PREFIX.share``, the largest share of a passage that a document holds (float64, 0 for none), and four lists.

    ``PREFIX.passages`` (int32) are the passages it holds any n-gram of, ``PREFIX.shares`` (float64) how much of each,
    ``PREFIX.starts`` and ``PREFIX.ends`` (int64) the bytes of the text from the first such n-gram to the last.
    ``index`` is the folder that ``write_index`` wrote.
    """

    prefix: str
    index: Asset

    version: ClassVar[int] = 1
    effect: ClassVar[Effect] = Effect.MEASURES

    @property
    def measures(self) -> tuple[str, ...]:
        """The share and the lists."""
        return tuple(f"{self.prefix}.{name}" for name in ("share", "passages", "shares", "starts", "ends"))

    def describe(self) -> dict[str, Any]:
        """Add the normalisation and the version of Unicode it follows."""
        return {**super().describe(), **describe()}

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """Measure every text; all documents go on."""
        index = load_index(self.index.path, self.index.digest)
        texts = Texts.of(batch.column("text"))
        found = held(find_matches(index, units_of(texts)), index.ngrams)
        share = np.zeros(batch.num_rows)
        np.maximum.at(share, found.document, found.share)
        offsets = np.concatenate([[0], np.cumsum(np.bincount(found.document, minlength=batch.num_rows))])
        begin = texts.offsets[found.document]
        columns = (found.passage.astype(np.int32), found.share, found.start - begin, found.end - begin)
        lists = [pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(column)) for column in columns]
        return Outcome(batch, signals=dict(zip(self.measures, (pa.array(share), *lists), strict=True)))


@dataclass(frozen=True, eq=False)
class Held:
    """Passages that documents hold n-grams of: by document, then passage. Spans are bytes in the buffer (int64)."""

    document: npt.NDArray[np.int64]
    passage: npt.NDArray[np.int64]
    share: npt.NDArray[np.float64]
    start: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]


def held(matches: Matches, ngrams: npt.NDArray[np.int32]) -> Held:
    """Sum matches up by document and passage: the share of its distinct n-grams, and the span from first to last."""
    order = np.lexsort((matches.key, matches.passage, matches.document))
    document, passage, key = matches.document[order], matches.passage[order], matches.key[order]
    new = np.ones(len(order), bool)
    new[1:] = (document[1:] != document[:-1]) | (passage[1:] != passage[:-1])
    distinct = new.copy()
    distinct[1:] |= key[1:] != key[:-1]
    first = np.flatnonzero(new)
    if not len(first):
        return Held(document, passage, np.zeros(0), matches.start, matches.end)
    share = np.add.reduceat(distinct.astype(np.int64), first) / ngrams[passage[first]]
    start = np.minimum.reduceat(matches.start[order], first)
    end = np.maximum.reduceat(matches.end[order], first)
    return Held(document[first], passage[first], share, start, end)


@dataclass(frozen=True)
class DropContaminated(MapStage):
    """Drop documents that hold at least ``limit`` of a passage; reads no text. The detail names the example."""

    prefix: str
    index: Asset
    limit: float

    version: ClassVar[int] = 1
    effect: ClassVar[Effect] = Effect.DROPS
    columns: ClassVar[tuple[str, ...]] = ()

    @property
    def needs(self) -> tuple[str, ...]:
        """What was measured."""
        return tuple(f"{self.prefix}.{name}" for name in ("share", "passages", "shares"))

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """Drop by the share, naming the example that most was found of."""
        share = batch.column(f"{self.prefix}.share").to_numpy(zero_copy_only=False)
        mask = share >= self.limit
        drops = _drops(batch, mask, share, self)
        return Outcome(batch.filter(pa.array(~mask)), drops)


@dataclass(frozen=True)
class CutContaminated(MapStage):
    """Cut the n-grams of passages of which a document holds at least ``limit``; one left without words is dropped."""

    prefix: str
    index: Asset
    limit: float

    version: ClassVar[int] = 1
    effect: ClassVar[Effect] = Effect.EDITS
    columns: ClassVar[tuple[str, ...]] = tuple(DOCUMENT.names)

    @property
    def needs(self) -> tuple[str, ...]:
        """What was measured."""
        return (f"{self.prefix}.share",)

    def describe(self) -> dict[str, Any]:
        """Add the normalisation and the version of Unicode it follows."""
        return {**super().describe(), **describe()}

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """Look again at the few documents that reach the limit, and cut."""
        share = batch.column(f"{self.prefix}.share").to_numpy(zero_copy_only=False)
        whole = batch.select(DOCUMENT.names)
        rows = np.flatnonzero(share >= self.limit)
        if not len(rows):
            return Outcome(whole)
        some = whole.take(pa.array(rows))
        index = load_index(self.index.path, self.index.digest)
        matches = find_matches(index, units_of(Texts.of(some.column("text"))))
        found = held(matches, index.ngrams)
        wanted = {
            (document, passage)
            for document, passage, part in zip(
                found.document.tolist(), found.passage.tolist(), found.share.tolist(), strict=True
            )
            if part >= self.limit
        }
        data, offsets = utf8_buffers(some.column("text"))
        spans: dict[int, list[tuple[int, int]]] = {}
        for document, passage, start, end in zip(
            *(column.tolist() for column in (matches.document, matches.passage, matches.start, matches.end)),
            strict=True,
        ):
            if (document, passage) in wanted:
                spans.setdefault(document, []).append((start, end))
        edits = {}
        for document, own in spans.items():
            begin = int(offsets[document])
            edits[int(rows[document])] = [
                Edit(start - begin, end - begin, "", data[start:end].tobytes().decode(), RULE)
                for start, end in merged(own)
            ]
        return edited(whole, dict(sorted(edits.items())), self.name, RULE)


def merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return spans as few that do not touch, ascending."""
    found: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def _drops(
    batch: pa.RecordBatch, mask: npt.NDArray[np.bool_], share: npt.NDArray[np.float64], stage: DropContaminated
) -> pa.RecordBatch:
    limit = pa.array(np.full(int(mask.sum()), stage.limit))
    drops = drop_rows(batch, mask, stage.name, RULE, value=pa.array(share[mask]), limit=limit)
    if not drops.num_rows:
        return drops
    from pathlib import Path

    index = load_index(stage.index.path, stage.index.digest)
    examples = read_table(Path(stage.index.path) / EXAMPLES)
    gone = batch.filter(pa.array(mask))
    details = []
    for passages, shares in zip(
        gone.column(f"{stage.prefix}.passages").to_pylist(),
        gone.column(f"{stage.prefix}.shares").to_pylist(),
        strict=True,
    ):
        best = min(range(len(shares)), key=lambda place: (-shares[place], passages[place]))
        row = examples.slice(int(index.example[passages[best]]), 1).to_pylist()[0]
        details.append(f"{row['benchmark']}, example {row['number']}")
    place = drops.schema.get_field_index("detail")
    return drops.set_column(place, drops.schema.field("detail"), pc.cast(pa.array(details), pa.string()))
