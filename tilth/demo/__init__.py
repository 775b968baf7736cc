"""The demonstration: a corpus that every Python installation already carries, so that nothing has to be downloaded."""

from collections.abc import Callable
from pathlib import Path

from tilth.corpus.store import write_atomically
from tilth.demo.harvest import Harvest, harvest

RECIPE = Path(__file__).with_name("recipe.yaml")


def prepare(folder: Path, on_progress: Callable[[int, int], None] | None = None) -> Harvest:
    """Harvest the corpus into ``folder`` and lay the demonstration's recipe beside it, as ``recipe.yaml``.

    ``on_progress`` is called with the files that are done and all that there are. Raises ``UserError`` where the
    folder cannot be written.
    """
    done = harvest(folder, on_progress=on_progress)
    write_atomically(folder / RECIPE.name, RECIPE.read_bytes())
    return done
