"""What a selection method needs to beat: scores that ask no model, and those that ask a small one.

Every method is a stage that measures one signal and drops nothing; ``select`` then keeps the highest, the middle or the
lowest by it, or with ``inverse`` what it would have dropped. So two methods differ in their signal and in nothing else.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa

from tilth.corpus.document import utf8_buffers
from tilth.corpus.errors import UserError
from tilth.corpus.stage import Asset, Effect, MapStage, Outcome
from tilth.corpus.store import file_digest
from tilth.selection.byte_ngrams import ByteModel
from tilth.selection.hashed_ngrams import BUCKETS, CHUNK, gumbel, log_weights, uniform

COMPRESSION_LEVEL = 1  # of zlib: the ratio orders documents as level 9 does, at a third of its time


@dataclass(frozen=True)
class Measured(MapStage):
    """A stage whose signal is named like the stage."""

    effect: ClassVar[Effect] = Effect.MEASURES

    @property
    def measures(self) -> tuple[str, ...]:
        """The one signal."""
        return (self.name,)


@dataclass(frozen=True)
class RandomDraw(Measured):
    """A number in (0, 1) that follows from ``seed`` and the document's id: the control of every comparison."""

    seed: int

    columns: ClassVar[tuple[str, ...]] = ()

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """Draw; all documents go on."""
        return Outcome(batch, signals={self.name: pa.array(uniform(batch.column("id"), self.seed))})


@dataclass(frozen=True)
class Size(Measured):
    """A document's length in bytes of UTF-8, or the bytes that zlib makes of each: 1 is text without any repetition."""

    of: Literal["length", "compression"]

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """Measure; all documents go on. An empty document has length 0 and ratio 1."""
        data, offsets = utf8_buffers(batch.column("text"))
        sizes = np.diff(offsets)
        if self.of == "length":
            return Outcome(batch, signals={self.name: pa.array(sizes.astype(np.float64))})
        import zlib

        view = data.data
        packed = [len(zlib.compress(view[a:b], COMPRESSION_LEVEL)) for a, b in pairwise(offsets)]
        ratio = np.divide(packed, sizes, out=np.ones(len(sizes)), where=sizes > 0)
        return Outcome(batch, signals={self.name: pa.array(ratio)})


@dataclass(frozen=True)
class ImportanceWeight(Measured):
    """DSIR: the log importance weight plus Gumbel noise, so that the top k are a sample by weight without replacement.

    ``ratio`` is a .npy file of log ratios (float64, one a bucket). ``chunk`` is how length is handled, see
    ``tilth.selection.hashed_ngrams``; ``noise`` False leaves the plain weights.
    """

    ratio: Asset
    seed: int
    chunk: int = CHUNK
    noise: bool = True

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """Weigh; all documents go on. Raises ``UserError`` where the file is not the one of the recipe."""
        weights = log_weights(batch.column("text"), log_ratios(self.ratio.path, self.ratio.digest), self.chunk)
        if self.noise:
            weights += gumbel(batch.column("id"), self.seed)
        return Outcome(batch, signals={self.name: pa.array(weights)})


@dataclass(frozen=True)
class BitsPerByte(Measured):
    """Bits a byte under a byte n-gram model of reference text: low is like the reference, high is unlike it."""

    model: Asset

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """Score; all documents go on. Raises ``UserError`` where the model is not the one of the recipe."""
        model = byte_model(self.model.path, self.model.digest)
        return Outcome(batch, signals={self.name: pa.array(model.bits_per_byte(batch.column("text")))})


@lru_cache(maxsize=4)
def log_ratios(path: str, digest: str) -> np.ndarray:
    """Return the log ratios of a file whose content has ``digest``, read once a process."""
    same_file(path, digest)
    try:
        ratio = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise UserError(f"{path}: not an array of log ratios ({error}); fit it again") from error
    if ratio.ndim != 1 or ratio.dtype != np.float64 or not np.isfinite(ratio).all():
        raise UserError(
            f"{path}: {ratio.dtype} of shape {ratio.shape}, expected {BUCKETS} finite float64; fit it again"
        )
    return np.asarray(ratio)


@lru_cache(maxsize=4)
def byte_model(path: str, digest: str) -> ByteModel:
    """Return the byte n-gram model of a file whose content has ``digest``, read once a process."""
    same_file(path, digest)
    return ByteModel.load(Path(path))


def same_file(path: str, digest: str) -> None:
    """Raise ``UserError`` unless the file's content has ``digest``."""
    try:
        found = file_digest(Path(path))
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror}); run the same command again") from error
    if found != digest:
        raise UserError(f"{path}: digest is {found}, expected {digest}; it was changed: run the same command again")
