"""The examples are what they say they are."""

from pathlib import Path

import pytest

from tilth.demo import RECIPE
from tilth.recipe.load import load_recipe

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_example_of_the_demonstration_is_the_recipe_that_it_runs() -> None:
    assert (EXAMPLES / "demo" / "recipe.yaml").read_bytes() == RECIPE.read_bytes()


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*/*.yaml")), ids=lambda path: path.parent.name)
def test_every_example_is_a_recipe(path: Path) -> None:
    load_recipe(path)
