import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tilth.recipe.tokenizer import TokenizerRecipe
from tilth.tokenize.growth import grow_tokenizer
from tilth.tokenize.tokenizer import Tokenizer

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tokenizers.md"


def test_the_recipes_of_the_page_on_tokenizers_are_recipes() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 4
    for block in blocks:
        TokenizerRecipe.model_validate(yaml.safe_load(block)["tokenizer"])


def test_the_code_of_the_page_on_tokenizers_runs(
    tokenizer: Tokenizer,
    prose: Callable[[int, int], list[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    texts = [("medicine", text) for text in prose(1, 40)]
    grow_tokenizer(tokenizer, texts, tmp_path, pieces=4, domain=["medicine"], sample_bytes=9_000, seed=0)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), {"grown_folder": tmp_path, "folder": tmp_path})
    printed = capsys.readouterr().out
    assert "500 (" in printed
    assert "three short words" in printed
