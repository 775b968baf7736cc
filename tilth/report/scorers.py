"""What a scorer said about documents that it was not trained on: the ``report.json`` beside its model."""

from pathlib import Path

from tilth.report.model import ScorerMetrics
from tilth.report.recorded import read_object


def scorer_metrics(signal: str, path: Path) -> ScorerMetrics:
    """Return the metrics in a scorer's report."""
    data = read_object(path)
    figures = tuple((name.replace("_", " "), value) for name, value in data.items() if isinstance(value, int | float))
    return ScorerMetrics(signal, figures)
