"""A tokenizer, an untrained checkpoint and held-out documents, for the evaluation's tests."""

import os
from pathlib import Path

import pyarrow as pa
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["CUDA_VISIBLE_DEVICES"] = ""  # layouts of four processes fit any machine on the CPU only

TEXTS = [
    f"Field {n % 9}: the {n % 7} rows of {['rye', 'oats', 'flax'][n % 3]} were sown on day {n}.\n" for n in range(90)
]
HELD_OUT = [
    "",
    "Rye.",
    *(text * (1 + number % 5) for number, text in enumerate(TEXTS[:14])),
    TEXTS[7] * 30,
    "é\x00 \U0001f33e",
]
SEQUENCE = 32


@pytest.fixture(scope="session")
def tokenizer_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tilth.tokenize.settings import TokenizerSettings
    from tilth.tokenize.train_tokenizer import train_tokenizer

    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.model"
    train_tokenizer(TEXTS, path, TokenizerSettings(vocabulary_size=300))
    return path


@pytest.fixture(scope="session")
def held_out() -> pa.Table:
    from tilth.corpus.document import document_id, documents

    sources = [["south", "north"][number % 2] for number in range(len(HELD_OUT))]
    ids = [document_id(source, str(number)) for number, source in enumerate(sources)]
    return pa.Table.from_batches([documents({"id": ids, "text": HELD_OUT, "source": sources})])


@pytest.fixture(scope="session")
def seed_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("megatron.core")
    from tilth.train.cpu_backend import cuda_on_cpu
    from tilth.train.job import TrainConfig, TrainJob
    from tilth.train.loop import write_seed
    from tilth.train.model import ModelConfig

    model = ModelConfig(300, layers=2, hidden_size=32, heads=4, sequence_length=SEQUENCE)
    with cuda_on_cpu():
        return write_seed(TrainJob(model, TrainConfig(steps=1), "-"), tmp_path_factory.mktemp("model"))
