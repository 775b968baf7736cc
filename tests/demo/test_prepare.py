"""The demonstration's recipe is one that `tilth run` takes, over exactly the sources of the harvest."""

from tilth.demo import RECIPE
from tilth.demo.harvest import SOURCES
from tilth.recipe.load import load_recipe


def test_the_recipe_reads_every_source_of_the_harvest_by_its_own_ids() -> None:
    recipe = load_recipe(RECIPE)
    assert {source.name for source in recipe.sources} == {source.name for source in SOURCES}
    for source in recipe.sources:
        assert source.paths == (f"{source.name}.jsonl",)
        assert (source.id, source.text) == ("id", "text")
