"""Parts that several training tests share: a world of one process, samples that can be learned, a small token set."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["CUDA_VISIBLE_DEVICES"] = ""  # layouts of four processes fit any machine on the CPU only

TEXTS = [
    f"Field {n % 9}: the {n % 7} rows of {['rye', 'oats', 'flax'][n % 3]} were sown on day {n}.\n" * 3
    for n in range(90)
]


class Progressions:
    """Arithmetic progressions modulo the vocabulary: a few steps of training lower the loss."""

    fingerprint = "progressions"

    def __init__(self, vocabulary_size: int, sequence_length: int) -> None:
        self.vocabulary_size, self.sequence_length = vocabulary_size, sequence_length

    def batch(self, first: int, count: int) -> np.ndarray:
        starts = (np.arange(first, first + count) * 7919 + 13) % self.vocabulary_size
        return (starts[:, None] + 3 * np.arange(self.sequence_length + 1)) % self.vocabulary_size


def made_up_vocabulary(size: int) -> Any:
    """Ids 0 to 3 are special (3 is the mask), and two of three others begin a word."""
    from tilth.train.objectives.vocabulary import Vocabulary

    special = np.arange(size) < 4
    return Vocabulary(3, 2, 1, special, np.arange(size) % 3 > 0, np.flatnonzero(~special))


@pytest.fixture
def vocabulary() -> Any:
    return made_up_vocabulary(300)


@pytest.fixture
def progressions() -> type[Progressions]:
    return Progressions


@pytest.fixture
def world() -> Iterator[object]:
    """A training world of this process alone, left behind as it was found."""
    from tilth.train.cpu_backend import cuda_on_cpu
    from tilth.train.layout import alone

    with cuda_on_cpu(), alone() as device:
        yield device


@pytest.fixture(scope="session")
def token_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Token shards of two small sources, 300 pieces; the tokenizer lies beside them."""
    from tilth.corpus.document import document_id, documents
    from tilth.tokenize.settings import TokenizerSettings
    from tilth.tokenize.shards import tokenize_part
    from tilth.tokenize.token_set import write_manifest
    from tilth.tokenize.train_tokenizer import train_tokenizer

    folder = tmp_path_factory.mktemp("tokens")
    tokenizer = train_tokenizer(TEXTS, folder / "tokenizer.model", TokenizerSettings(vocabulary_size=300))
    parts = []
    for source, texts in (("north", TEXTS[:50]), ("south", TEXTS[50:])):
        ids = [document_id(source, str(number)) for number in range(len(texts))]
        batch = documents({"id": ids, "text": texts, "source": [source] * len(texts)})
        parts.append(tokenize_part([batch], folder / "tokenizer.model", folder / f"{source}.arrow"))
    write_manifest(folder, tokenizer, parts)
    return folder
