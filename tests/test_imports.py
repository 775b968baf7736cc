"""The floor plan holds: a room imports from the rooms below it and from nowhere else of ours."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "tilth"

# The higher the floor, the more it may import. Rooms of one floor may not import each other.
FLOORS = {
    "corpus": 0,
    "filters": 1,
    "selection": 2,
    "tokenize": 3,
    "train": 4,
    "report": 5,
    "eval": 5,
    "recipe": 6,
    "cli": 7,
}
# What is not named above (a runner or a planner at the top of the package, the demonstration) stands on the recipe's
# floor, whose modules are pieces of one room and may import each other.
RECIPE = FLOORS["recipe"]
# Of the recipe's floor, but held to less: all that these may import.
CLOSED = {"demo": frozenset({"corpus"})}


def imports(source: str, package: list[str]) -> Iterator[tuple[int, str]]:
    """Yield line and absolute name of every module that ``source``, a file of ``package``, imports, at any depth."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def allowed(room: str, other: str) -> bool:
    if room == "__init__":
        return False
    if room == other or other == "__version__":
        return True
    if room in CLOSED:
        return other in CLOSED[room]
    floor, below = FLOORS.get(room, RECIPE), FLOORS.get(other, RECIPE)
    return below < floor or (below == floor == RECIPE)


def violations(files: dict[str, str]) -> list[str]:
    """Return one line for every import that points up or sideways. Keys are paths below the package."""
    found = []
    for path, source in sorted(files.items()):
        room, *inside = Path(path).with_suffix("").parts
        for line, name in imports(source, ["tilth", *([room] if inside else []), *inside[:-1]]):
            top, _, rest = name.partition(".")
            if top == "tilth" and rest and not allowed(room, rest.partition(".")[0]):
                found.append(f"{path}:{line}: {room} may not import {name}")
    return found


def test_rooms_import_downward_only() -> None:
    files = {str(path.relative_to(PACKAGE)): path.read_text() for path in PACKAGE.rglob("*.py")}
    assert files
    assert violations(files) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("corpus/store.py", "from tilth.filters.rules import Rule"),
        ("corpus/store.py", "from tilth import filters"),
        ("corpus/store.py", "def f():\n    import tilth.recipe"),
        ("corpus/engines/local.py", "from ...filters import rules"),
        ("filters/rules.py", "from ..selection import rank"),
        ("filters/rules.py", "if TYPE_CHECKING:\n    from tilth.cli import main"),
        ("tokenize/pack.py", "from tilth.train.gpt import model"),
        ("train/gpt.py", "from tilth.report.page import write"),
        ("eval/study.py", "from tilth.report.page import write"),
        ("report/page.py", "from tilth.eval.study import Study"),
        ("recipe.py", "from tilth.cli import main"),
        ("run.py", "from tilth.cli import main"),
        ("train/gpt.py", "from tilth.run import run"),
        ("demo/harvest.py", "from tilth.filters.rules import Rule"),
        ("eval/study.py", "from tilth.demo.harvest import harvest"),
        ("__init__.py", "from tilth.corpus.document import documents"),
    ],
)
def test_a_planted_upward_import_is_caught(path: str, source: str) -> None:
    assert len(violations({path: source})) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("corpus/store.py", "from .document import DOCUMENT\nimport numpy\nfrom tilth import __version__"),
        ("corpus/engines/local.py", "from ..stage import Stage\nfrom tilth.corpus.store import read_arrow"),
        ("filters/rules.py", "from tilth.corpus.stage import MapStage"),
        ("eval/study.py", "from tilth.train.gpt import model\nfrom tilth.corpus.errors import UserError"),
        (
            "run.py",
            "from tilth.recipe import load\nfrom tilth.report.page import write\nfrom tilth.demo import harvest",
        ),
        ("recipe.py", "from tilth.run import run"),
        ("cli.py", "from tilth.run import run\nfrom tilth.recipe import load\nimport tilth.demo.harvest"),
        ("demo/harvest.py", "from tilth.corpus.errors import UserError\nfrom tilth.demo import prose"),
        ("__init__.py", '__version__ = "0.1.0"\nimport importlib.metadata'),
    ],
)
def test_imports_that_follow_the_floor_plan_pass(path: str, source: str) -> None:
    assert violations({path: source}) == []
