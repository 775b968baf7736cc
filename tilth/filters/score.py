"""A fastText classifier as a signal: the probability of one label, for quality, toxicity or a domain.

The signal is stored and never decides by itself, so a limit can be moved, or a filter inverted, without scoring again.
Any supervised softmax model will do, PreSelect's and DCLM's quality models as well as one trained by
``tilth.selection.scorer``.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

from tilth.corpus.errors import UserError
from tilth.corpus.stage import Asset, Effect, MapStage, Outcome
from tilth.corpus.store import file_digest
from tilth.filters.fasttext_model import FastTextModel, label_probabilities, load_model


@dataclass(frozen=True)
class Score(MapStage):
    """Measure ``name``, a float32 in [0, 1]: the probability that ``model`` gives ``label`` (as the model spells it).

    ``zero_end`` takes out what the end token says about a text's length; without it the score is the library's own.
    """

    model: Asset
    label: str
    zero_end: bool = False

    effect: ClassVar[Effect] = Effect.MEASURES

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
        probabilities = label_probabilities(model, batch.column("text"), zero_end=self.zero_end)
        return Outcome(batch, signals={self.name: pa.array(probabilities[:, model.labels.index(self.label)])})


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
