"""What a scorer said about documents that it was not trained on: the ``report.json`` beside its model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tilth.report.model import ScorerMetrics
from tilth.report.recorded import field_of, read_object


def scorer_metrics(signal: str, path: Path) -> ScorerMetrics:
    """Return the metrics in a report of ``tilth.selection.scorer``. Raises ``UserError`` where a field is missing."""
    data = read_object(path)
    positive, negative = field_of(data, "positive", path), field_of(data, "negative", path)
    figures = (
        ("area under ROC", float(field_of(data, "auc", path))),
        ("average precision", float(field_of(data, "average_precision", path))),
        ("held-out texts", _both(positive, negative, "held_out")),
        ("training texts", _both(positive, negative, "train")),
        ("given texts", _both(positive, negative, "given")),
        ("in both classes", int(field_of(data, "ambiguous", path))),
    )
    settings = (*field_of(data, "settings", path).items(), ("digest", str(field_of(data, "digest", path))))
    calibration = tuple(
        (float(one["mean_score"]), float(one["positive_share"]), int(one["count"]))
        for one in field_of(data, "calibration", path)
    )
    return ScorerMetrics(signal, figures, settings, calibration)


def _both(positive: Mapping[str, Any], negative: Mapping[str, Any], name: str) -> str:
    return f"{positive[name]:,} + {negative[name]:,}"
