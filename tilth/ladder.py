"""A ladder of models: what a recipe or a file of its own says of it, and the losses of a run's sample under it.

``preselect`` asks its ladder inside a run. A table by itself (``tilth losses``) is asked once for many recipes, brought
together from machines that hold one model each, or looked at before anything is selected.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
import yaml

from tilth.corpus.chain import Stored, open_chain
from tilth.corpus.errors import UserError
from tilth.corpus.store import file_digest
from tilth.eval.losses import Rung, ladder_losses
from tilth.recipe.selection import RungRecipe
from tilth.selection.losses import read_losses, write_losses
from tilth.selection.sample import Sample, sampled_documents

LADDER = pydantic.TypeAdapter(list[RungRecipe])
SAMPLE = Sample.__qualname__


def read_ladder(path: Path) -> list[Rung]:
    """Read a YAML list of models as in ``preselect: models``, its paths relative to it. Raises ``UserError``."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such ladder; write a YAML list of models, each with a name") from error
    except (OSError, UnicodeDecodeError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{path}: not valid YAML ({' '.join(str(error).split())[:120]}); correct it") from error
    try:
        entries = LADDER.validate_python(found)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UserError(
            f"{path}: {f'model {place}: ' if place else ''}{first['msg']}, expected a list of models: "
            "{name, checkpoint, tokenizer} or {name, huggingface}"
        ) from error
    return rungs(entries, path.parent)


def rungs(entries: Sequence[RungRecipe], base: Path) -> list[Rung]:
    """Return the models of a ladder, paths relative to ``base``; a training's folder is its last checkpoint."""
    from tilth.train.checkpoint import checkpoints

    found = []
    for entry in entries:
        place = None if entry.checkpoint is None else base / entry.checkpoint
        if place is not None:
            inside = checkpoints(place)
            place = inside[-1] if inside else place
        tokenizer = None if entry.tokenizer is None else base / entry.tokenizer
        huggingface = None if entry.huggingface is None else base / entry.huggingface
        found.append(Rung(entry.name, place, tokenizer, huggingface))
    return found


def rung_digest(rung: Rung) -> str:
    """Return what a model is, by content."""
    from tilth.train.checkpoint import read_checkpoint

    if rung.checkpoint is not None:
        return read_checkpoint(rung.checkpoint).fingerprint
    folder = rung.huggingface or Path()
    return " ".join(file_digest(path) for path in sorted(folder.glob("*")) if path.is_file())


def sample_losses(
    root: Path,
    ladder: Sequence[Rung],
    out: Path,
    *,
    stage: str | None = None,
    table: Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Write the bits a byte of every document that a run's ``sample`` took out, under every model, as Parquet.

    ``stage``: the sample's name, where the run has several; ``table``: losses from elsewhere, whose models are added.
    Returns documents, and the mean of every model by bytes. Raises ``UserError`` where the run has no such sample, a
    model is damaged or gives no finite loss, or the table lacks one of the documents.
    """
    documents = sampled_documents(sample_of(root, stage))
    documents = documents.filter(documents.column("bytes").to_numpy() > 0)
    found = dict(ladder_losses(ladder, documents, root / "losses", on_progress)) if ladder else {}
    ids = documents.column("id").combine_chunks()
    if table is not None:
        given = read_losses(table)
        both = sorted(found.keys() & set(given.models))
        if both:
            raise UserError(f"{table}: model '{both[0]}' is in the ladder too; rename one")
        _, values = given.of(given.models, ids)
        whole = np.isfinite(values).all(axis=1)
        if whole.sum() < len(ids):
            raise UserError(
                f"{table}: {len(ids) - int(whole.sum())} of the {len(ids)} sampled documents have no finite loss in "
                "it, expected one each; score them too"
            )
        found |= {name: values[:, place] for place, name in enumerate(given.models)}
    write_losses(out, ids, found)
    return {"documents": len(ids), "models": means(found, documents.column("bytes").to_numpy()), "table": str(out)}


def means(losses: Mapping[str, np.ndarray], sizes: np.ndarray) -> dict[str, float]:
    """Return the mean of every model's losses, weighted by bytes."""
    return {name: float(np.average(values, weights=sizes)) for name, values in losses.items()}


def sample_of(root: Path, name: str | None) -> Stored:
    """Return the ``sample`` stage of a run, by name where there are several. Raises ``UserError`` for none."""
    samples = [stored for stored in open_chain(root) if stored.manifest.description.get("stage") == SAMPLE]
    found = [stored for stored in samples if name in (None, stored.manifest.name)]
    if len(found) != 1:
        known = ", ".join(stored.manifest.name for stored in samples) or "none"
        raise UserError(f"{root}: expected one stage 'sample'{f' named {name}' if name else ''}; there are: {known}")
    return found[0]


def losses_text(found: Mapping[str, Any]) -> str:
    """Return what ``sample_losses`` found, for a terminal: the better models first."""
    width = max(map(len, found["models"]))
    rows = [f"{name:<{width}}  {bits:.4f}" for name, bits in sorted(found["models"].items(), key=lambda row: row[1])]
    return "\n".join([f"bits a byte of {found['documents']:,} documents", "", *rows, "", f"table: {found['table']}"])
