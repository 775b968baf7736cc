"""How a run shows itself: a bar a step on a terminal, one line a step elsewhere, nothing where JSON is wanted."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tilth.run import Show

WIDTH = 12  # of the steps' names


class Silent:
    """Says nothing."""

    def progress(self, step: str, done: int, total: int, detail: str = "") -> None:
        """Say nothing."""

    def finished(self, step: str, detail: str, seconds: float | None) -> None:
        """Say nothing."""


class Lines:
    """One line when a step is finished."""

    def progress(self, step: str, done: int, total: int, detail: str = "") -> None:
        """Say nothing: the log of a batch job has no use for half a bar."""

    def finished(self, step: str, detail: str, seconds: float | None) -> None:
        """Print the step, what came out, and how long it took."""
        print(line(step, detail, seconds), flush=True)


class Bars:
    """A bar with a rate and a remaining time for every step that is at work."""

    def __init__(self, bars: Any) -> None:
        self.bars = bars
        self.tasks: dict[str, Any] = {}

    def progress(self, step: str, done: int, total: int, detail: str = "") -> None:
        """Move the bar of a step; a step that is full makes room for the next."""
        if step not in self.tasks:
            self.tasks[step] = self.bars.add_task(f"{step:<{WIDTH}}", total=total, detail="")
        self.bars.update(self.tasks[step], completed=done, total=total, detail=detail)

    def finished(self, step: str, detail: str, seconds: float | None) -> None:
        """Turn the step's bars into one line."""
        for task in self.tasks.values():
            self.bars.remove_task(task)
        self.tasks.clear()
        self.bars.console.print(line(step, detail, seconds), highlight=False, markup=False)


def line(step: str, detail: str, seconds: float | None) -> str:
    """Return the line of a finished step."""
    return f"{step:<{WIDTH}}  {detail}  [{'stored' if seconds is None else f'{seconds:.1f} s'}]"


@contextmanager
def showing(*, json: bool) -> Iterator[Show]:
    """Yield what shows a run: bars on a terminal, lines elsewhere, nothing for JSON."""
    if json:
        yield Silent()
        return
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        yield Lines()
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[detail]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        yield Bars(bars)
