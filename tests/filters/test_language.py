"""A document's language is told from its beginning, by CLD2 or a fastText model, and decides like any signal."""

from pathlib import Path

import pyarrow as pa
import pytest

from tilth.corpus.document import document_id, documents
from tilth.corpus.errors import UserError
from tilth.corpus.stage import Asset
from tilth.filtering import filter_stages
from tilth.filters.language import Language
from tilth.recipe.filters import LanguageStep
from tilth.selection.scorer import ScorerSettings, train_scorer

ENGLISH = "The oats of the field stand well this year, and the farmer is glad of the rain that fell in the night. "
GERMAN = "Der Hafer auf dem Feld steht in diesem Jahr gut, und der Bauer freut sich \u00fcber den Regen der Nacht. "
FRENCH = (
    "L'avoine du champ pousse bien cette ann\u00e9e, et le paysan se r\u00e9jouit de la pluie tomb\u00e9e la nuit. "
)
GREEK = "\u03c4\u03bf \u03c7\u03c9\u03c1\u03ac\u03c6\u03b9 \u03c0\u03c1\u03ac\u03c3\u03b9\u03bd\u03bf " * 5


def batch_of(texts: list[str]) -> pa.RecordBatch:
    ids = [document_id("s", str(place)) for place in range(len(texts))]
    return documents({"id": ids, "text": texts, "source": ["s"] * len(texts)})


def test_languages_are_told_and_what_has_none_is_none() -> None:
    given = batch_of([ENGLISH, GERMAN, FRENCH, GREEK, "", "12 + 7 = 19", "a\x00b"])
    outcome = Language("language", ("en",)).apply(given)
    assert outcome.kept.equals(given)
    assert outcome.signals["language.code"].to_pylist() == ["en", "de", "fr", "el", "un", "un", "un"]
    probability = outcome.signals["language.probability"].to_pylist()
    assert min(probability[:4]) > 0.9 and probability[4:] == [0, 0, 0]
    assert outcome.signals["language.accepted"].to_pylist() == [probability[0], *[0] * 6]


def test_only_the_beginning_is_read() -> None:
    stage = Language("language", first_bytes=200)
    codes = stage.apply(batch_of([GERMAN * 4 + ENGLISH * 400])).signals["language.code"]
    assert codes.to_pylist() == ["de"]


@pytest.mark.parametrize(("inverse", "kept"), [(False, [ENGLISH, FRENCH]), (True, [GERMAN, ""])])
def test_a_step_keeps_its_languages_and_its_inverse_the_others(inverse: bool, kept: list[str]) -> None:
    step = LanguageStep(use="language", keep=["en", "fr"], at_least=0.8, inverse=inverse)
    tell, judge = filter_stages(step, Path())
    outcome = tell.apply(batch_of([ENGLISH, GERMAN, FRENCH, ""]))  # type: ignore[attr-defined]
    batch = outcome.kept
    for name, values in outcome.signals.items():
        batch = batch.append_column(name, values)
    decided = judge.apply(batch)  # type: ignore[attr-defined]
    assert decided.kept.column("text").to_pylist() == kept
    if not inverse:
        assert decided.drops.column("rule").to_pylist() == ["language.accepted"] * 2
        assert decided.drops.column("limit").to_pylist() == [0.8, 0.8]


def test_a_step_that_keeps_nothing_by_name_only_measures() -> None:
    assert len(filter_stages(LanguageStep(use="language"), Path())) == 1


def test_a_fasttext_model_tells_its_own_labels(tmp_path: Path) -> None:
    halves = ([f"{text} {number}" for number in range(40)] for text in (ENGLISH, GERMAN))
    report = train_scorer(*halves, tmp_path / "lid.bin", ScorerSettings(dim=8, bucket=500))
    model = Asset(str(tmp_path / "lid.bin"), report.digest)
    signals = Language("language", ("negative",), model).apply(batch_of([ENGLISH, GERMAN])).signals
    assert signals["language.code"].to_pylist() == ["positive", "negative"]
    assert signals["language.accepted"].to_pylist()[0] == 0 < signals["language.accepted"].to_pylist()[1]
    with pytest.raises(UserError, match="keep: found 'en'"):
        Language("language", ("en",), model).apply(batch_of([ENGLISH]))


def test_a_code_that_there_is_not_is_refused_before_anything_runs() -> None:
    with pytest.raises(UserError, match="keep: found 'eng', expected a code that is known, such as en"):
        Language("language", ("eng",))
