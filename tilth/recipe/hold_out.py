"""Steps of a recipe that keep evaluation honest: benchmarks kept out of training, documents kept for the end."""

from typing import Annotated, Literal

from pydantic import Field

from tilth.recipe.values import Fraction, Name, Strict


class BenchmarkRecipe(Strict):
    """An evaluation set on disk."""

    name: Name
    path: str = Field(description="JSON lines (.jsonl, .gz, .zst) or a task of lm-eval (.yaml)")
    fields: list[str] = Field(default_factory=list, description="fields to look for; by default every text of a record")


class DecontaminateStep(Strict):
    """Remove what stands in evaluation sets, and certify against which."""

    use: Literal["decontaminate"]
    name: Name = "decontaminate"
    benchmarks: list[BenchmarkRecipe] = Field(min_length=1)
    words: Annotated[int, Field(ge=1, le=1000)] = Field(13, description="words of an n-gram")
    minimum_words: Annotated[int, Field(ge=1)] = Field(5, description="shorter texts of an example are not looked for")
    share: Fraction = Field(0.1, description="of a text's n-grams: from here on a document holds the example")
    action: Literal["drop", "cut"] = Field("drop", description="drop the document, or cut the n-grams")


class HoldOutStep(Strict):
    """Keep a share of the documents away from training, for evaluation."""

    use: Literal["hold-out"]
    name: Name = "hold-out"
    fraction: Fraction = Field(0.01, description="share of documents")
