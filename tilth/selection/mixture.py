"""How much of each group a selection may keep, and how often training should repeat it.

A quota is a share of what is kept. A group that holds less than its share is kept whole and, where repeats are allowed,
read more than once; what is still missing is left missing and said, because filling it up from other groups would
quietly change every share that was asked for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from tilth.corpus.errors import UserError


@dataclass(frozen=True)
class Share:
    """What a group may keep: ``bytes`` of text, read ``epochs`` times; ``missing`` bytes of its quota are not there."""

    available: int
    bytes: int
    epochs: float
    missing: int


def plan_mixture(
    available: Mapping[str, int], budget: int, quotas: Mapping[str, float], most_epochs: float = 1.0
) -> dict[str, Share]:
    """Return the share of every group, for a ``budget`` of bytes that training should see.

    ``available``: bytes of each group; ``quotas``: shares of the budget; groups without one divide the rest by size.
    Raises ``UserError`` for quotas that name no group or sum to more than 1, and a cap of less than one epoch.
    """
    for name in quotas:
        if name not in available:
            raise UserError(f"selection: quotas: group '{name}' not found; there are {', '.join(sorted(available))}")
    asked = sum((Fraction(str(share)) for share in quotas.values()), Fraction(0))
    if asked > 1:
        raise UserError(f"selection: quotas sum to {float(asked):g}, expected at most 1; lower one")
    if most_epochs < 1:
        raise UserError(f"selection: epochs: found {most_epochs:g}, expected at least 1; correct it")
    others = sum(size for name, size in available.items() if name not in quotas)
    plan = {}
    for name, size in sorted(available.items()):
        if name in quotas:
            wanted = int(Fraction(str(quotas[name])) * budget)
        else:
            wanted = int((1 - asked) * budget * size / others) if others else 0
        kept = min(size, wanted)
        epochs = min(wanted / size, most_epochs) if 0 < size < wanted else 1.0
        plan[name] = Share(size, kept, epochs, wanted - int(kept * epochs))
    return plan
