"""Train a tokenizer on the documents that leave a stage."""

from collections.abc import Iterator
from pathlib import Path

from tilth.corpus.chain import Stored
from tilth.tokenize.sentencepiece_bpe import Tokenizer, TokenizerSettings, train_tokenizer


def fit_tokenizer(path: Path, stored: Stored, settings: TokenizerSettings) -> Tokenizer:
    """Train on a sample of the documents of ``stored``, write the model to ``path``, return it."""
    return train_tokenizer(texts_of(stored), path, settings)


def texts_of(stored: Stored) -> Iterator[str]:
    """Yield the text of every document, part after part."""
    for part in range(stored.parts):
        for batch in stored.lineage.read(part, ["text"]):
            yield from batch.column("text").to_pylist()
