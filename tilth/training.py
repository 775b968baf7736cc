"""From a recipe's words about training to the job that the training room runs.

A recipe may count in tokens; a job counts in steps, so that a step is a step whatever the recipe said.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from tilth.corpus.errors import UserError
from tilth.recipe.recipe import Recipe
from tilth.recipe.tokenizer import TokenizerRecipe
from tilth.recipe.training import OptimisationRecipe, TrainRecipe
from tilth.tokenize.growth import GROWTH, Growth
from tilth.tokenize.settings import ALWAYS
from tilth.tokenize.tokenizer import ROLES
from tilth.train.job import ObjectiveConfig, Phase, TrainConfig, TrainJob
from tilth.train.layout import Layout
from tilth.train.model import ModelConfig
from tilth.train.presets import shape


def train_job(
    wanted: TrainRecipe,
    seed: int,
    vocabulary: int,
    tokens: Path,
    *,
    tokenizer: Path | None = None,
    held_out: Path | None = None,
    base: Path | None = None,
    pieces: tuple[tuple[int, ...], ...] = (),
) -> TrainJob:
    """Return the training run that a recipe describes, on a tokenizer's vocabulary and a folder of token shards.

    ``held_out``: token shards of held-out documents, ``base``: the recipe's folder, ``pieces``: what a grown
    vocabulary's new pieces stand for. Raises ``UserError`` where its
    numbers do not fit together.
    """
    try:
        model = ModelConfig(vocabulary_size=vocabulary, **shape(wanted.model.model_dump()))
        start = None if wanted.start is None else str((base or Path()) / wanted.start)
        job = TrainJob(
            model=model,
            optimisation=_optimisation(wanted.optimisation, model.sequence_length),
            tokens=str(tokens),
            layout=Layout(**wanted.layout.model_dump()),
            objective=ObjectiveConfig(**wanted.objective.model_dump()),
            tokenizer=str(tokenizer) if tokenizer is not None and model.kind == "bert" else None,
            held_out=str(held_out) if held_out is not None else None,
            seed=seed,
            packing=wanted.packing,
            pairs=wanted.pairs,
            weights=wanted.weights,
            budgets=wanted.budgets,
            epochs=wanted.epochs,
            start=start,
            growth=wanted.growth,
            pieces=pieces,
        )
        job.check()
    except UserError as error:
        raise UserError(f"train.{error}") from error
    return job


def grown_pieces(wanted: TrainRecipe, tokenizer: Path) -> tuple[tuple[int, ...], ...]:
    """Return the old ids that the pieces of a grown tokenizer stand for; none where nothing grew or training is new."""
    folder = tokenizer if tokenizer.is_dir() else tokenizer.parent
    return Growth.read(folder).pieces if wanted.start is not None and (folder / GROWTH).is_file() else ()


def deciding(job: TrainJob, tokens: str) -> TrainJob:
    """Return ``job`` without what does not decide its model; ``tokens``: the digest of its shards.

    A run may go on in any layout, the digest of the shards knows their tokenizer, and looking at held-out samples
    changes nothing.
    """
    return replace(job, tokens=tokens, tokenizer=None, held_out=None, layout=Layout())


def check_training(recipe: Recipe) -> None:
    """Raise ``UserError`` where a recipe's training cannot run, as far as that can be told before anything else ran."""
    if recipe.train is None or recipe.tokenizer is None:
        return
    here = Path()
    job = train_job(recipe.train, recipe.seed, recipe.tokenizer.vocabulary, here, tokenizer=here, held_out=here)
    if job.model.kind == "bert" and recipe.tokenizer.model is None:
        _check_special(recipe.tokenizer, ("mask", "class") if job.packing == "segments" else ("mask",))
    if job.optimisation.evaluate_every and not any(step.use == "hold-out" for step in recipe.stages):
        raise UserError("train.optimisation.evaluate_tokens: nothing is held out; add a stage {use: hold-out}")


def _check_special(tokenizer: TokenizerRecipe, roles: tuple[str, ...]) -> None:
    for role in roles:
        if not set(ROLES[role]) & {*tokenizer.special, *ALWAYS[tokenizer.kind]}:
            raise UserError(
                f"tokenizer.special: found {tokenizer.special}, expected a {role} token, which a bert has to know; "
                f"write special: ['{ROLES['class'][0]}', '{ROLES['mask'][0]}'], or use kind wordpiece"
            )


def _optimisation(wanted: OptimisationRecipe, sequence_length: int) -> TrainConfig:
    """Turn tokens into steps: as many as bring them all, the last one whole."""
    given: dict[str, Any] = wanted.model_dump()
    a_step = wanted.batch_size * sequence_length

    def steps(tokens: int) -> int:
        return -(-tokens // a_step)

    if (tokens := given.pop("tokens")) is not None:
        given["steps"] = steps(tokens)
    if (tokens := given.pop("warmup_tokens")) is not None:
        given["warmup_steps"] = steps(tokens)
    if (tokens := given.pop("evaluate_tokens")) is not None:
        given["evaluate_every"] = steps(tokens)
    if given["phases"] and wanted.warmup_tokens is None and "warmup_steps" not in wanted.model_fields_set:
        given["warmup_steps"] = 0
    given["phases"] = tuple(
        Phase(phase["steps"] or steps(phase["tokens"]), phase["to"], phase["shape"]) for phase in given["phases"]
    )
    given["undecayed"] = tuple(given["undecayed"])
    return TrainConfig(**given)
