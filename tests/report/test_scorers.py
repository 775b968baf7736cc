from pathlib import Path

import orjson
import pytest

from tilth.corpus.errors import UserError
from tilth.report.scorers import scorer_metrics
from tilth.selection.scorer import ScorerSettings, train_scorer


def test_metrics_are_those_that_training_reported(tmp_path: Path) -> None:
    positive = [f"clear and careful sentence number {number} about rivers" for number in range(60)]
    negative = [f"BUY now cheap {number} click here click" for number in range(60)]
    trained = train_scorer(positive, negative, tmp_path / "model.bin", ScorerSettings(dim=8, bucket=1000, held_out=0.5))
    (tmp_path / "report.json").write_bytes(orjson.dumps(trained, option=orjson.OPT_SERIALIZE_NUMPY))
    shown = scorer_metrics("quality", tmp_path / "report.json")
    figures = dict(shown.figures)
    assert figures["area under ROC"] == trained.auc
    assert figures["average precision"] == trained.average_precision
    assert figures["held-out texts"] == "30 + 30"
    assert dict(shown.settings)["dim"] == 8
    assert dict(shown.settings)["digest"] == trained.digest
    assert sum(documents for _, _, documents in shown.calibration) == 60


def test_a_report_without_metrics_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text('{"label": "x"}')
    with pytest.raises(UserError, match=r"report\.json: field 'positive' not found"):
        scorer_metrics("quality", tmp_path / "report.json")
