"""Which parts the report reads: all of a small run, evenly spread ones of a large run. Never by chance.

A report of a terabyte should take seconds, and a share over 200 of 20,000 parts is true to a fraction of a percent. The
accounts are always whole; only histograms and examples are sampled, and the page says so.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np


def spread(parts: int, most: int) -> tuple[int, ...]:
    """Return at most ``most`` part numbers, evenly spread over ``parts``, the first and the last among them."""
    if parts <= most:
        return tuple(range(parts))
    return tuple(np.linspace(0, parts - 1, max(1, most)).round().astype(int).tolist())


def within_bytes(sizes: Sequence[int], most_bytes: int) -> tuple[int, ...]:
    """Return evenly spread part numbers whose files (``sizes`` in bytes) hold about ``most_bytes``; at least one."""
    whole = sum(sizes)
    if whole <= most_bytes:
        return tuple(range(len(sizes)))
    return spread(len(sizes), max(1, int(len(sizes) * most_bytes / whole)))


def covering(counts: Mapping[str, Mapping[int, int]], chosen: Collection[int]) -> tuple[int, ...]:
    """Return ``chosen`` and, for every name that they lack, the part that has most of it (the first of equals).

    ``counts`` is name -> part -> documents.
    """
    parts = set(chosen)
    for name in sorted(counts):
        found = counts[name]
        if found and parts.isdisjoint(found):
            parts.add(max(sorted(found), key=lambda part: found[part]))
    return tuple(sorted(parts))
