"""Deduplicates against documents of earlier runs by their stored signatures: no old run is redone.

The index holds the signatures of the documents that those runs kept and, for each band, its keys in order; all files
are mapped, 24 bytes a document and band beside the signature, so an index may be larger than memory. Old documents
always stay. Where their texts are still at hand, those few that share a band are read and compared by their shingles;
else a pair is judged by the share of values that agree (with 112, a standard error of 0.04 at a similarity of 0.8), and
the drop says by its rule that it was an estimate.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tilth.corpus.chain import Stored
from tilth.corpus.document import ID
from tilth.corpus.errors import UserError
from tilth.corpus.stage import Asset, Effect, MapStage, Outcome, drop_rows
from tilth.corpus.store import DROPS, SIGNALS, file_digest, part_name, read_arrow, temporary_name
from tilth.filters.dedup.bands import band_keys
from tilth.filters.dedup.clusters import as_bytes, read_table, write_table
from tilth.filters.dedup.compare import Measure
from tilth.filters.dedup.minhash import Bits
from tilth.filters.dedup.shingles import shingles_of
from tilth.filters.dedup.signatures import WORDS_5, Shingling, signature_values
from tilth.filters.dedup.units import describe, units_of
from tilth.filters.texts import Texts

RULE: Final = "near_duplicate_of_index"
ESTIMATED: Final = "near_duplicate_of_index_by_signature"
SIGNATURES: Final = "signatures.arrow"
SHINGLES: Final = "shingles.arrow"
CHUNK: Final = 100_000  # documents whose band keys are made together
_SHINGLES = pa.schema([("id", ID), ("shingles", pa.large_binary())])
_BAND = pa.schema([("low", pa.uint64()), ("high", pa.uint64()), ("row", pa.int64())])


def signature_stage(chain: Sequence[Stored], description: Mapping[str, Any]) -> tuple[Stored, str]:
    """Return the end of an earlier run, and its signal that was measured just as ``description`` says.

    ``description`` is that of a stage ``Signatures``, whose name and signal do not count. Raises ``UserError`` where
    the run has none such.
    """
    wanted = {key: value for key, value in description.items() if key not in ("name", "signal")}
    different = None
    for stored in chain:
        found = stored.manifest.description
        if found.get("stage") != description["stage"]:
            continue
        own = {key: value for key, value in found.items() if key not in ("name", "signal")}
        if own == wanted:
            return chain[-1], str(found["signal"])
        different = next(key for key in wanted if own.get(key) != wanted[key])
    root = chain[0].folder.parents[1]
    if different is None:
        raise UserError(f"{root}: no signatures in this run; add 'use: deduplicate, by: near' to its recipe and run it")
    raise UserError(
        f"{root}: its signatures differ in '{different}', so they cannot be compared; give both runs the same settings"
    )


def write_known(folder: Path, ends: Sequence[tuple[Stored, str]], bands: int, rows: int, bits: Bits) -> None:
    """Write the index of the documents that leave the ends of earlier runs, by their signals."""
    temporary = temporary_name(folder / SIGNATURES)
    with pa.OSFile(str(temporary), "wb") as sink:
        writer = None
        for stored, signal in ends:
            for part in range(stored.parts):
                for batch in _kept(stored, signal, part):
                    found = pa.table([batch.column("id"), batch.column(signal)], names=["id", "signature"])
                    writer = writer or pa.ipc.new_file(sink, found.schema)
                    writer.write_table(found)
        if writer is None:
            raise UserError(f"{folder}: the earlier runs hold no document")
        writer.close()
    temporary.replace(folder / SIGNATURES)
    known = read_table(folder / SIGNATURES)
    for band in range(bands):
        keys = np.concatenate([np.zeros((0, 2), np.uint64), *_band(known, band, rows, bits)])
        order = np.lexsort((as_bytes(known.column("id")), keys[:, 1], keys[:, 0]))
        columns = [keys[order, 0], keys[order, 1], order]
        write_table(folder / f"band-{band:04d}.arrow", pa.table([pa.array(column) for column in columns], schema=_BAND))


def _kept(stored: Stored, signal: str, part: int) -> Iterator[pa.RecordBatch]:
    """Yield id and signature of the documents of a part that left the end of a run and have one. No text is needed."""
    measured = measured_at(stored, signal)
    gone = [
        batch.column("id")
        for later in stored.stages()
        if later.manifest.index > measured.manifest.index
        for batch in read_arrow(later.folder / DROPS / part_name(part), ["id"], missing_is_empty=True)
    ]
    ids = pa.chunked_array(gone, ID).combine_chunks()
    for batch in read_arrow(measured.folder / SIGNALS / part_name(part), ["id", signal]):
        stays = pc.invert(pc.is_in(batch.column("id"), value_set=ids))
        yield batch.filter(pc.and_(stays, pc.is_valid(batch.column(signal))))


def _band(known: pa.Table, band: int, rows: int, bits: Bits) -> list[npt.NDArray[np.uint64]]:
    """Return the keys of one band, made by chunks."""
    found = []
    for batch in known.to_batches(max_chunksize=CHUNK):
        values = signature_values(batch.column("signature"), bits)
        found.append(band_keys(values[:, band * rows : (band + 1) * rows], 1, rows, band)[:, 0])
    return found


def known_digest(folder: Path) -> str:
    """Return the digest of an index: that of its signatures, from which the rest follows."""
    return file_digest(folder / SIGNATURES)


def texts_at_hand(ends: Sequence[tuple[Stored, str]]) -> bool:
    """Tell whether every text that the signatures of earlier runs were measured on still lies where it was written."""
    folders = [Path(measured_at(stored, signal).lineage.text) for stored, signal in ends]
    return all(
        (folder / part_name(part)).is_file()
        for folder, (stored, _) in zip(folders, ends, strict=True)
        for part in range(stored.parts)
    )


def measured_at(stored: Stored, signal: str) -> Stored:
    """Return the stage of an earlier run that measured its signatures: later ones may have cut the texts."""
    return next(one for one in stored.stages() if str(one.folder) == stored.lineage.signals[signal])


def write_known_shingles(
    folder: Path, head: Stored, prefix: str, index: Asset, ends: Sequence[tuple[Stored, str]], shingling: Shingling
) -> None:
    """Write the shingles of the old documents that ``FindKnown`` named at ``head``, from their texts."""
    named = [np.zeros(0, np.int64)]
    for part in range(head.parts):
        for batch in head.lineage.read(part, needs=(f"{prefix}.known",)):
            named.append(np.unique(pc.list_flatten(batch.column(f"{prefix}.known")).to_numpy(zero_copy_only=False)))
    rows = pa.array(np.unique(np.concatenate(named)))
    wanted = read_table(Path(index.path) / SIGNATURES).column("id").take(rows).combine_chunks()
    temporary = temporary_name(folder / SHINGLES)
    with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, _SHINGLES) as writer:
        for stored, signal in ends:
            measured = measured_at(stored, signal)
            for part in range(stored.parts):
                for batch in measured.lineage.read(part, ("text",)):
                    batch = batch.filter(pc.is_in(batch.column("id"), value_set=wanted))
                    columns = [batch.column("id"), shingle_sets(batch, shingling)]
                    writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=_SHINGLES))
    temporary.replace(folder / SHINGLES)


def shingle_sets(batch: pa.RecordBatch, shingling: Shingling) -> pa.Array:
    """Return the sorted shingles of every text as bytes."""
    sets = shingles_of(units_of(Texts.of(batch.column("text")), shingling.kind), shingling.n).sets()
    return pa.array([one.tobytes() for one in sets], pa.large_binary())


@dataclass(frozen=True)
class FindKnown(MapStage):
    """Add two lists: ``PREFIX.known``, rows of ``index`` that share a band, and ``PREFIX.estimate``, their similarity.

    The similarity is the share of values that agree. Of a bucket of the index its ``hubs`` smallest ids are looked at.
    """

    prefix: str
    signature: str
    index: Asset
    bands: int = 14
    rows: int = 8
    bits: Bits = 32
    hubs: int = 8

    version: ClassVar[int] = 1
    effect: ClassVar[Effect] = Effect.MEASURES
    columns: ClassVar[tuple[str, ...]] = ()

    @property
    def needs(self) -> tuple[str, ...]:
        """The signature."""
        return (self.signature,)

    @property
    def measures(self) -> tuple[str, ...]:
        """The two lists."""
        return (f"{self.prefix}.known", f"{self.prefix}.estimate")

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """Look every band of every document up, and estimate."""
        known, bands = _load(self.index.path, self.index.digest, self.bands)
        column = batch.column(self.signature)
        valid = pc.is_valid(column).to_numpy(zero_copy_only=False)
        values = signature_values(column, self.bits)
        keys = band_keys(values[:, : self.bands * self.rows], self.bands, self.rows)
        document: list[npt.NDArray[np.int64]] = [np.zeros(0, np.int64)]
        other: list[npt.NDArray[np.int64]] = [np.zeros(0, np.int64)]
        for band, (low, high, row) in enumerate(bands):
            own = np.flatnonzero(valid)
            place = np.searchsorted(low, keys[own, band, 0])
            for _ in range(self.hubs):
                inside = place < len(low)
                own, place = own[inside], place[inside]
                same = low[place] == keys[own, band, 0]
                own, place = own[same], place[same]
                hit = high[place] == keys[own, band, 1]
                document.append(own[hit])
                other.append(row[place[hit]])
                place = place + 1
        pairs = np.unique(np.column_stack([np.concatenate(document), np.concatenate(other)]), axis=0)
        theirs = signature_values(known.column("signature").take(pa.array(pairs[:, 1])).combine_chunks(), self.bits)
        similarity = (values[pairs[:, 0]] == theirs).mean(axis=1) if len(pairs) else np.zeros(0)
        offsets = pa.array(np.searchsorted(pairs[:, 0], np.arange(batch.num_rows + 1)), pa.int32())
        lists = [pa.ListArray.from_arrays(offsets, pa.array(values)) for values in (pairs[:, 1], similarity)]
        return Outcome(batch, signals=dict(zip(self.measures, lists, strict=True)))


@dataclass(frozen=True)
class RemoveKnown(MapStage):
    """Drop documents whose similarity with one that ``FindKnown`` found reaches ``threshold``.

    With ``shingles`` (a file of ``write_known_shingles``) the similarity is the ``measure`` itself, and the rule says
    so; without, it is the estimate. Of several, the most similar is named, then the smallest id.
    """

    prefix: str
    index: Asset
    threshold: float
    shingles: Asset | None = None
    shingling: Shingling = WORDS_5
    measure: Measure = "jaccard"
    bands: int = 14

    version: ClassVar[int] = 2
    effect: ClassVar[Effect] = Effect.DROPS
    columns: ClassVar[tuple[str, ...]] = ("text",)

    @property
    def needs(self) -> tuple[str, ...]:
        """Whom to compare with, and how alike they are by their signatures."""
        return (f"{self.prefix}.known", f"{self.prefix}.estimate")

    def describe(self) -> dict[str, Any]:
        """Add the normalisation and the version of Unicode it follows."""
        return {**super().describe(), **describe()}

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """Compare every document with those that share a band, and drop it for the most similar."""
        known, _ = _load(self.index.path, self.index.digest, self.bands)
        column = batch.column(f"{self.prefix}.known")
        own = pc.list_parent_indices(column).to_numpy(zero_copy_only=False)
        row = pc.list_flatten(column).to_numpy(zero_copy_only=False)
        if self.shingles is None:
            similarity = pc.list_flatten(batch.column(f"{self.prefix}.estimate")).to_numpy(zero_copy_only=False)
        else:
            similarity = self._compared(batch, own, row, self.shingles)
        near = similarity >= self.threshold
        own, row, similarity = own[near], row[near], similarity[near]
        ids = known.column("id").take(pa.array(row)).combine_chunks().cast(ID)
        best = np.lexsort((as_bytes(ids), -similarity, own))
        first = best[np.unique(own[best], return_index=True)[1]]
        mask = np.zeros(batch.num_rows, bool)
        mask[own[first]] = True
        drops = drop_rows(
            batch,
            mask,
            self.name,
            RULE if self.shingles else ESTIMATED,
            value=pa.array(similarity[first]),
            limit=pa.array(np.full(len(first), self.threshold)),
            other=ids.take(pa.array(first)),
        )
        return Outcome(batch.filter(pa.array(~mask)), drops)

    def _compared(
        self, batch: pa.RecordBatch, own: npt.NDArray[np.int64], row: npt.NDArray[np.int64], shingles: Asset
    ) -> npt.NDArray[np.float64]:
        """Return the similarity of documents of the batch with rows of the index, both by their texts' shingles."""
        known, _ = _load(self.index.path, self.index.digest, self.bands)
        table = _shingles(shingles.path, shingles.digest)
        ids = known.column("id").take(pa.array(row)).combine_chunks()
        stored = table.column("shingles").take(pc.index_in(ids, value_set=table.column("id").combine_chunks()))
        documents = np.unique(own)
        sets = shingle_sets(batch.take(pa.array(documents)), self.shingling)
        found = np.zeros(len(own))
        for pair, (document, old) in enumerate(zip(np.searchsorted(documents, own).tolist(), stored, strict=True)):
            one, other = (np.frombuffer(item.as_buffer(), np.uint64) for item in (sets[document], old))
            common = len(np.intersect1d(one, other, assume_unique=True))
            whole = len(one) if self.measure == "containment" else len(one) + len(other) - common
            found[pair] = common / max(1, whole)
        return found


@lru_cache(maxsize=2)
def _shingles(path: str, digest: str) -> pa.Table:
    """Map the shingles of old documents once a process and content."""
    return read_table(Path(path))


@lru_cache(maxsize=2)
def _load(path: str, digest: str, bands: int) -> tuple[pa.Table, list[tuple[np.ndarray, ...]]]:
    """Map an index once a process and content."""
    tables = [read_table(Path(path) / f"band-{band:04d}.arrow") for band in range(bands)]
    columns = [tuple(table.column(name).to_numpy() for name in _BAND.names) for table in tables]
    return read_table(Path(path) / SIGNATURES), columns
