"""Predictive selection: a scorer trained on documents whose losses tell good models from worse.

PreSelect (arXiv 2503.00808) takes documents that order all models perfectly against those that do so least; Perplexity
Correlations (arXiv 2409.05816) takes the pages or domains that a projection includes. Both end in a fastText model that
scores the pool, so both are one function here with another way to label.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import orjson
import pyarrow as pa

from tilth.corpus.errors import UserError
from tilth.corpus.stage import Asset, plain
from tilth.corpus.store import write_atomically
from tilth.filters.fasttext_capsule import MODEL, Capsule, write_capsule
from tilth.filters.fasttext_model import load_model
from tilth.filters.fasttext_reading import Reading
from tilth.selection.labels import NEGATIVE, POSITIVE, projected_labels, strength_labels
from tilth.selection.losses import Losses
from tilth.selection.scorer import ScorerReport, ScorerSettings, train_scorer
from tilth.selection.strength import ESTIMATORS

REPORT, STRENGTH = "report.json", "strength.parquet"
FEWEST = 10  # labelled texts of a class, below which a classifier learns names


@dataclass(frozen=True)
class PredictiveSettings:
    """How documents are labelled and the scorer trained.

    ``estimator`` ``strength`` labels as PreSelect does; the others label by a ``projection`` onto ``keep``, every page
    by itself or all pages of a source alike (``level``).
    """

    scorer: ScorerSettings
    estimator: Literal["strength", "sign_sign", "sign_cdf", "spearman"] = "strength"
    level: Literal["page", "source"] = "page"
    projection: Literal["linear", "l2"] = "linear"
    keep: float = 0.1


def fit_predictive(
    folder: Path, documents: pa.Table, losses: Losses, ability: Mapping[str, float], settings: PredictiveSettings
) -> ScorerReport:
    """Label ``documents`` (``id``, ``text``, ``source``, ``bytes``) by their losses, train a capsule into ``folder``.

    ``ability``: a number a model, higher is better. Writes ``model.bin``, ``capsule.json``, ``report.json`` and
    ``strength.parquet`` (every document's estimate and label). Raises ``UserError`` where the ladder or the losses say
    nothing, or a class has fewer than ten texts.
    """
    models = sorted(ability)
    rows, values = losses.of(models, documents.column("id").combine_chunks())
    scored = documents.take(pa.array(rows))
    abilities = np.array([ability[name] for name in models])
    estimates = ESTIMATORS[settings.estimator](values, abilities)
    labels = label(scored, values, estimates, abilities, settings)
    write_table(folder / STRENGTH, scored, estimates, labels)
    classes = [np.flatnonzero(labels == wanted) for wanted in (POSITIVE, NEGATIVE)]
    for name, found in zip(("positive", "negative"), classes, strict=True):
        if len(found) < FEWEST:
            raise UserError(
                f"labels: {len(found)} {name} documents of {len(scored)}, expected at least {FEWEST} to learn from; "
                "score more documents"
            )
    positives, negatives = (scored.column("text").take(pa.array(found)).to_pylist() for found in classes)
    report = train_scorer(positives, negatives, folder / MODEL, settings.scorer)
    described: dict[str, Any] = orjson.loads(orjson.dumps(report, option=orjson.OPT_SERIALIZE_NUMPY))
    described["predictive"] = {
        "ladder": [[name, ability[name]] for name in sorted(models, key=lambda name: ability[name])],
        "documents": len(scored),
        "mean_estimate": by_source(scored, estimates),
        "settings": plain(settings),
    }
    write_atomically(folder / REPORT, orjson.dumps(described, option=orjson.OPT_INDENT_2))
    write_scorer_capsule(folder, report)
    return report


def label(
    scored: pa.Table, values: np.ndarray, estimates: np.ndarray, abilities: np.ndarray, settings: PredictiveSettings
) -> np.ndarray:
    """Return the label of every scored document: int8."""
    if settings.estimator == "strength":
        return strength_labels(estimates, scored.column("id").combine_chunks(), settings.scorer.examples)
    sizes = scored.column("bytes").to_numpy()
    if settings.level == "page":
        return projected_labels(estimates, sizes, settings.keep, settings.projection)
    places = np.unique(scored.column("source").to_pylist(), return_inverse=True)[1]
    weight = np.bincount(places, sizes)
    means = np.stack([np.bincount(places, column * sizes) / weight for column in values.T], axis=1)
    estimates = ESTIMATORS[settings.estimator](means, abilities)
    return projected_labels(estimates, weight, settings.keep, settings.projection)[places]


def by_source(scored: pa.Table, estimates: np.ndarray) -> dict[str, float]:
    """Return the mean estimate of the documents of every source."""
    names, places = np.unique(scored.column("source").to_pylist(), return_inverse=True)
    means = np.bincount(places, estimates) / np.bincount(places)
    return {str(name): round(float(mean), 6) for name, mean in zip(names, means, strict=True)}


def write_table(path: Path, scored: pa.Table, estimates: np.ndarray, labels: np.ndarray) -> None:
    """Write the estimate and the label of every document."""
    import pyarrow.parquet as pq

    ids = pa.array([name.hex() for name in scored.column("id").to_pylist()])
    columns = {"id": ids, "source": scored.column("source"), "estimate": pa.array(estimates), "label": pa.array(labels)}
    pq.write_table(pa.table(columns), path, compression="zstd")


def write_scorer_capsule(folder: Path, report: ScorerReport) -> None:
    """Write the capsule of a scorer whose model lies in ``folder``."""
    model = load_model(str(folder / MODEL))
    capsule = Capsule(
        model=Asset(str(folder / MODEL), report.digest),
        label=report.label,
        labels=model.labels,
        zero_end=report.settings.zero_end,
        curve=report.curve,
        reading=Reading(first_bytes=report.settings.first_bytes),
        training=report.training,
    )
    write_capsule(folder, capsule)
