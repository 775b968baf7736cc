"""Two verbs, ``run`` and ``group``, and several ways to run them; one result, tested by set digests."""

from collections.abc import Sequence
from typing import Protocol

from tilth.corpus.errors import UserError
from tilth.corpus.tasks import GroupJob, Task

ENGINES = ("local", "beam")


class Engine(Protocol):
    """Runs tasks somewhere. What is done stands in the store; an engine keeps no record of its own."""

    def run(self, tasks: Sequence[Task]) -> None:
        """Run every task; return when all have come to their end."""

    def group(self, job: GroupJob, parts: Sequence[int]) -> None:
        """Run a group stage: key all parts, bring groups together, reduce, and apply to ``parts``."""


def engine(name: str, workers: int, runner: str = "DirectRunner") -> Engine:
    """Return the engine of that name; ``runner`` is Beam's. Raises ``UserError`` for an unknown one."""
    if name == "local":
        from tilth.corpus.engines.local import LocalEngine

        return LocalEngine(workers)
    if name == "beam":
        from tilth.corpus.engines.beam import BeamEngine

        return BeamEngine(runner, workers)
    raise UserError(f"engine '{name}' is unknown; choose one of {', '.join(ENGINES)}")
