"""From predictive strength to two classes of examples, and from estimates to the domains that are included."""

from typing import Literal

import numpy as np
import pyarrow as pa

from tilth.corpus.errors import UserError
from tilth.selection.cut import id_numbers
from tilth.selection.keep_best import id_bytes
from tilth.selection.projection import caps, l2_projection, linear_projection

POSITIVE, NEGATIVE, UNLABELLED = 1, 0, -1


def strength_labels(strength: np.ndarray, ids: pa.Array, most: int) -> np.ndarray:
    """Return the label of every document (int8): S = 1 is positive, the lowest S are negative until counts match.

    At most ``most`` of each class; among equals those with the lowest ids, which are hashes. As PreSelect labels
    (arXiv 2503.00808). Raises ``UserError`` where no document is perfect, or none is anything else.
    """
    names = id_numbers(id_bytes(ids))
    order = np.lexsort((names[:, 1], names[:, 0], strength))
    perfect = strength[order] >= 1.0 - 1e-12
    positives, others = order[perfect], order[~perfect]
    if not len(positives):
        raise UserError(
            f"labels: no document orders all models as their ability (highest S {strength.max(initial=0.0):.3f} of "
            f"{len(strength)} documents); score more documents or take fewer models"
        )
    if not len(others):
        raise UserError(f"labels: all {len(strength)} documents have S = 1, expected some below; score other documents")
    size = min(len(positives), len(others), most)
    labels = np.full(len(strength), UNLABELLED, np.int8)
    labels[positives[:size]] = POSITIVE
    labels[others[:size]] = NEGATIVE
    return labels


def projected_labels(
    estimates: np.ndarray, sizes: np.ndarray, keep: float, projection: Literal["linear", "l2"] = "linear"
) -> np.ndarray:
    """Return the label of every page or domain (int8): positive where the projection gives it a share.

    ``sizes``: bytes or tokens of each; ``keep``: the share of the pool that is wanted. As Perplexity Correlations
    labels (arXiv 2409.05816). Raises ``UserError`` where all of them are included.
    """
    project = linear_projection if projection == "linear" else l2_projection
    shares = project(estimates, caps(sizes, keep))
    labels = np.where(shares > 0, POSITIVE, NEGATIVE).astype(np.int8)
    if (labels == POSITIVE).all():
        raise UserError(f"labels: keeping {keep:g} of the pool includes everything; keep less")
    return labels
