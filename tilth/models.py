"""A run's model, taken out of its folder: exported, written on with; and models from elsewhere, taken in."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from tilth.corpus.chain import INDEX
from tilth.corpus.errors import UserError
from tilth.recipe.recipe import Recipe
from tilth.recipe.training import LayoutRecipe
from tilth.train import checkpoint


def in_layout(recipe: Recipe, given: dict[str, Any]) -> Recipe:
    """Return the recipe with the parts of its training's layout that are ``given`` (None: as the recipe says)."""
    if recipe.train is None:
        raise UserError("recipe: it has no 'train', expected one; add it, or use 'tilth run'")
    said = {name: value for name, value in given.items() if value is not None}
    layout = LayoutRecipe.model_validate(recipe.train.layout.model_dump() | said)
    return recipe.model_copy(update={"train": recipe.train.model_copy(update={"layout": layout})})


def checkpoint_of(root: Path, step: int | None) -> Path:
    """Return a checkpoint of the run in ``root``: the last one, or that of ``step``. Raises ``UserError`` for none."""
    folder = root / _index(root, "model", "trained no model yet; use 'tilth run' or 'tilth train'")
    found = {int(path.name.removeprefix("step-")): path for path in checkpoint.checkpoints(folder)}
    if not found or (step is not None and step not in found):
        known = ", ".join(str(number) for number in found) or "none"
        raise UserError(f"{folder}: no checkpoint of step {step}; there are: {known}")
    return found[max(found) if step is None else step]


def export_model(root: Path, out: Path, step: int | None) -> dict[str, Any]:
    """Write the model of a run as a Hugging Face folder; return what was written."""
    source = checkpoint_of(root, step)
    with _computing():
        from tilth.train.hugging_face.folder import export_model as export

        config = export(source, out, root / _index(root, "tokenizer", "has no tokenizer yet"))
    return {"folder": str(out), "checkpoint": str(source), "architecture": config["architectures"][0]}


def import_model(source: Path, out: Path) -> dict[str, Any]:
    """Write a Hugging Face folder as a checkpoint to begin with; return what a recipe has to say to use it."""
    if checkpoint.checkpoints(out):
        raise UserError(f"{out}: holds checkpoints already; name a new folder with --out")
    with _computing():
        from tilth.train.hugging_face.folder import import_model as bring
        from tilth.train.hugging_face.folder import recipe_of

        model = bring(source, out)
    return {
        "start": str(checkpoint.checkpoints(out)[0]),
        "vocabulary": model.vocabulary_size,
        "parameters": model.parameters,
        "model": recipe_of(model),
    }


def write_on(root: Path, prompts: Sequence[str], most: int, step: int | None, **sampling: Any) -> list[str]:
    """Return what the model of a run writes after each prompt, which is taken as the beginning of a document."""
    from tilth.tokenize.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(root / _index(root, "tokenizer", "has no tokenizer yet"))
    encoded = [[tokenizer.separator, *tokens.tolist()] for tokens in tokenizer.encode_batch(list(prompts))]
    with _computing():
        from tilth.train.generate import Sampling, generate

        written = generate(checkpoint_of(root, step), encoded, most, Sampling(**sampling), tokenizer.separator)
    # decoded with its prompt: a piece may begin differently at the beginning of a text
    return [tokenizer.decode([*prompt[1:], *tokens]) for prompt, tokens in zip(encoded, written, strict=True)]


@contextmanager
def _computing() -> Iterator[None]:
    """Load and run torch and Megatron in this process, without the notes on what is deprecated inside them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tilth.train.cpu_backend import cuda_or_cpu

        with cuda_or_cpu():
            yield


def _index(root: Path, key: str, lacking: str) -> str:
    found = orjson.loads((root / INDEX).read_bytes()).get(key)
    if found is None:
        raise UserError(f"{root}: the run {lacking}")
    return str(found)
