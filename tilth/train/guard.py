"""Decides which steps are not taken: those whose loss is no number, or far above that of the steps before.

One bad batch can undo hours (a page of one repeated character, a burst of encoding damage). Its gradient is thrown
away, its documents are named, and the run goes on; several in a row mean that the run, not the data, is at fault. The
rule is OLMo's: so many standard deviations above the mean of the last losses. What it remembers stands in every
checkpoint's manifest, so an interrupted run skips the same steps.
"""

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LEAST = 32  # losses before a deviation means anything


@dataclass(frozen=True)
class Guard:
    """The recent losses of steps that were taken, and how many were not."""

    deviations: float | None  # None: nothing is skipped
    window: int
    losses: tuple[float, ...] = ()
    skipped: int = 0  # steps in all
    in_a_row: int = 0  # steps

    def objection(self, loss: float) -> str | None:
        """Say what is wrong with a step of this loss, or None. Without ``deviations`` nothing ever is."""
        if self.deviations is None:
            return None
        if not math.isfinite(loss):
            return f"loss is {loss}"
        if len(self.losses) < min(LEAST, self.window):
            return None
        mean, deviation = statistics.fmean(self.losses), statistics.pstdev(self.losses)
        if loss > mean + self.deviations * deviation:
            return f"loss is {loss:.4g}, more than {mean:.4g} + {self.deviations:g} x {deviation:.4g}"
        return None

    def taken(self, loss: float) -> "Guard":
        """Return the guard after a step of this loss."""
        losses = (*self.losses, loss)[-self.window :] if self.deviations is not None else ()
        return Guard(self.deviations, self.window, losses, self.skipped)

    def refused(self) -> "Guard":
        """Return the guard after a step that was skipped."""
        return Guard(self.deviations, self.window, self.losses, self.skipped + 1, self.in_a_row + 1)

    def to_json(self) -> dict[str, Any]:
        """Return what a checkpoint has to remember."""
        return {"losses": list(self.losses), "skipped": self.skipped, "in_a_row": self.in_a_row}

    @staticmethod
    def from_json(deviations: float | None, window: int, found: Mapping[str, Any]) -> "Guard":
        """Return the guard that ``to_json`` described, or a new one."""
        return Guard(
            deviations, window, tuple(found.get("losses", ())), found.get("skipped", 0), found.get("in_a_row", 0)
        )
