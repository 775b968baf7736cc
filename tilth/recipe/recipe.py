"""The recipe: everything a run does, in order, and what must fit together in it.

Paths are relative to the recipe's own folder, so a recipe and its data can be moved together.
"""

import difflib
from typing import Annotated, Any

from pydantic import ConfigDict, Field, model_validator

from tilth.recipe.deduplication import DeduplicateStep, RepeatedLinesStep, RepeatedPassagesStep, SurvivorRecipe
from tilth.recipe.filters import (
    DatatroveStep,
    LanguageStep,
    LimitsStep,
    NormaliseStep,
    PersonalStep,
    ProgramsStep,
    RepairStep,
    RulesStep,
    ScoreSentencesStep,
    UrlsStep,
    WordListStep,
)
from tilth.recipe.hold_out import DecontaminateStep, HoldOutStep
from tilth.recipe.selection import (
    MEASURING,
    AsOfStep,
    CompressionStep,
    DsirStep,
    LeaveOutStep,
    LengthStep,
    PerplexityStep,
    PreselectStep,
    RandomStep,
    RegressionStep,
    SampleStep,
    ScoreStep,
    SelectStep,
)
from tilth.recipe.source import SourceRecipe
from tilth.recipe.tokenizer import TokenizerRecipe
from tilth.recipe.training import EvaluateRecipe, TrainRecipe
from tilth.recipe.values import Name, Size, Strict

STEPS = ("read", "tokenizer", "tokens", "train", "evaluate", "report")  # what a run does beside its stages
COLUMNS = ("id", "text", "source", "url", "date", "language", "metadata", "bytes", "digest")  # of a document
Step = Annotated[
    NormaliseStep
    | RulesStep
    | LimitsStep
    | LanguageStep
    | ScoreSentencesStep
    | PersonalStep
    | RepairStep
    | WordListStep
    | UrlsStep
    | ProgramsStep
    | DatatroveStep
    | DeduplicateStep
    | RepeatedLinesStep
    | RepeatedPassagesStep
    | DecontaminateStep
    | HoldOutStep
    | SampleStep
    | ScoreStep
    | RandomStep
    | LengthStep
    | CompressionStep
    | DsirStep
    | PerplexityStep
    | RegressionStep
    | PreselectStep
    | AsOfStep
    | LeaveOutStep
    | SelectStep,
    Field(discriminator="use"),
]


class Recipe(Strict):
    """Everything a run does, in order."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": ["sources"]}, {"required": ["tokens"]}]})

    name: Name = Field(description="the run folder is runs/NAME")
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    part_size: Size = Field(64_000_000, ge=1024, le=2**31, description="bytes of input in one part, the unit of work")
    memory: Size = Field(
        2 << 30, ge=512 << 20, description="bytes that one process may take; rows that are compared spill to disk"
    )
    sources: list[SourceRecipe] = Field(default_factory=list, min_length=1, description="what to read")
    tokens: str | None = Field(None, description="a folder of token shards to train on, in place of sources")
    stages: list[Step] = Field(default_factory=list)
    tokenizer: TokenizerRecipe | None = None
    train: TrainRecipe | None = None
    evaluate: EvaluateRecipe | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> "Recipe":
        sources = [source.name for source in self.sources]
        if self.tokens is not None:
            self._fits_tokens()
        elif not sources:
            raise Misfit("found none, expected at least one; add a source", "sources")
        _unique("sources", sources)
        _unique("stages", [step.name for step in self.stages])
        signals: list[str] = []
        for number, step in enumerate(self.stages):
            if step.name in STEPS:
                raise Misfit(f"'{step.name}' is a step of the run itself; choose another", "stages", number, "name")
            if isinstance(step, DeduplicateStep) and isinstance(step.allowance, dict):
                for name in step.allowance:
                    _known(name, sources, "no source has the name", "stages", number, "allowance", name)
            if isinstance(step, SurvivorRecipe):
                for place, name in enumerate(step.priority):
                    _known(name, sources, "no source has the name", "stages", number, "priority", place)
                if step.quality is not None:
                    _known(step.quality, signals, "no stage before this one measures", "stages", number, "quality")
            if isinstance(step, MEASURING):
                if step.name in COLUMNS:
                    raise Misfit(f"'{step.name}' is a column of documents; choose another", "stages", number, "name")
                signals.append(step.name)
            if isinstance(step, SelectStep):
                _known(step.by, signals, "no stage before this one measures", "stages", number, "by")
                measured = self.tokenizer is not None and self.tokenizer.model is not None and not self.tokenizer.grow
                if step.tokens is not None and step.bytes_per_token is None and not measured:
                    raise Misfit(
                        "a tokenizer that is not there yet can't measure a budget; give 'bytes_per_token', or the "
                        "recipe's tokenizer as a 'model'",
                        "stages",
                        number,
                        "tokens",
                    )
                if step.per not in ("all", "source", "year"):
                    _known(step.per, signals, "no stage before this one measures", "stages", number, "per")
            if isinstance(step, LeaveOutStep):
                for place, name in enumerate(step.sources):
                    _known(name, sources, "no source has the name", "stages", number, "sources", place)
            if isinstance(step, PreselectStep):
                before = [one.name for one in self.stages[:number] if isinstance(one, SampleStep)]
                _known(step.sample, before, "no 'sample' stage before this one is called", "stages", number, "sample")
                for place, name in enumerate(step.target):
                    _known(name, sources, "no source has the name", "stages", number, "target", place)
                if step.target and not any(isinstance(one, HoldOutStep) for one in self.stages[:number]):
                    raise Misfit("nothing is held out; put {use: hold-out} before it", "stages", number, "target")
        if self.tokenizer is not None:
            for name in self.tokenizer.weights:
                _known(name, sources, "no source has the name", "tokenizer", "weights", name)
            for place, name in enumerate(self.tokenizer.grow.sources if self.tokenizer.grow else ()):
                _known(name, sources, "no source has the name", "tokenizer", "grow", "sources", place)
        if self.train is not None:
            if self.tokenizer is None:
                raise Misfit("a model needs tokens; give the recipe a 'tokenizer'", "train")
            for field in ("weights", "budgets", "epochs") if self.tokens is None else ():  # the shards know theirs
                for name in getattr(self.train, field):
                    _known(name, sources, "no source has the name", "train", field, name)
        if self.evaluate is not None:
            if self.train is None:
                raise Misfit("there is no model; give the recipe a 'train'", "evaluate")
            if not any(isinstance(step, HoldOutStep) for step in self.stages):
                raise Misfit("nothing is held out; give the recipe a stage {use: hold-out}", "evaluate")
        return self

    def _fits_tokens(self) -> None:
        """Raise where the recipe asks for what only documents can give."""
        for field in ("sources", "stages", "evaluate"):
            if getattr(self, field):
                raise Misfit(f"found beside 'tokens', which hold no text; leave out '{field}' or 'tokens'", field)
        if self.tokenizer is None or self.tokenizer.model is None or self.tokenizer.grow is not None:
            raise Misfit("expected 'model', the tokenizer that made 'tokens', and no 'grow'; name it", "tokenizer")


class Misfit(ValueError):
    """Two fields that do not fit together; ``place`` leads to the one to mend."""

    def __init__(self, message: str, *place: int | str) -> None:
        super().__init__(message)
        self.place = place


def _unique(where: str, names: list[str]) -> None:
    for number, name in enumerate(names):
        if name in names[:number]:
            raise Misfit(f"'{name}' is used twice; give each its own 'name'", where, number, "name")


def _known(name: str, known: list[str], what: str, *place: int | str) -> None:
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known) or 'none'}"
        raise Misfit(f"{what} '{name}'; {hint}", *place)


def recipe_schema() -> dict[str, Any]:
    """Return the JSON schema of a recipe, for editors."""
    return Recipe.model_json_schema()
