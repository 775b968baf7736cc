"""Make the tokenizer of a run: trained on the documents that leave a stage, or brought from elsewhere."""

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from tilth.corpus.chain import Stored
from tilth.corpus.errors import UserError
from tilth.corpus.store import file_digest, write_atomically
from tilth.tokenize.growth import grow_tokenizer
from tilth.tokenize.settings import TokenizerSettings
from tilth.tokenize.tokenizer import ROLE_FILES, Tokenizer, model_file
from tilth.tokenize.train_tokenizer import train_on_sources


def fit_tokenizer(path: Path, stored: Stored, settings: TokenizerSettings) -> Tokenizer:
    """Train on a sample of the documents of ``stored``, write the model to ``path``, return it."""
    return train_on_sources(texts_of(stored), path, settings)


def texts_of(stored: Stored) -> Iterator[tuple[str, str]]:
    """Yield the source and the text of every document, part after part."""
    for part in range(stored.parts):
        for batch in stored.lineage.read(part, ["text"]):
            yield from zip(batch.column("source").to_pylist(), batch.column("text").to_pylist(), strict=True)


def grow_fitted(
    old: Tokenizer, stored: Stored, folder: Path, pieces: int, domain: Sequence[str], sample_bytes: int, seed: int
) -> Tokenizer:
    """Grow ``old`` on the documents of ``stored`` into ``folder``; see ``grow_tokenizer``."""
    for name in ROLE_FILES:
        if (old.path / name).is_file():
            shutil.copyfile(old.path / name, folder / name)
    return grow_tokenizer(
        old, texts_of(stored), folder, pieces=pieces, domain=domain, sample_bytes=sample_bytes, seed=seed
    )


def given_digests(path: Path) -> dict[str, str]:
    """Return the digests of the files of a tokenizer from elsewhere. Raises ``UserError`` where there is none."""
    file = model_file(path)
    if not file.is_file():
        raise UserError(f"{path}: no tokenizer model here; train one or correct the path")
    return {
        name: file_digest(file.parent / name) for name in (file.name, *ROLE_FILES) if (file.parent / name).is_file()
    }


def bring_tokenizer(source: Path, folder: Path, separator: str | None = None) -> Tokenizer:
    """Copy a tokenizer and what says its special tokens into ``folder``, so that the run keeps it, and load it there.

    ``separator``: the token between documents, where another one than the files say is wanted. Raises ``UserError``
    where there is no tokenizer, or its vocabulary lacks the separator.
    """
    file = model_file(source)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ROLE_FILES:
        if (file.parent / name).is_file():
            shutil.copyfile(file.parent / name, folder / name)
    if separator is not None:
        said = folder / ROLE_FILES[-1]
        roles = json.loads(said.read_bytes()) if said.is_file() else {}
        roles["eos_token"] = separator
        write_atomically(said, json.dumps(roles, indent=1, ensure_ascii=False).encode())
    place = folder / ("tokenizer.json" if file.suffix == ".json" else "tokenizer.model")
    write_atomically(place, file.read_bytes())
    return Tokenizer.load(place)
