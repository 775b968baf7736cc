"""From one estimate a domain to a share of the training text a domain: Perplexity Correlations' two projections.

A domain can't give more than it holds, so each share has a cap: the domain's share of the pool, divided by the share
of the pool that is kept. Both answers are exact; the published L2 projection bisects for the offset that is found here
by sorting the 2D places where the sum bends (arXiv 2409.05816, section 4).
"""

import numpy as np

from tilth.corpus.errors import UserError


def caps(sizes: np.ndarray, keep: float) -> np.ndarray:
    """Return the largest share of every domain: float64, its share of all ``sizes`` over the share that is kept."""
    if not 0 < keep <= 1:
        raise UserError(f"selection: keep: found {keep}, expected more than 0 and at most 1; correct it")
    return np.asarray(sizes, np.float64) / float(np.sum(sizes)) / keep


def linear_projection(estimates: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Return the shares (float64, sum 1, each at most its limit) with the largest sum of estimate times share.

    Domains are filled by estimate, highest first, the earlier of equals first; the last one may be filled in part.
    Only the order of the estimates matters. Raises ``UserError`` where the limits allow less than 1 in all.
    """
    estimates, limits = checked(estimates, limits)
    order = np.argsort(-estimates, kind="stable")
    before = np.concatenate([[0.0], np.cumsum(limits[order])[:-1]])
    shares = np.empty(len(limits))
    shares[order] = np.clip(1.0 - before, 0.0, limits[order])
    return shares


def l2_projection(estimates: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Return the shares (float64, sum 1, each at most its limit) nearest to the estimates in squared distance.

    They are clip(estimate + c, 0, limit) for the one c that makes them sum to 1. Raises as ``linear_projection``.
    """
    estimates, limits = checked(estimates, limits)
    # as c grows, a domain's share begins to grow at -estimate and stops at limit - estimate
    bends = np.concatenate([-estimates, limits - estimates])
    slopes = np.concatenate([np.ones(len(limits)), -np.ones(len(limits))])
    order = np.argsort(bends, kind="stable")
    bends, slope = bends[order], np.cumsum(slopes[order])
    sums = np.concatenate([[0.0], np.cumsum(slope[:-1] * np.diff(bends))])  # of all shares, at every bend
    place = min(max(int(np.searchsorted(sums, 1.0, side="left")) - 1, 0), len(bends) - 2)
    offset = bends[place] + ((1.0 - sums[place]) / slope[place] if slope[place] > 0 else 0.0)
    return np.asarray(np.clip(estimates + offset, 0.0, limits))


def checked(estimates: np.ndarray, limits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both as float64, or raise ``UserError``."""
    estimates, limits = np.asarray(estimates, np.float64), np.asarray(limits, np.float64)
    if estimates.shape != limits.shape or estimates.ndim != 1:
        raise ValueError(f"estimates are {estimates.shape}, limits {limits.shape}: expected one of each a domain")
    if not (np.isfinite(estimates).all() and np.isfinite(limits).all()) or (limits < 0).any():
        raise UserError("projection: an estimate or a limit is not finite, or a limit is below 0; check the table")
    if limits.sum() < 1.0 - 1e-9:
        raise UserError(f"projection: the limits sum to {limits.sum():.4g}, expected at least 1; keep less of the pool")
    return estimates, limits
