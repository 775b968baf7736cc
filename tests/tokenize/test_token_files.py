"""Tokens leave for other tools and come back, from the command line, into a recipe that trains on them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tilth.cli import app
from tilth.corpus.engines import engine
from tilth.corpus.errors import UserError
from tilth.recipe.load import load_recipe
from tilth.run import Run
from tilth.show import Silent
from tilth.tokenize.settings import TokenizerSettings
from tilth.tokenize.token_set import TokenSet
from tilth.tokenize.tokenizer import Tokenizer
from tilth.tokenize.train_tokenizer import train_tokenizer

RECIPE = """
name: old
tokens: imported
tokenizer: {model: tokenizer/tokenizer.model}
train: {model: {layers: 1, hidden_size: 16, heads: 2, sequence_length: 32}, optimisation: {steps: 2, warmup_steps: 0}}
"""


@pytest.fixture
def root(
    make_token_set: Callable[..., TokenSet],
    prose: Callable[[int, int], list[str]],
    tokenizer: Tokenizer,
    tmp_path: Path,
) -> Path:
    make_token_set(tmp_path / "tokens", [[("wiki", ["", *prose(1, 30)])], [("law", prose(2, 20))]])
    (tmp_path / "tokenizer").mkdir()
    shutil.copy(tokenizer.path, tmp_path / "tokenizer" / "tokenizer.model")
    index = {"name": "run", "tokens": "tokens", "tokenizer": "tokenizer"}
    (tmp_path / "run.json").write_text(json.dumps(index))
    (tmp_path / "old.yaml").write_text(RECIPE)
    return tmp_path


def tokens_of(folder: Path) -> np.ndarray:
    return np.concatenate([batch.tokens for shard in TokenSet.open(folder).shards() for batch in shard.batches])


def asked(*arguments: str) -> str:
    said = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert said.exit_code == 0
    return said.output


def test_tokens_go_to_megatron_and_come_back_the_same(root: Path) -> None:
    made = json.loads(asked("export-tokens", str(root), "--out", str(root / "mega" / "text"), "--json"))
    assert made["documents"] == 51
    assert np.fromfile(root / "mega" / "text.bin", np.uint16).tolist() == tokens_of(root / "tokens").tolist()
    with pytest.raises(UserError, match=r"text\.idx: is there already; name another --out"):
        asked("export-tokens", str(root), "--out", str(root / "mega" / "text"))
    both = [str(root / "mega" / f"text{end}") for end in (".bin", ".idx")]
    where = ["--tokenizer", str(root / "tokenizer"), "--source", "old", "--out", str(root / "imported")]
    said = asked("import-tokens", *both, *where)
    assert f"tokens: {root / 'imported'}" in said
    np.testing.assert_array_equal(tokens_of(root / "imported"), tokens_of(root / "tokens"))
    assert TokenSet.open(root / "imported").sources["old"].documents == 51
    with pytest.raises(UserError, match="holds token shards already"):
        asked("import-tokens", *both, *where)
    with pytest.raises(UserError, match=r"a\.ds: found files of datatrove and of Megatron"):
        asked("import-tokens", str(root / "a.ds"), *both, *where[:-1], str(root / "other"))


def test_a_recipe_takes_shards_and_no_other_tokenizers(root: Path, prose: Callable[[int, int], list[str]]) -> None:
    shutil.copytree(root / "tokens", root / "imported")
    recipe = load_recipe(root / "old.yaml")
    run = Run(recipe, root, root / "runs" / "old", engine("local", 1), Silent())
    assert [name for name, _ in run.steps()] == ["tokenizer", "tokens", "train"]
    run.execute("tokens")
    assert run.outputs["tokens"]["digest"] == TokenSet.open(root / "tokens").digest
    assert json.loads(asked("tokens", str(root / "runs" / "old"), "--json"))["sources"]["wiki"]["documents"] == 31
    assert "stored  tokens" in asked("check", str(root / "old.yaml"), "--runs", str(root / "runs"))
    train_tokenizer(prose(9, 100), root / "tokenizer" / "tokenizer.model", TokenizerSettings(vocabulary_size=500))
    with pytest.raises(UserError, match=r"tokens: .*imported: made with tokenizer .*, found .* name the one that made"):
        Run(recipe, root, root / "runs" / "old", engine("local", 1), Silent()).execute("tokens")
