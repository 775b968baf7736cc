"""Losses by themselves: a run's sample under a ladder, a table from elsewhere, and both together."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tilth.corpus.engines import engine
from tilth.corpus.errors import UserError
from tilth.eval.losses import huggingface_losses
from tilth.ladder import read_ladder, sample_losses, sample_of
from tilth.recipe.recipe import Recipe
from tilth.run import Run
from tilth.selection.losses import read_losses
from tilth.selection.sample import sampled_documents
from tilth.show import Silent


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A run that sampled 12 of 40 documents."""
    texts = [f"the {number}th field was sown with rye " * (1 + number % 3) for number in range(40)]
    (tmp_path / "farm.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    recipe = {
        "name": "farm",
        "sources": [{"name": "farm", "path": "farm.jsonl"}],
        "stages": [{"use": "sample", "documents": 12}],
    }
    run = Run(Recipe.model_validate(recipe), tmp_path, tmp_path / "runs/farm", engine("local", 1), Silent())
    run.execute("sample")
    return run.root


def theirs(root: Path, documents: int = 12) -> Path:
    """Write losses of so many of the sampled documents under the models a and b, last document first."""
    ids = sampled_documents(sample_of(root, None)).column("id").to_pylist()[:documents]
    columns = {"id": [name.hex() for name in ids], "a": np.arange(len(ids)) / 7, "b": np.ones(len(ids))}
    pq.write_table(pa.table(columns)[::-1], root / "theirs.parquet")
    return root / "theirs.parquet"


def tiny_gpt2(folder: Path) -> Path:
    """Write a Hugging Face folder of an untrained GPT-2 that reads bytes, 16 at once."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers", reason="the package 'transformers' is not installed")
    from tokenizers import Tokenizer, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={c: n for n, c in enumerate([*alphabet, "<eos>"])}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>").save_pretrained(folder)
    torch.manual_seed(0)
    shape = transformers.GPT2Config(vocab_size=257, n_positions=16, n_embd=16, n_layer=1, n_head=2, eos_token_id=256)
    transformers.GPT2LMHeadModel(shape).save_pretrained(folder)
    return folder


def test_a_sample_is_scored_under_a_folder_and_a_table_together(root: Path, tmp_path: Path) -> None:
    folder = tiny_gpt2(tmp_path / "gpt2")
    (tmp_path / "ladder.yaml").write_text(yaml.safe_dump([{"name": "gpt2", "huggingface": "gpt2"}]))
    found = sample_losses(root, read_ladder(tmp_path / "ladder.yaml"), tmp_path / "all.parquet", table=theirs(root))
    documents = sampled_documents(sample_of(root, "sample"))
    losses = read_losses(tmp_path / "all.parquet")
    assert losses.models == ("gpt2", "a", "b")
    _, values = losses.of(losses.models, documents.column("id").combine_chunks())
    np.testing.assert_array_equal(values[:, 0], huggingface_losses(folder, documents))
    np.testing.assert_array_equal(values[:, 1:], np.stack([np.arange(12) / 7, np.ones(12)], axis=1))
    sizes = documents.column("bytes").to_numpy()
    assert found["documents"] == 12
    assert found["models"]["gpt2"] == pytest.approx((values[:, 0] * sizes).sum() / sizes.sum())


def test_a_table_that_lacks_a_document_or_repeats_a_model_is_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="1 of the 12 sampled documents have no finite loss"):
        sample_losses(root, [], tmp_path / "out.parquet", table=theirs(root, 11))
    with pytest.raises(UserError, match="expected one stage 'sample' named other; there are: sample"):
        sample_losses(root, [], tmp_path / "out.parquet", stage="other", table=theirs(root))
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize(
    ("ladder", "complaint"),
    [
        ("a: [", "not valid YAML"),
        ("models", "expected a list of models"),
        ("- {name: a, huggingfce: b}", "model 0.huggingfce"),
        ("- {name: a}", "expected 'checkpoint' with 'tokenizer', or 'huggingface'"),
    ],
)
def test_a_ladder_that_is_none_is_one_line(ladder: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "ladder.yaml").write_text(ladder)
    with pytest.raises(UserError, match=complaint) as caught:
        read_ladder(tmp_path / "ladder.yaml")
    assert "\n" not in str(caught.value)


def test_the_command_line_writes_the_table(root: Path, tmp_path: Path) -> None:
    def told(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tilth.cli", "losses", "farm", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)

    done = told("--table", str(theirs(root)), "--json")
    assert json.loads(done.stdout)["models"]["b"] == 1.0, done.stderr
    assert read_losses(root / "losses.parquet").models == ("a", "b")
    refused = told()
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "found no model" in refused.stderr
