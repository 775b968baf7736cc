"""Tells a document's language from its first kilobytes: by CLD2, or by a fastText language model of the user's.

CLD2 (package pycld2) was chosen by measurement: it is right more often than py3langid and twelve times as fast: 27 MB
of what is read a second, so nothing needs to be settled before it is asked (docs/decisions/language.md).
GlotLID, lid.176 and their like are read by the fastText kernel.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from tilth.corpus.document import utf8_buffers
from tilth.corpus.errors import UserError
from tilth.corpus.stage import Asset, Effect, MapStage, Outcome
from tilth.filters.fasttext_model import label_probabilities
from tilth.filters.fasttext_reading import beginnings
from tilth.filters.score import verified_model

UNKNOWN = "un"  # CLD2's code of no language
PREFIX = "__label__"  # of fastText's labels; codes go without


@dataclass(frozen=True)
class Language(MapStage):
    """Measures ``NAME.code``, the likeliest language, ``NAME.probability``, and ``NAME.accepted``.

    ``NAME.probability`` is the model's, or with CLD2 the share of the text that is in that language; ``NAME.accepted``
    is the same where the language is one of ``accepted``, else 0. Without ``model`` codes are CLD2's (ISO 639-1, such
    as ``en``); with one they are its labels. Raises ``UserError`` for a code that there is not and where CLD2 is
    missing.
    """

    accepted: tuple[str, ...] = ()
    model: Asset | None = None
    first_bytes: int = 2000

    version: ClassVar[int] = 1
    effect: ClassVar[Effect] = Effect.MEASURES

    def __post_init__(self) -> None:
        if self.model is None:
            self._check({code for _, code in _cld2().LANGUAGES})

    @property
    def measures(self) -> tuple[str, ...]:
        """The three signals."""
        return f"{self.name}.code", f"{self.name}.probability", f"{self.name}.accepted"

    def describe(self) -> dict[str, Any]:
        """Add the version of CLD2 where it decides."""
        return {**super().describe(), **({} if self.model else {"cld2": _cld2().VERSION})}

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """Tell every document's language; all go on."""
        text = beginnings(batch.column("text"), self.first_bytes)
        codes, probabilities = by_cld2(text) if self.model is None else self._by_model(self.model, text)
        found = np.isin(codes, self.accepted) * probabilities
        columns = (pa.array(codes, pa.string()), pa.array(probabilities), pa.array(found))
        return Outcome(batch, signals=dict(zip(self.measures, columns, strict=True)))

    def _by_model(self, asset: Asset, text: pa.Array) -> tuple[list[str], np.ndarray]:
        model = verified_model(asset.path, asset.digest)
        labels = [label.removeprefix(PREFIX) for label in model.labels]
        self._check(set(labels))
        found = label_probabilities(model, text)
        best = found.argmax(axis=1)
        return [labels[place] for place in best], found[np.arange(len(best)), best].astype(np.float64)

    def _check(self, known: set[str]) -> None:
        """Raise ``UserError`` for an accepted language that is not known."""
        for code in self.accepted:
            if code not in known:
                near = ", ".join(sorted(one for one in known if one[:2] == code[:2].lower())[:5])
                raise UserError(
                    f"{self.name}: keep: found {code!r}, expected a code that is known"
                    f"{f', such as {near}' if near else ', such as en'}"
                )


def by_cld2(text: pa.Array) -> tuple[list[str], np.ndarray]:
    """Return CLD2's code of every text's main language and the share of the text (float64) that is in it.

    A text that it refuses (one that holds control characters) is of no language.
    """
    cld2 = _cld2()
    codes, shares = [], []
    data, offsets = utf8_buffers(text)
    view = data.tobytes()
    for start, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        try:
            _, _, ((_, code, percent, _), *_) = cld2.detect(view[start:end])
        except cld2.error:
            code, percent = UNKNOWN, 0
        codes.append(code)
        shares.append(0.0 if code == UNKNOWN else percent / 100)
    return codes, np.array(shares, np.float64)


def _cld2() -> Any:
    try:
        import pycld2
    except ImportError as error:
        raise UserError(
            "language: the package pycld2 is missing; pip install 'tilth[language]', or give a fastText 'model'"
        ) from error
    return pycld2
