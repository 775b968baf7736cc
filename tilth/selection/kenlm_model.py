"""Bits a byte under a KenLM model of the user's: word n-grams with Kneser-Ney smoothing, as CCNet filters by.

Tilth's own byte model (``tilth.selection.byte_ngrams``) needs no extra and no training program; this one is for models
that exist (.arpa or KenLM's binary files). Each line is a sentence of its words, as KenLM reads text. CCNet's own
models want its normalisation and SentencePiece first: normalise the text as the model's training was.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from tilth.corpus.document import utf8_buffers
from tilth.corpus.errors import UserError
from tilth.corpus.stage import Asset, Outcome
from tilth.selection.rivals import Measured, same_file

BITS = math.log2(10)  # of a unit of KenLM's logarithms, which are to base 10


@dataclass(frozen=True)
class KenlmBits(Measured):
    """Bits a byte under a KenLM model, ends of sentences included: low is like its training text."""

    model: Asset

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """Score; all documents go on, an empty one with 8. Raises ``UserError`` for a model that was changed."""
        model = open_kenlm(self.model.path, self.model.digest)
        data, offsets = utf8_buffers(batch.column("text"))
        found = np.full(len(offsets) - 1, 8.0)
        for row, (start, end) in enumerate(pairwise(offsets.tolist())):
            if end > start:
                text = data[start:end].tobytes().decode()
                lines = (" ".join(line.split()) for line in text.split("\n"))
                found[row] = -BITS * math.fsum(model.score(line) for line in lines if line) / (end - start)
        return Outcome(batch, signals={self.name: pa.array(found)})


@lru_cache(maxsize=2)
def open_kenlm(path: str, digest: str) -> Any:
    """Return the model of a file whose content has ``digest``, read once a process."""
    try:
        import kenlm
    except ImportError as error:
        raise UserError(f"{path}: a KenLM model needs the library kenlm: pip install 'tilth[kenlm]'") from error
    same_file(path, digest)
    try:
        return kenlm.Model(path)
    except (OSError, RuntimeError) as error:
        raise UserError(f"{path}: not a KenLM model ({' '.join(str(error).split())[-160:]}); build it again") from error
