"""How well a document's losses under a ladder of models tell which model is better: predictive strength and its kin.

Every estimator reads losses (documents x models, any measure that orders the models of one document: bits per byte,
per character or in sum give the same) and one ability a model, and gives one number a document. They share one kernel
because they are one idea: PreSelect's S (arXiv 2503.00808) is (1 + Kendall's tau) / 2, and ``sign_sign`` of Perplexity
Correlations (arXiv 2409.05816) is that tau.

Ties: two models of one ability say nothing and their pair is left out; a pair of equal losses counts half in S and
nothing in tau. The published code counts such a pair as a failure in S; with losses in double precision it never met
one. Ranks of equal losses are ``average`` here; the published Perplexity Correlations break ties by place, models in
the order of their names (``ordinal``): with that rule their ten best of all five LAMBADA groups come out exactly, and
nine of ten of the three other groups.
"""

from typing import Literal

import numpy as np
from numba import njit

from tilth.corpus.errors import UserError

Ties = Literal["average", "ordinal"]
FEWEST = 3  # models: two have one pair, and S is then 0 or 1 by chance


def predictive_strength(losses: np.ndarray, ability: np.ndarray) -> np.ndarray:
    """Return S of every document: float64 in [0, 1], the share of pairs of models whose losses order as their ability.

    ``losses`` is float, documents x models; ``ability`` float, one a model, higher is better. Raises ``UserError`` for
    losses that are not finite, fewer than three models, or models of one ability.
    """
    return (1.0 + sign_sign(losses, ability)) / 2.0


def sign_sign(losses: np.ndarray, ability: np.ndarray) -> np.ndarray:
    """Return Kendall's tau of losses and *inability* a document: float64 in [-1, 1], over pairs of different ability.

    Arguments and errors as for ``predictive_strength``.
    """
    losses, ability = checked(losses, ability)
    order = np.argsort(ability, kind="stable")
    agreements = np.empty(len(losses), np.int64)
    count_agreements(np.ascontiguousarray(losses[:, order]), ability[order], agreements)
    return agreements / different_pairs(ability)


def sign_cdf(losses: np.ndarray, ability: np.ndarray, ties: Ties = "average") -> np.ndarray:
    """Return the estimator ``sign_cdf``: the mean over pairs of sign(inability) times the difference of loss ranks / N.

    The sum over pairs is a sum over models, each weighted by how many are better less how many are worse, so it takes
    N steps a document, not N^2. Arguments and errors as for ``predictive_strength``.
    """
    losses, ability = checked(losses, ability)
    weights = np.sign(ability[None, :] - ability[:, None]).sum(axis=1)  # better than this one, less worse
    models = len(ability)
    return np.asarray(ranks(losses, ties) / models @ weights * (2.0 / (models * (models - 1))))


def spearman(losses: np.ndarray, ability: np.ndarray, ties: Ties = "average") -> np.ndarray:
    """Return Spearman's correlation of losses and inability a document: float64; 0 where all losses are equal.

    Arguments and errors as for ``predictive_strength``.
    """
    losses, ability = checked(losses, ability)
    given = ranks(losses, ties)
    wanted = ranks(-ability[None, :], ties)[0]
    given -= given.mean(axis=1, keepdims=True)
    wanted -= wanted.mean()
    scale = np.sqrt((given**2).sum(axis=1) * (wanted**2).sum())
    return np.asarray(np.divide(given @ wanted, scale, out=np.zeros(len(losses)), where=scale > 0))


ESTIMATORS = {"strength": predictive_strength, "sign_sign": sign_sign, "sign_cdf": sign_cdf, "spearman": spearman}


def ranks(values: np.ndarray, ties: Ties) -> np.ndarray:
    """Return the ranks in every row, from 0: float64 of the same shape; ``ordinal`` breaks ties by column."""
    values = np.ascontiguousarray(values, np.float64)
    order = np.argsort(values, axis=1, kind="stable")
    result = np.empty(values.shape)
    rank_rows(values, order, result, ties == "average")
    return result


def checked(losses: np.ndarray, ability: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both as float64, or raise ``UserError`` for what has no answer."""
    losses, ability = np.asarray(losses, np.float64), np.asarray(ability, np.float64)
    if losses.ndim != 2 or ability.ndim != 1 or losses.shape[1] != len(ability):
        raise ValueError(
            f"losses are {losses.shape}, abilities {ability.shape}: expected documents x models and models"
        )
    if len(ability) < FEWEST:
        raise UserError(f"ladder: found {len(ability)} models, expected at least {FEWEST}; add models of other sizes")
    if not np.isfinite(ability).all():
        raise UserError(f"ladder: the ability of model {int(np.argmin(np.isfinite(ability)))} is not finite; mend it")
    if (ability == ability[0]).all():
        raise UserError("ladder: all models have one ability, expected some better than others; check the table")
    strange = int((~np.isfinite(losses)).any(axis=1).sum())
    if strange:
        raise UserError(
            f"losses: {strange} of {len(losses)} documents have a loss that is not finite; leave them out or score "
            "them again"
        )
    return losses, ability


def different_pairs(ability: np.ndarray) -> int:
    """Return how many pairs of models differ in ability."""
    _, counts = np.unique(ability, return_counts=True)
    return int(len(ability) * (len(ability) - 1) // 2 - (counts * (counts - 1) // 2).sum())


@njit(cache=True, nogil=True)
def count_agreements(losses: np.ndarray, ability: np.ndarray, agreements: np.ndarray) -> None:
    """Count, a document, the pairs whose better model has the lower loss, less those whose better has the higher.

    ``losses`` (float64, documents x models) and ``ability`` are sorted by ability, lowest first; the result goes into
    ``agreements`` (int64).
    """
    models = len(ability)
    for document in range(len(losses)):
        total = 0
        for worse in range(models):
            high = losses[document, worse]
            for better in range(worse + 1, models):
                if ability[better] != ability[worse]:
                    low = losses[document, better]
                    total += int(high > low) - int(high < low)
        agreements[document] = total


@njit(cache=True, nogil=True)
def rank_rows(values: np.ndarray, order: np.ndarray, result: np.ndarray, average: bool) -> None:
    """Write the rank of every value in its row, given each row's sorting ``order`` (int64); equals share their mean."""
    for row in range(len(values)):
        first = 0
        columns = values.shape[1]
        while first < columns:
            last = first
            if average:
                while last + 1 < columns and values[row, order[row, last + 1]] == values[row, order[row, first]]:
                    last += 1
            for place in range(first, last + 1):
                result[row, order[row, place]] = (first + last) / 2
            first = last + 1
