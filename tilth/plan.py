"""What a run would do, found out without doing it: steps, what is stored, bytes in, disk needed, and what is wrong."""

import os
import shutil
from pathlib import Path
from typing import Any

from tilth.corpus.chain import NotStored
from tilth.corpus.engines import engine
from tilth.corpus.errors import UserError
from tilth.corpus.readers import check_fields, first_record_of
from tilth.decontamination import benchmarks
from tilth.deduplication import curves, deduplication_disk
from tilth.inputs import Inputs, find_inputs
from tilth.reading import readings_text
from tilth.recipe.hold_out import DecontaminateStep
from tilth.recipe.load import load_recipe
from tilth.recipe.recipe import Recipe
from tilth.run import ENTRIES, Run
from tilth.show import Silent
from tilth.steps import check_settings

# Disk, as multiples of the text's bytes, seen on package documentation, abstracts, statutes and novels: Arrow with zstd
# level 1 takes 0.3 to 0.45 of the text each time it is written, tokens of an 8,192-piece vocabulary 0.45 to 0.6.
STORED_TEXT = 0.45
STORED_TOKENS = 0.6
REWRITING = ("normalise", "repeated-lines", "repeated-passages")
EXPANSION = {
    "gz": 4.0,
    "bz2": 4.5,
    "xz": 5.0,
    "zst": 4.5,
    None: 1.0,
}  # text a byte on disk of a compressed or plain file


def plan(path: Path, runs: Path) -> dict[str, Any]:
    """Check a recipe with all its inputs and return the plan, in JSON's types.

    Raises ``UserError`` for the first thing that would stop the run: in the recipe, a file, a field, a preset, a
    layout, the run folder, or the room on its disk.
    """
    recipe = load_recipe(path)
    base = path.resolve().parent
    inputs = find_inputs(recipe, base)
    for entry in inputs.sources.values():
        check_fields(entry, inputs.of(entry.name))
    check_settings(recipe)
    for step in recipe.stages:
        if isinstance(step, DecontaminateStep):
            benchmarks(step, base)
    root = runs / recipe.name
    writable = nearest_folder(root)
    if not os.access(writable, os.W_OK | os.X_OK):
        raise UserError(f"{root}: cannot be written (no permission in {writable}); change the owner or choose --runs")
    needed, free = disk_needed(recipe, inputs), shutil.disk_usage(writable).free
    stored, reading = stored_steps(recipe, base, root)
    if not any(stored.values()) and needed > free:
        raise UserError(
            f"{root}: the run needs about {needed / 1e9:,.1f} GB of disk, {free / 1e9:,.1f} GB are free; "
            "free some or choose --runs on another disk"
        )
    return {
        "recipe": str(path),
        "run": str(root),
        "sources": [described(inputs, name) for name in inputs.sources],
        "parts": len(inputs.cut(root / ENTRIES, look=None)),
        "bytes_in": inputs.bytes,
        "disk_needed": needed,
        "disk_free": free,
        "memory": recipe.memory,
        "curves": curves(recipe),
        "steps": [{"name": name, "stored": found} for name, found in stored.items()],
        "reading": reading,
    }


def described(inputs: Inputs, name: str) -> dict[str, Any]:
    """Describe a source: its files, their size, and its first record as the reader sees it."""
    files = inputs.of(name)
    record = first_record_of(inputs.sources[name], files)
    return {
        "name": name,
        "files": len(files),
        "bytes": sum(file.size for file in files),
        "first": {key: clipped(value) for key, value in record.items()},
    }


def clipped(value: object, characters: int = 60) -> str:
    """Return a value as one short line."""
    text = " ".join(str(value).split())
    return text if len(text) <= characters else text[: characters - 1] + "…"


def nearest_folder(path: Path) -> Path:
    """Return the deepest folder on the way to ``path`` that exists."""
    path = path.resolve()
    while not path.is_dir():
        path = path.parent
    return path


def disk_needed(recipe: Recipe, inputs: Inputs) -> int:
    """Estimate the bytes that a run writes, from the size of its input."""
    text = sum(file.size * EXPANSION[file.compression] for file in inputs.files)
    copies = 1 + sum(step.use in REWRITING for step in recipe.stages)
    tokens = STORED_TOKENS if recipe.tokenizer else 0.0
    return int(text * (copies * STORED_TEXT + tokens)) + deduplication_disk(recipe, inputs, int(text))


def stored_steps(recipe: Recipe, base: Path, root: Path) -> tuple[dict[str, bool], dict[str, dict[str, Any]] | None]:
    """Tell of every step whether its result is stored and would be used again.

    And how much training would read of every source, where the tokens are stored.
    """
    run = Run(recipe, base, root, engine("local", 1), Silent(), dry=True)
    found: dict[str, bool] = {}
    stored = True
    for name, work in run.steps():
        if stored:
            try:
                work()
            except NotStored:
                stored = False
        found[name] = stored
    return found, run.index.reading


def plan_text(plan: dict[str, Any]) -> str:
    """Return a plan for a person."""
    lines = [f"recipe  {plan['recipe']}", f"run     {plan['run']}", ""]
    for source in plan["sources"]:
        lines.append(f"source  {source['name']}: {source['files']} files, {source['bytes'] / 1e6:,.1f} MB")
        lines += [f"          {key}: {value}" for key, value in source["first"].items()]
    lines += ["", "steps"]
    lines += [f"  {'stored' if step['stored'] else 'to do ':<6}  {step['name']}" for step in plan["steps"]]
    if plan["reading"] is not None:
        lines += ["", "training reads", *readings_text(plan["reading"])]
    for name, curve in plan["curves"].items():
        shown = ", ".join(f"{point['similarity']:g}: {point['caught']:.1%}" for point in curve["points"])
        lines += ["", f"{name}: goes from {curve['threshold']:g} on; share of pairs found, by similarity", f"  {shown}"]
    lines += [
        "",
        f"{plan['bytes_in'] / 1e6:,.1f} MB in, {plan['parts']} parts; "
        f"disk: about {plan['disk_needed'] / 1e6:,.1f} MB needed, {plan['disk_free'] / 1e6:,.0f} MB free; "
        f"memory: at most {plan['memory'] / 1e6:,.0f} MB a process",
    ]
    return "\n".join(lines)
