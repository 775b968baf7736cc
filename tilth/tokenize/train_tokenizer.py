"""Train a tokenizer of any kind on a sample of texts: equal texts and settings give equal bytes, in any order."""

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from tilth.corpus.errors import UserError
from tilth.corpus.store import write_atomically
from tilth.tokenize.plain_bytes import describe_bytes
from tilth.tokenize.settings import TokenizerSettings
from tilth.tokenize.tokenizer import Tokenizer
from tilth.tokenize.training_text import sample_sources, sample_texts, training_lines


def model_name(kind: str) -> str:
    """Return the name that the model file of a kind has in a run."""
    return "tokenizer.model" if kind.startswith("sentencepiece") else "tokenizer.json"


def train_tokenizer(texts: Iterable[str], path: Path | str, settings: TokenizerSettings) -> Tokenizer:
    """Train a tokenizer on a sample of ``texts``, write its model to ``path`` whole or not at all, and return it.

    The model depends on the set of texts and the settings, not on the order of the texts. Raises ``UserError`` where
    there is no text, or too little or too much of it for the vocabulary's size.
    """
    return _train(sample_texts(texts, settings.sample_bytes, settings.seed), Path(path), settings)


def train_on_sources(texts: Iterable[tuple[str, str]], path: Path | str, settings: TokenizerSettings) -> Tokenizer:
    """Train as ``train_tokenizer`` does, on (source, text) and with ``settings.weights``: shares of the sample.

    A source with less text than its share is repeated until it fills it. Raises ``UserError`` also where a weight
    names a source without text, or a source has no weight.
    """
    if not settings.weights:
        return train_tokenizer((text for _, text in texts), path, settings)
    return _train(sample_sources(texts, settings.sample_bytes, settings.seed, settings.weights), Path(path), settings)


def _train(sample: Iterable[str], path: Path, settings: TokenizerSettings) -> Tokenizer:
    if settings.kind == "bytes":
        data = describe_bytes(settings)
    else:
        lines = _some(training_lines(sample), path)
        if settings.kind.startswith("sentencepiece"):
            from tilth.tokenize.sentencepiece_model import train_sentencepiece

            data = train_sentencepiece(lines, settings, path)
        else:
            from tilth.tokenize.huggingface import train_huggingface

            data = train_huggingface(lines, settings, path)
    write_atomically(path, data)
    return Tokenizer.load(path)


def _some(lines: Iterator[str], path: Path) -> Iterator[str]:
    first = next(lines, None)
    if first is None:
        raise UserError(f"{path}: found no text to train a tokenizer on, expected some; check the sources")
    return chain([first], lines)
