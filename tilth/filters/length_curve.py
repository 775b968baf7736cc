"""What a classifier's log odds owe to the length of a text, as a curve that scoring takes off.

Taking out the end token (PreSelect) takes out what that token says of length. A longer text also shows more of what it
is, and where it does so in one class only the score still grows with length. The curve is that of the mean log odds
over log(bytes), both classes weighted alike, so a text is compared with texts of its own length; among texts of one
length no order changes. It is fitted to texts that the scoring model was not, and travels with the model (``Capsule``).
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tilth.corpus.errors import UserError

KNOTS = 4  # quarters of the texts: with eight, knots follow chance (a thousand texts a class, benchmarks/selection.py)
LEAST = float(np.finfo(np.float32).smallest_subnormal)  # of a probability, so that odds stay finite


@dataclass(frozen=True)
class LengthCurve:
    """``log_odds`` to take off at ``log_bytes`` (rising); straight between the knots, level beyond the ends."""

    log_bytes: tuple[float, ...]
    log_odds: tuple[float, ...]

    def __post_init__(self) -> None:
        """Raise ``UserError`` for knots that make no curve."""
        x, y = self.log_bytes, self.log_odds
        whole = 0 < len(x) == len(y) and all(isinstance(value, float) and math.isfinite(value) for value in (*x, *y))
        if not whole or any(high <= low for low, high in pairwise(x)):
            raise UserError(
                f"length curve: found knots at {list(x)} with {list(y)}, expected as many finite numbers of each, the "
                "first rising; train it again"
            )

    def at(self, sizes: np.ndarray) -> np.ndarray:
        """Return the log odds to take off from texts of ``sizes`` bytes: float64."""
        return np.asarray(np.interp(log_bytes(sizes), self.log_bytes, self.log_odds))


def log_bytes(sizes: np.ndarray) -> np.ndarray:
    """Return the natural logarithm of sizes in bytes, of an empty text 0: float64."""
    return np.asarray(np.log(np.maximum(sizes, 1)))


def log_odds(probabilities: np.ndarray, column: int) -> np.ndarray:
    """Return the log odds (float64) of the label in ``column`` against all others: ``probabilities`` texts x labels.

    From the probabilities of the others, not from one less its own: float32 has many numbers near 0 and few near 1.
    """
    own = probabilities[:, column].astype(np.float64)
    others = np.delete(probabilities, column, axis=1).astype(np.float64).sum(axis=1)
    return np.asarray(np.log(np.maximum(own, LEAST)) - np.log(np.maximum(others, LEAST)))


def centred(probabilities: np.ndarray, column: int, sizes: np.ndarray, curve: LengthCurve) -> np.ndarray:
    """Return the probability of the label in ``column`` after the curve is taken off: float32, one a text."""
    odds = log_odds(probabilities, column) - curve.at(sizes)
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * odds)), np.float32)


def fit_length_curve(odds: tuple[np.ndarray, np.ndarray], sizes: tuple[np.ndarray, np.ndarray]) -> LengthCurve:
    """Return the curve of two classes' log odds (float64) over their texts' sizes (bytes).

    One knot for every quarter of all texts by length, at its median length; its value is the mean of the two classes'
    means there, or of the one class that has a text there, taken from its own mean so that a difference in length
    between the classes is not mistaken for a bias. A constant keeps the median of all log odds where it was.
    """
    lengths = tuple(map(log_bytes, sizes))
    together = np.concatenate(lengths)
    edges = np.quantile(together, np.arange(1, KNOTS) / KNOTS)
    quarters = [np.searchsorted(edges, mine, "right") for mine in lengths]
    places, values = [], []
    for quarter in range(KNOTS):
        rows = [mine == quarter for mine in quarters]
        means = [float((mine[here] - mine.mean()).mean()) for mine, here in zip(odds, rows, strict=True) if here.any()]
        if means:
            inside = np.concatenate([mine[here] for mine, here in zip(lengths, rows, strict=True)])
            places.append(float(np.median(inside)))
            values.append(float(np.mean(means)))
    all_odds = np.concatenate(odds)
    taken = np.interp(together, places, values)
    constant = float(np.median(all_odds - taken) - np.median(all_odds))
    return LengthCurve(tuple(places), tuple(value + constant for value in values))
