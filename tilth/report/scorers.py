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
        ("area under the ROC curve", float(field_of(data, "auc", path))),
        ("average precision", float(field_of(data, "average_precision", path))),
        ("held-out texts, positive and negative", _both(positive, negative, "held_out")),
        ("training texts, positive and negative", _both(positive, negative, "train")),
        ("given texts, positive and negative", _both(positive, negative, "given")),
        ("texts in both classes, used in neither", int(field_of(data, "ambiguous", path))),
        *((f"setting: {name}", value) for name, value in field_of(data, "settings", path).items()),
        ("digest of the model", str(field_of(data, "digest", path))),
    )
    calibration = tuple(
        (float(one["mean_score"]), float(one["positive_share"]), int(one["count"]))
        for one in field_of(data, "calibration", path)
    )
    return ScorerMetrics(signal, figures, calibration)


def _both(positive: Mapping[str, Any], negative: Mapping[str, Any], name: str) -> str:
    return f"{positive[name]:,} + {negative[name]:,}"
