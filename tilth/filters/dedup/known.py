"""Deduplicates against documents of earlier runs by their stored signatures: no old text is read, no old run is redone.

The index holds the signatures of the documents that those runs kept and, for each band, its keys in order; all files
are mapped, 24 bytes a document and band beside the signature, so an index may be larger than memory. Old documents
always stay. Their shingles are gone, so a pair is judged by the share of values that agree: with 112, the standard
error is 0.04 at a similarity of 0.8, and the drop says that it was an estimate by its rule.
"""

from collections.abc import Mapping, Sequence
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
from tilth.corpus.store import file_digest, temporary_name
from tilth.filters.dedup.bands import band_keys
from tilth.filters.dedup.clusters import as_bytes, read_table, write_table
from tilth.filters.dedup.minhash import Bits
from tilth.filters.dedup.signatures import signature_values

RULE: Final = "near_duplicate_of_index"
SIGNATURES: Final = "signatures.arrow"
CHUNK: Final = 100_000  # documents whose band keys are made together
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
                for batch in stored.lineage.read(part, needs=(signal,)):
                    batch = batch.filter(pc.is_valid(batch.column(signal)))
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


@dataclass(frozen=True)
class RemoveKnown(MapStage):
    """Drop documents whose estimated similarity with one of ``index`` (a folder of ``write_known``) is ``threshold``.

    Of several, the most similar is named, then the smallest id; of a bucket of the index its ``hubs`` smallest ids are
    looked at.
    """

    signature: str
    index: Asset
    threshold: float
    bands: int = 14
    rows: int = 8
    bits: Bits = 32
    hubs: int = 8

    version: ClassVar[int] = 1
    effect: ClassVar[Effect] = Effect.DROPS
    columns: ClassVar[tuple[str, ...]] = ()

    @property
    def needs(self) -> tuple[str, ...]:
        """The signature."""
        return (self.signature,)

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
        found = known.take(pa.array(pairs[:, 1]))
        theirs = signature_values(found.column("signature").combine_chunks(), self.bits)
        similarity = (values[pairs[:, 0]] == theirs).mean(axis=1) if len(pairs) else np.zeros(0)
        near = similarity >= self.threshold
        pairs, similarity = pairs[near], similarity[near]
        ids = as_bytes(found.column("id"))[near]
        best = np.lexsort((ids, -similarity, pairs[:, 0]))
        first = best[np.unique(pairs[best, 0], return_index=True)[1]]
        mask = np.zeros(batch.num_rows, bool)
        mask[pairs[first, 0]] = True
        drops = drop_rows(
            batch,
            mask,
            self.name,
            RULE,
            value=pa.array(similarity[first]),
            limit=pa.array(np.full(len(first), self.threshold)),
            other=known.column("id").take(pa.array(pairs[first, 1])).combine_chunks().cast(ID),
        )
        return Outcome(batch.filter(pa.array(~mask)), drops)


@lru_cache(maxsize=2)
def _load(path: str, digest: str, bands: int) -> tuple[pa.Table, list[tuple[np.ndarray, ...]]]:
    """Map an index once a process and content."""
    tables = [read_table(Path(path) / f"band-{band:04d}.arrow") for band in range(bands)]
    columns = [tuple(table.column(name).to_numpy() for name in _BAND.names) for table in tables]
    return read_table(Path(path) / SIGNATURES), columns
