"""Every page about a format has a recipe that runs, and names every key of a source."""

import bz2
import gzip
import json
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
import zstandard

from tilth.plan import plan
from tilth.recipe.source import SourceRecipe

PAGES = Path(__file__).parents[1] / "docs/formats"
ROWS = [{"id": f"r{i}", "text": f"The loam of field {i} is deep.", "date": "2020-01-02", "n": i} for i in range(20)]
LINES = b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)
PROSE = "<p>" + "The rain is slow and nobody hurries the worm. " * 20 + "</p>"
HTML = f"<title>Rain</title><nav>menu</nav><main>{PROSE}</main>"


def json_lines(data: Path) -> int:
    (data / "a.jsonl.zst").write_bytes(zstandard.compress(LINES))
    return 20


def parquet(data: Path) -> int:
    pq.write_table(pa.Table.from_pylist(ROWS), data / "a.parquet")
    return 20


def arrow(data: Path) -> int:
    table = pa.Table.from_pylist(ROWS)
    with pa.ipc.new_file(str(data / "a.arrow"), table.schema) as writer:
        writer.write_table(table)
    return 20


def delimited(data: Path) -> int:
    rows = "".join(f'{row["id"]},"{row["text"]}",{row["date"]}\n' for row in ROWS)
    (data / "a.csv").write_text("id,text,date\n" + rows)
    return 20


def texts(data: Path) -> int:
    (data / "deep").mkdir()
    (data / "a.txt").write_text("Der Boden ist tief, über den Äckern fällt Regen. " * 9, encoding="cp1252")
    (data / "deep/b.txt").write_text("loam")
    return 2


def separated(data: Path) -> int:
    (data / "all.txt").write_text("<|endoftext|>".join(row["text"] for row in ROWS))  # type: ignore[misc]
    return 20


def markdown(data: Path) -> int:
    (data / "a.md").write_text("---\ntitle: Loam\ndate: 2020-01-02\n---\n# Loam\n\nIt is deep.\n")
    return 1


def html(data: Path) -> int:
    (data / "a.html").write_text(HTML)
    return 1


def warc(data: Path) -> int:
    answer = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n{HTML}"
    head = "WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: http://a.example/\r\n"
    head += f"Content-Length: {len(answer)}\r\n\r\n"
    (data / "a.warc.gz").write_bytes(gzip.compress((head + answer + "\r\n\r\n").encode()))
    return 1


def mediawiki(data: Path) -> int:
    page = (
        "<page><title>Loam</title><ns>0</ns><id>1</id><revision><id>2</id><timestamp>2020-01-02T00:00:00Z</timestamp>"
        "<text>'''Loam''' is a [[soil]].</text></revision></page>"
    )
    (data / "a.xml.bz2").write_bytes(bz2.compress(f"<mediawiki>{page}</mediawiki>".encode()))
    return 1


# the recipe's name -> what puts files where it looks, and returns how many documents there are
FILES: dict[str, Callable[[Path], int]] = {
    "from-json-lines": json_lines,
    "from-parquet": parquet,
    "from-arrow": arrow,
    "from-csv": delimited,
    "from-text": texts,
    "from-separated-text": separated,
    "from-markdown": markdown,
    "from-html": html,
    "from-warc": warc,
    "from-mediawiki": mediawiki,
}
NEED_WEB = {"from-text", "from-html", "from-warc", "from-mediawiki"}


def recipes() -> dict[str, str]:
    """Return name -> text of every recipe on the pages."""
    blocks = [
        block
        for page in sorted(PAGES.glob("*.md"))
        for block in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.S)
    ]
    return {yaml.safe_load(block)["name"]: block for block in blocks}


def test_every_recipe_on_a_page_is_known_here() -> None:
    assert set(recipes()) == {*FILES, "everything"}


@pytest.mark.parametrize("name", FILES)
def test_the_recipe_of_a_page_runs(name: str, tmp_path: Path) -> None:
    if name in NEED_WEB and not (find_spec("resiliparse") and find_spec("mwparserfromhell")):
        pytest.skip("the extra 'web' is not installed")
    (tmp_path / "data").mkdir()
    documents = FILES[name](tmp_path / "data")
    (tmp_path / "recipe.yaml").write_text(recipes()[name])
    checked = plan(tmp_path / "recipe.yaml", tmp_path / "runs")
    assert checked["sources"][0]["first"]["text"]
    command = [sys.executable, "-m", "tilth.cli", "run", "recipe.yaml", "--until", "read", "--workers", "1", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    (stage,) = json.loads(done.stdout)["stages"]
    assert (stage["documents_in"], stage["documents_out"]) == (documents, documents)


def test_every_key_of_a_source_is_on_the_page() -> None:
    shown: dict[str, Any] = yaml.safe_load(recipes()["everything"])["sources"][0]
    SourceRecipe.model_validate(shown)
    described = set(shown) | {"separator", "delimiter"}  # on the pages of their formats
    assert set(SourceRecipe.model_fields) == described
    assert "separator:" in (PAGES / "text.md").read_text()
    assert "delimiter:" in (PAGES / "csv.md").read_text()


def test_every_page_is_in_the_list() -> None:
    listed = set(re.findall(r"\]\(([a-z-]+\.md)\)", (PAGES / "README.md").read_text()))
    assert listed == {page.name for page in PAGES.glob("*.md")} - {"README.md"}
