"""Made-up prose, a small tokenizer and token sets of it: real parts, small enough to build in a second."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tilth.corpus.document import document_id, documents
from tilth.tokenize.settings import TokenizerSettings
from tilth.tokenize.shards import tokenize_part
from tilth.tokenize.token_set import TokenSet, write_manifest
from tilth.tokenize.tokenizer import Tokenizer
from tilth.tokenize.train_tokenizer import train_tokenizer

SYLLABLES = ["ba", "co", "den", "fi", "gor", "hal", "im", "jo", "kat", "lu", "men", "nor", "os", "pra", "qui", "rel"]

Prose = Callable[[int, int], list[str]]
MakeTokenSet = Callable[..., TokenSet]


def make_prose(seed: int, count: int) -> list[str]:
    """Return ``count`` documents of a few lines each, some with indentation, digits and other scripts."""
    generator = np.random.default_rng(seed)
    words = ["".join(generator.choice(SYLLABLES, generator.integers(1, 4))) for _ in range(300)]
    texts = []
    for _ in range(count):
        lines = [" ".join(generator.choice(words, generator.integers(3, 12))) for _ in range(generator.integers(1, 8))]
        lines.append(
            f"    {generator.integers(0, 5000)} \u03b1\u03b2 caf\u00e9, \u6c49\u5b57\t{generator.choice(words)}."
        )
        texts.append("\n".join(lines) + "\n\n")
    return texts


def make_batch(source: str, texts: Sequence[str], first: int = 0) -> pa.RecordBatch:
    """Return a batch of documents of one source, located by their number from ``first`` on."""
    ids = [document_id(source, str(first + number)) for number in range(len(texts))]
    return documents({"id": ids, "text": texts, "source": [source] * len(texts)})


@pytest.fixture(scope="session")
def prose() -> Prose:
    return make_prose


@pytest.fixture(scope="session")
def batch_of() -> Callable[..., pa.RecordBatch]:
    return make_batch


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = tmp_path_factory.mktemp("tokenizer") / "prose.model"
    return train_tokenizer(make_prose(0, 200), path, TokenizerSettings(vocabulary_size=500))


@pytest.fixture(scope="session")
def make_token_set(tokenizer: Tokenizer) -> MakeTokenSet:
    """Return a function that writes a token set: every part is a list of (source, texts)."""

    def make(folder: Path, parts: Sequence[Sequence[tuple[str, Sequence[str]]]]) -> TokenSet:
        finished = []
        numbers: dict[str, int] = {}
        for number, groups in enumerate(parts):
            batches = []
            for source, texts in groups:
                first = numbers.get(source, 0)
                numbers[source] = first + len(texts)
                batches.append(make_batch(source, texts, first))
            finished.append(tokenize_part(batches, tokenizer.path, folder / f"part-{number:05d}.arrow"))
        return write_manifest(folder, tokenizer, finished)

    return make
