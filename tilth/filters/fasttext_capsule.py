"""A capsule: a fastText model with all that has to be the same whenever it scores, in one folder.

PreSelect's public code trains on texts whose newlines became spaces and scores texts whose newlines were removed, which
joins the last word of a line to the first of the next: another scorer, and no error. A capsule says which text
normaliser the model was trained with, how much of a document it reads, whether its end token counts, what is taken off
for a text's length, its labels, and the digest of what it was trained on; it is refused where one of them is not what
the code at hand does.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from tilth.corpus.errors import UserError
from tilth.corpus.stage import Asset
from tilth.corpus.store import file_digest, write_atomically
from tilth.filters.fasttext_reading import WHOLE, Reading
from tilth.filters.length_curve import LengthCurve

NORMALISER = "newlines-to-spaces@1"  # ``fasttext_kernel.one_line``: all that is ever done to a text
MODEL, CAPSULE = "model.bin", "capsule.json"
FORMAT = 2


@dataclass(frozen=True)
class Capsule:
    """A model file and how it is to be used. ``training``: digest of settings and texts, empty where unknown."""

    model: Asset
    label: str
    labels: tuple[str, ...]
    zero_end: bool = False
    curve: LengthCurve | None = None
    reading: Reading = WHOLE
    normaliser: str = NORMALISER
    training: str = ""


def check_normaliser(found: str, where: str) -> None:
    """Raise ``UserError`` unless texts are made ready for scoring as ``found`` says."""
    if found != NORMALISER:
        raise UserError(
            f"{where}: trained with text normaliser {found!r}, expected {NORMALISER!r} as scoring has; train again"
        )


def write_capsule(folder: Path, capsule: Capsule) -> None:
    """Write ``capsule.json`` beside the model, which is ``model.bin`` in ``folder``."""
    data = {
        "format": FORMAT,
        "model": capsule.model.digest,
        "label": capsule.label,
        "labels": list(capsule.labels),
        "normaliser": capsule.normaliser,
        "reading": dataclasses.asdict(capsule.reading),
        "zero_end": capsule.zero_end,
        "length_curve": None if capsule.curve is None else dataclasses.asdict(capsule.curve),
        "training": capsule.training,
    }
    write_atomically(folder / CAPSULE, orjson.dumps(data, option=orjson.OPT_INDENT_2))


def read_curve(found: dict[str, Any] | None, where: Path) -> LengthCurve | None:
    """Return the curve of a capsule. Raises ``UserError``, naming the file, for damaged knots."""
    if found is None:
        return None
    try:
        return LengthCurve(**{name: tuple(values) for name, values in found.items()})
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


def open_capsule(path: Path, label: str) -> Capsule:
    """Return the capsule in a folder, or one for a bare model file of the library's, read as the library reads it.

    ``label`` is used where the path is a model file; a capsule names its own. Raises ``UserError`` where something is
    missing or damaged, the model is another one, or the normaliser is not the one at hand.
    """
    if not path.is_dir():
        if not path.is_file():
            raise UserError(f"{path}: model not found; correct the path")
        return Capsule(Asset(str(path), file_digest(path)), label, ())
    where = path / CAPSULE
    try:
        data: dict[str, Any] = orjson.loads(where.read_bytes())
        if data["format"] != FORMAT:
            raise UserError(f"{where}: format {data['format']}, expected {FORMAT}; train it again with this version")
        check_normaliser(str(data["normaliser"]), str(where))
        capsule = Capsule(
            model=Asset(str(path / MODEL), str(data["model"])),
            label=str(data["label"]),
            labels=tuple(data["labels"]),
            zero_end=bool(data["zero_end"]),
            curve=read_curve(data["length_curve"], where),
            reading=Reading(**data["reading"]),
            normaliser=str(data["normaliser"]),
            training=str(data["training"]),
        )
        found = file_digest(path / MODEL)
    except OSError as error:
        raise UserError(
            f"{error.filename}: not found ({error.strerror}); give a folder that a training wrote"
        ) from error
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{where}: not a capsule ({error}); train it again") from error
    if found != capsule.model.digest:
        raise UserError(f"{path / MODEL}: digest is {found}, expected {capsule.model.digest}; the model was changed")
    if capsule.label not in capsule.labels:
        raise UserError(f"{where}: label {capsule.label!r} is not among its labels {', '.join(capsule.labels)}")
    return capsule
