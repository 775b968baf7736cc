"""Steps of a recipe that compare documents with each other: whole, by lines, by passages."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tilth.recipe.values import Fraction, Name, Strict


class SurvivorRecipe(Strict):
    """Who stays among duplicates."""

    priority: list[str] = Field(
        default_factory=list, description="sources, best first; by default in the recipe's order"
    )
    prefer: list[Literal["source", "quality", "newest", "oldest", "longest", "shortest"]] = Field(
        default=["source", "quality", "newest", "longest"], description="criteria in order; the id settles ties"
    )
    quality: str | None = Field(None, description="the signal that 'quality' means; without it, it says nothing")


class NearRecipe(Strict):
    """How near-duplicates are found (MinHash over shingles, bands x rows) and compared."""

    shingle: Literal["words", "characters"] = Field("words", description="units of a shingle")
    length: Annotated[int, Field(ge=1, le=1000)] = Field(5, description="units in a shingle")
    hashes: Annotated[int, Field(ge=1, le=4096)] = Field(112, description="values in a signature")
    bits: Literal[32, 64] = Field(32, description="of a value")
    bands: Annotated[int, Field(ge=1, le=4096)] = 14
    rows: Annotated[int, Field(ge=1, le=4096)] = Field(8, description="values in a band")
    threshold: Fraction = Field(0.8, description="the similarity from which a document goes")
    verify: Literal["jaccard", "containment", "signature", "none"] = Field(
        "jaccard", description="what candidates are compared by before one goes"
    )
    hubs: Annotated[int, Field(ge=1, le=1024)] = Field(
        8, description="documents of a bucket to compare all others with"
    )
    against: list[str] = Field(
        default_factory=list, description="run folders whose documents stay, by their signatures"
    )

    @model_validator(mode="after")
    def _within_the_signature(self) -> "NearRecipe":
        if self.bands * self.rows > self.hashes:
            raise ValueError(
                f"{self.bands} bands x {self.rows} rows need {self.bands * self.rows} hashes, found {self.hashes}"
            )
        return self


class DeduplicateStep(SurvivorRecipe):
    """Of the documents that are the same, or nearly so, keep the best."""

    use: Literal["deduplicate"]
    by: Literal["text", "words", "url", "near"] = Field(
        "text",
        description="what must be equal: every byte, the words whatever their case and marks, the address, or nearly "
        "all shingles",
    )
    name: Name = "deduplicate"
    near: NearRecipe | None = Field(None, description="settings of 'by: near'")
    allowance: Annotated[float, Field(ge=0, le=1)] | dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        0.5, description="share of a source's documents that may go before the run stops; or by source"
    )

    @model_validator(mode="after")
    def _settings_apply(self) -> "DeduplicateStep":
        if self.near is not None and self.by != "near":
            raise ValueError(f"'near' is for 'by: near', found 'by: {self.by}'")
        return self


class RepeatedLinesStep(SurvivorRecipe):
    """Cut runs of lines or paragraphs that the corpus holds more than once, all but one, as recorded edits."""

    use: Literal["repeated-lines"]
    name: Name = "repeated-lines"
    unit: Literal["lines", "paragraphs"] = "lines"
    run: Annotated[int, Field(ge=1, le=1000)] = Field(3, description="units in a row that must be repeated; C4's are 3")
    minimum_words: Annotated[int, Field(ge=0)] = Field(10, description="words below which a run is not compared")


class RepeatedPassagesStep(SurvivorRecipe):
    """Cut passages of so many words that the corpus holds more than once, all but one, as recorded edits."""

    use: Literal["repeated-passages"]
    name: Name = "repeated-passages"
    words: Annotated[int, Field(ge=8, le=10_000)] = Field(50, description="least words of a passage")
