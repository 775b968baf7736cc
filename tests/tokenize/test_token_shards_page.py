import re
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from tilth.tokenize.token_set import TokenSet
from tilth.tokenize.tokenizer import Tokenizer

PAGE = Path(__file__).resolve().parents[2] / "docs" / "token-shards.md"


def test_the_page_on_token_shards_runs_as_it_stands(
    make_token_set: Callable[..., TokenSet],
    prose: Callable[[int, int], list[str]],
    tokenizer: Tokenizer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    texts = prose(1, 30)
    make_token_set(tmp_path / "tokens", [[("wiki", texts)], [("law", prose(2, 20))]])
    shutil.copy(tokenizer.path, tmp_path / "tokenizer.model")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 14
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    names: dict[str, object] = {}
    for block in blocks:
        needed = re.findall(r"^(?:import|from) (datasets|megatron)", block, re.MULTILINE)
        if all(find_spec(module) for module in needed):
            exec(compile(block, str(PAGE), "exec"), names)
    printed = capsys.readouterr().out
    assert texts[2] in printed  # the third document, decoded
    assert "wiki 30 " in printed
    assert names["inputs"].shape == (4, 32)  # type: ignore[attr-defined]
    assert "SourceCount(documents=50" in printed  # what was exported came back
    if find_spec("datasets"):
        assert names["copied"].num_rows == 30  # type: ignore[attr-defined]
    if find_spec("megatron"):
        assert len(names["tokens"]) == 50  # type: ignore[arg-type]
