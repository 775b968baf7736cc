"""A fastText classifier as a signal: the probability of one label, for quality, toxicity or a domain.

The signal is stored and never decides by itself, so a limit can be moved, or a filter inverted, without scoring again.
Any supervised model will do, PreSelect's and DCLM's quality models as well as one trained by
``tilth.selection.scorer``.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa

from tilth.corpus.document import utf8_buffers
from tilth.corpus.errors import UserError
from tilth.corpus.stage import Asset, Effect, MapStage, Outcome
from tilth.corpus.store import file_digest
from tilth.filters.fasttext_capsule import NORMALISER, Capsule, check_normaliser
from tilth.filters.fasttext_library import LibraryModel, library_probabilities, map_matrices
from tilth.filters.fasttext_model import FastTextModel, label_probabilities, load_model
from tilth.filters.fasttext_reading import WHOLE, Reading, beginnings, mean_by_row, paragraphs
from tilth.filters.length_curve import LengthCurve, centred

DOUBLE, LIBRARY = "double", "library"  # how rows are added up


@dataclass(frozen=True)
class Score(MapStage):
    """Measure ``name``, a float32 in [0, 1]: the probability that ``model`` gives ``label`` (as the model spells it).

    ``zero_end`` takes out what the end token says about a text's length, and ``curve`` what else its log odds owe to
    it; without them the score is the library's own. ``reading`` says how much of a document is read. ``arithmetic`` is
    ``DOUBLE``, or ``LIBRARY`` for the very numbers that fastText prints, at a fifth of the speed. Raises ``UserError``
    where it is neither, or ``normaliser``, which the model was trained with, is not the one that scoring uses.
    """

    model: Asset
    label: str
    zero_end: bool = False
    reading: Reading = WHOLE
    normaliser: str = NORMALISER
    curve: LengthCurve | None = None
    arithmetic: str = DOUBLE

    version: ClassVar[int] = 2
    effect: ClassVar[Effect] = Effect.MEASURES

    def __post_init__(self) -> None:
        check_normaliser(self.normaliser, f"{self.model.path} of {self.name}")
        if self.arithmetic not in (DOUBLE, LIBRARY):
            raise UserError(
                f"{self.name}: arithmetic: found {self.arithmetic!r}, expected {DOUBLE!r} or {LIBRARY!r}; correct it"
            )

    @staticmethod
    def of(name: str, capsule: Capsule, arithmetic: str = DOUBLE) -> "Score":
        """Return the stage that scores as a capsule says."""
        return Score(
            name,
            capsule.model,
            capsule.label,
            capsule.zero_end,
            capsule.reading,
            capsule.normaliser,
            capsule.curve,
            arithmetic,
        )

    @property
    def measures(self) -> tuple[str, ...]:
        """The signal is named like the stage."""
        return (self.name,)

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """Score every text; all documents go on.

        Raises ``UserError`` where the model can't be read, is not the one of the recipe, or has no such label.
        """
        model = verified_model(self.model.path, self.model.digest)
        if self.label not in model.labels:
            raise UserError(
                f"{self.model.path}: label {self.label!r} of {self.name} is not in the model; it has "
                f"{', '.join(model.labels[:10])}{' and more' if len(model.labels) > 10 else ''}; name one of them"
            )
        taken = library_model(self.model.path, self.model.digest) if self.arithmetic == LIBRARY else model
        scores = read_scores(taken, self.label, batch.column("text"), self.reading, self.curve, zero_end=self.zero_end)
        return Outcome(batch, signals={self.name: pa.array(scores)})


def read_scores(
    model: FastTextModel | LibraryModel,
    label: str,
    text: pa.Array,
    reading: Reading,
    curve: LengthCurve | None = None,
    *,
    zero_end: bool = False,
) -> np.ndarray:
    """Return the probability of ``label`` for every text, read as ``reading`` says: float32."""
    column = model.labels.index(label)
    text = beginnings(text, reading.first_bytes)
    pieces, rows = paragraphs(text) if reading.paragraphs else (text, None)
    if isinstance(model, LibraryModel):
        found = library_probabilities(model, pieces, zero_end=zero_end)
    else:
        found = label_probabilities(model, pieces, zero_end=zero_end)
    sizes = np.diff(utf8_buffers(pieces)[1])
    scores = found[:, column] if curve is None else centred(found, column, sizes, curve)
    if rows is None:
        return scores
    return mean_by_row(scores.astype(np.float64), sizes, rows, len(text)).astype(np.float32)


@lru_cache(maxsize=8)
def verified_model(path: str, digest: str) -> FastTextModel:
    """Return the model at ``path``, loaded once a process, after its content was found to have ``digest``."""
    try:
        found = file_digest(Path(path))
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror}); give the path of a fastText model") from error
    if found != digest:
        raise UserError(f"{path}: digest is {found}, expected {digest}; the model was changed: check the recipe again")
    return load_model(path)


@lru_cache(maxsize=8)
def library_model(path: str, digest: str) -> LibraryModel:
    """Return the same model with its matrices."""
    return map_matrices(path, verified_model(path, digest))
