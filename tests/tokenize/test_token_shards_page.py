import re
import shutil
from collections.abc import Callable
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
    assert len(blocks) == 7
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    printed = capsys.readouterr().out
    assert texts[2] in printed  # the third document, decoded
    assert "wiki 30 " in printed
    assert names["inputs"].shape == (4, 32)  # type: ignore[attr-defined]
