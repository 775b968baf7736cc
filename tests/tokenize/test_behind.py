import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from tilth.behind import behind_text, documents_behind, token_counts
from tilth.cli import app
from tilth.corpus.errors import UserError
from tilth.tokenize.order import TrainingOrder
from tilth.tokenize.packed_order import PackedOrder
from tilth.tokenize.token_set import TokenSet
from tilth.tokenize.tokenizer import Tokenizer
from tilth.train.job import TrainConfig, TrainJob
from tilth.train.model import ModelConfig

LENGTH, BATCH, SEED = 32, 4, 7


@pytest.fixture
def root(
    make_token_set: Callable[..., TokenSet],
    prose: Callable[[int, int], list[str]],
    tokenizer: Tokenizer,
    tmp_path: Path,
) -> Path:
    """A run folder with tokens, a tokenizer and a training job: all that a position is read from."""
    make_token_set(tmp_path / "tokens", [[("wiki", prose(1, 20)), ("law", prose(2, 20))]])
    (tmp_path / "tokenizer").mkdir()
    shutil.copy(tokenizer.path, tmp_path / "tokenizer" / "tokenizer.model")
    model = ModelConfig(vocabulary_size=500, layers=1, hidden_size=8, heads=1, sequence_length=LENGTH)
    job = TrainJob(model, TrainConfig(steps=9, batch_size=BATCH), "moved elsewhere", seed=SEED)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "job.json").write_bytes(job.to_json())
    index = {"name": "run", "tokens": "tokens", "model": "model", "tokenizer": "tokenizer"}
    (tmp_path / "run.json").write_text(json.dumps(index))
    return tmp_path


def test_a_position_leads_to_the_document_of_its_token(root: Path, tokenizer: Tokenizer) -> None:
    tokens = TokenSet.open(root / "tokens")
    order = TrainingOrder(tokens, LENGTH, SEED)
    rows = {
        row["id"].hex(): row["tokens"]
        for part in tokens.parts
        for row in pa.ipc.open_file(tokens.folder / part.name).read_all().to_pylist()
    }
    for position in (0, 31, 32, 1_000, 5_003):
        found = documents_behind(root, position)
        sample = position // LENGTH
        assert (found["sample"], found["step"]) == (sample, sample // BATCH + 1)
        assert found["document"] in found["documents"]
        row = order.batch(sample, 1)[0]
        assert row[position % LENGTH] in rows[found["document"]["id"]]
        assert found["text"] == tokenizer.decode(row)


def test_padding_has_no_document(root: Path, tokenizer: Tokenizer) -> None:
    path = root / "model" / "job.json"
    job = dataclasses.replace(TrainJob.from_json(path.read_bytes()), packing="whole")
    path.write_bytes(job.to_json())
    for sample in range(40):
        found = documents_behind(root, sample * LENGTH + LENGTH - 1)
        assert found["documents"]
        if found["document"] is None:
            break
    assert found["document"] is None
    assert "padding" in behind_text(found)
    row = PackedOrder(TokenSet.open(root / "tokens"), LENGTH, SEED, padding=-1).batch(sample, 1)[0]
    assert found["text"] == tokenizer.decode(row[row >= 0])


def test_the_command_prints_what_was_found(root: Path) -> None:
    said = CliRunner().invoke(app, ["tokens", str(root), "--at", "40", "--json"])
    assert json.loads(said.output) == documents_behind(root, 40)
    said = CliRunner().invoke(app, ["tokens", str(root), "--at", "40"])
    assert documents_behind(root, 40)["document"]["id"] in said.output
    said = CliRunner().invoke(app, ["tokens", str(root)])
    assert "wiki: 20 documents" in said.output
    assert token_counts(root)["sources"]["law"] == dataclasses.asdict(TokenSet.open(root / "tokens").sources["law"])


def test_a_run_without_a_model_has_no_positions(root: Path) -> None:
    (root / "run.json").write_text(json.dumps({"name": "run", "tokens": "tokens"}))
    with pytest.raises(UserError, match="the run has no model yet"):
        documents_behind(root, 0)
    with pytest.raises(UserError, match="--at: found -1"):
        documents_behind(root, -1)
