"""What each word of a recipe means: the stages of a step, the settings of a model.

A step may need something that is fitted to the documents before it (a scorer, a cut); ``Fitting`` is asked for it, and
may say that it is not there yet.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from tilth.corpus.chain import Stored
from tilth.corpus.stage import Stage
from tilth.filtering import FilterStep, filter_stages
from tilth.recipe.deduplication import DeduplicateStep, RepeatedLinesStep, RepeatedPassagesStep
from tilth.recipe.filters import LanguageStep, LimitsStep, NormaliseStep, RulesStep
from tilth.recipe.hold_out import DecontaminateStep, HoldOutStep
from tilth.recipe.recipe import Recipe, Step
from tilth.recipe.tokenizer import TokenizerRecipe
from tilth.tokenize.settings import TokenizerSettings, bytes_vocabulary
from tilth.training import check_training

Make = Stage | Callable[[Stored], Stage]  # a stage, or what makes it, given the documents that enter it


class Fitting(Protocol):
    """Gives what a stage needs from the documents that enter it."""

    def fitted(self, kind: str, step: str, settings: Any, head: Stored, build: Callable[[Path], None]) -> Path:
        """Return the folder of what ``build`` wrote from ``settings`` and the documents of ``head``."""

    @property
    def folder(self) -> Path:
        """The folder of the recipe, which its paths start from."""

    @property
    def memory(self) -> int:
        """How many bytes one process may take."""

    @property
    def held_out(self) -> list[Stored]:
        """The stages so far that held documents out for evaluation."""

    def stored(self, name: str) -> Stored:
        """Return the finished stage of this name."""


def stages(step: Step, recipe: Recipe, fitting: Fitting) -> list[Make]:
    """Return the stages of a step, in order, or what makes them.

    Raises ``UserError`` for a preset or rule that is unknown.
    """
    match step:
        case NormaliseStep():
            from tilth.filters.normalise import Normalise

            return [Normalise(step.name)]
        case _ if isinstance(step, FilterStep):
            return [*filter_stages(step, fitting.folder)]
        case DeduplicateStep():
            from tilth.deduplication import deduplicate

            return [*deduplicate(step, [source.name for source in recipe.sources], fitting)]
        case RepeatedLinesStep() | RepeatedPassagesStep():
            from tilth.deduplication import repeated

            return [*repeated(step, [source.name for source in recipe.sources])]
        case DecontaminateStep():
            from tilth.decontamination import decontaminate

            return [*decontaminate(step, fitting)]
        case HoldOutStep():
            from tilth.filters.hold_out import HoldOut

            return [HoldOut(step.name, step.fraction, recipe.seed)]
        case _:
            from tilth.selecting import select

            return select(step, recipe, fitting)


def made(make: Make, head: Stored) -> Stage:
    """Return the stage, made for the documents of ``head`` where it has to be."""
    return make if isinstance(make, Stage) else make(head)


def check_settings(recipe: Recipe) -> None:
    """Raise ``UserError`` for what a step's own code refuses: presets, rules, limits, vocabularies, layouts."""
    for step in recipe.stages:
        if isinstance(step, RulesStep | LimitsStep) or (isinstance(step, LanguageStep) and step.model is None):
            filter_stages(step, Path())
    if recipe.tokenizer is not None:
        tokenizer_settings(recipe.tokenizer, recipe.seed)
    check_training(recipe)


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
