"""The page about writing a rule holds code that runs, from its first block to its last."""

import linecache
import re
from pathlib import Path

import yaml

from tilth.recipe.recipe import Recipe

PAGE = (Path(__file__).parents[1] / "docs" / "rules.md").read_text(encoding="utf-8")


def test_the_pages_code_runs_as_it_stands(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 5
    path = tmp_path / "page.py"  # kernels are cached beside the file that holds them
    path.write_text("\n".join(blocks), encoding="utf-8")
    linecache.checkcache(str(path))
    names: dict[str, object] = {"__name__": "page", "__file__": str(path)}
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), names)
    assert "FORUM" in names


def test_the_pages_recipe_is_one() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    source = {"name": "s", "path": "x.jsonl"}
    assert len(Recipe.model_validate({"name": "r", "sources": [source], **yaml.safe_load(text)}).stages) == 3
