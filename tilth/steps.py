"""What each word of a recipe means: the stages of a step, the settings of a model.

A step may need something that is fitted to the documents before it (a scorer, a cut); ``Fitting`` is asked for it, and
may say that it is not there yet.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from tilth.corpus.chain import Stored
from tilth.corpus.errors import UserError
from tilth.corpus.stage import Stage
from tilth.recipe import (
    DecontaminateStep,
    DeduplicateStep,
    HoldOutStep,
    NormaliseStep,
    Recipe,
    RepeatedLinesStep,
    RepeatedPassagesStep,
    RulesStep,
    Step,
    TokenizerRecipe,
    TrainRecipe,
)
from tilth.tokenize.settings import TokenizerSettings, bytes_vocabulary
from tilth.train.job import TrainConfig, TrainJob
from tilth.train.layout import Layout
from tilth.train.model import ModelConfig

Make = Callable[[Stored], Stage]  # a stage, given the documents that enter it


class Fitting(Protocol):
    """Gives what a stage needs from the documents that enter it."""

    def fitted(self, kind: str, step: str, settings: Any, head: Stored, build: Callable[[Path], None]) -> Path:
        """Return the folder of what ``build`` wrote from ``settings`` and the documents of ``head``."""

    @property
    def folder(self) -> Path:
        """The folder of the recipe, which its paths start from."""

    @property
    def held_out(self) -> list[Stored]:
        """The stages so far that held documents out for evaluation."""

    def stored(self, name: str) -> Stored:
        """Return the finished stage of this name."""


def stages(step: Step, recipe: Recipe, fitting: Fitting) -> list[Make]:
    """Return what makes the stages of a step, in order. Raises ``UserError`` for a preset or rule that is unknown."""
    match step:
        case NormaliseStep():
            from tilth.filters.normalise import Normalise

            return [lambda head: Normalise(step.name)]
        case RulesStep():
            measure, rules = rule_stages(step)
            return [lambda head: measure, lambda head: rules]
        case RepeatedLinesStep() | RepeatedPassagesStep():
            from tilth.deduplication import repeated

            return repeated(step, [source.name for source in recipe.sources])
        case DecontaminateStep():
            from tilth.decontamination import decontaminate

            return decontaminate(step, fitting)
        case DeduplicateStep():
            from tilth.deduplication import deduplicate

            return deduplicate(step, [source.name for source in recipe.sources], fitting)
        case HoldOutStep():
            from tilth.filters.hold_out import HoldOut

            return [lambda head: HoldOut(step.name, step.fraction, recipe.seed)]
        case _:
            from tilth.selecting import select

            return select(step, recipe, fitting)


def check_settings(recipe: Recipe) -> None:
    """Raise ``UserError`` for what a step's own code refuses: presets, rules, limits, vocabularies, layouts."""
    for step in recipe.stages:
        if isinstance(step, RulesStep):
            rule_stages(step)
    if recipe.tokenizer is not None:
        tokenizer_settings(recipe.tokenizer, recipe.seed)
    if recipe.train is not None and recipe.tokenizer is not None:
        train_job(recipe.train, recipe.seed, recipe.tokenizer.vocabulary, Path("tokens"))


def rule_stages(step: RulesStep) -> tuple[Stage, Stage]:
    """Return what measures a preset's signals and what drops by them."""
    from tilth.filters.apply_rules import ApplyRules
    from tilth.filters.measure import Measure
    from tilth.filters.rules import preset

    limits = preset(step.preset).read_limits(step.limits)
    return Measure(f"{step.name}-signals", (step.preset,)), ApplyRules(step.name, step.preset, limits, step.inverse)


def tokenizer_settings(wanted: TokenizerRecipe, seed: int) -> TokenizerSettings:
    """Return the settings of a tokenizer's training."""
    return TokenizerSettings(
        vocabulary_size=bytes_vocabulary(len(wanted.special)) if wanted.kind == "bytes" else wanted.vocabulary,
        kind=wanted.kind,
        seed=seed,
        sample_bytes=wanted.sample,
        weights=wanted.weights,
        special_tokens=tuple(wanted.special),
        lowercase=wanted.lowercase,
    )


def train_job(wanted: TrainRecipe, seed: int, vocabulary: int, tokens: Path) -> TrainJob:
    """Return the training run that a recipe describes, on a tokenizer's vocabulary and a folder of token shards.

    Raises ``UserError`` where its numbers do not fit together.
    """
    job = TrainJob(
        model=ModelConfig(vocabulary_size=vocabulary, **wanted.model.model_dump()),
        optimisation=TrainConfig(**wanted.optimisation.model_dump()),
        tokens=str(tokens),
        layout=Layout(**wanted.layout.model_dump()),
        seed=seed,
        weights=wanted.weights,
    )
    try:
        job.check()
    except UserError as error:
        raise UserError(f"train.{error}") from error
    return job
