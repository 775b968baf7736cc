"""Writes the figures of a log for TensorBoard, where its package is installed: a second view, never the only record."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tilth.corpus.errors import UserError

FOLDER = "tensorboard"


def check_installed() -> None:
    """Raise ``UserError`` where TensorBoard is not installed."""
    if find_spec("tensorboard") is None:
        raise UserError(
            "optimisation.tensorboard: the package 'tensorboard' is not installed; install it (pip install "
            "tensorboard) or turn this off: log.jsonl has the same figures"
        )


@contextmanager
def event_writer(folder: Path, step: int) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Yield what writes records to ``folder``; figures of an earlier attempt after ``step`` are hidden."""
    from torch.utils.tensorboard import SummaryWriter

    with closing(SummaryWriter(str(folder / FOLDER), purge_step=step + 1)) as writer:

        def write(record: Mapping[str, Any]) -> None:
            for name, value in record.items():
                if name != "step" and isinstance(value, int | float):
                    writer.add_scalar(name, value, record["step"])
            writer.flush()  # TensorBoard's own pace is two minutes, which a killed run would lose

        yield write
