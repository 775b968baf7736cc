"""A run with every filtering step goes through, its edits show in place, and DuckDB reads its signals."""

import json
import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from tilth.cli import app
from tilth.corpus.chain import open_chain
from tilth.corpus.engines import engine
from tilth.corpus.why import why
from tilth.recipe.load import load_recipe
from tilth.run import Run
from tilth.show import Silent
from tilth.stories import diff_text

PAGE = (Path(__file__).parents[1] / "docs" / "signals.md").read_text(encoding="utf-8")
LINE = "The barley of the field grows well here.\n"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over five documents, read to its last filtering step."""
    folder = tmp_path_factory.mktemp("signals")
    texts = [
        LINE * 6 + "Menu\nWrite to jo@farm.example.\nsch\u00c3\u00b6n is the word that they use for it here.\n",
        LINE * 8,
        "too short",
        LINE * 7 + "The poppy is a flower that grows with oats.\n",
        LINE * 5 + "One that asks for its own end.\n",
    ]
    with (folder / "in.jsonl").open("w", encoding="utf-8") as lines:
        for number, text in enumerate(texts):
            url = "http://bad.example/x" if number == 1 else "http://good.example/"
            program = {"program": "drop_doc()"} if number == 4 else {"program": "normalize('well', 'fast')"}
            lines.write(json.dumps({"key": f"d{number}", "text": text, "url": url, **program}) + "\n")
    (folder / "domains.txt").write_text("bad.example\n", encoding="utf-8")
    (folder / "words.txt").write_text("poppy\n", encoding="utf-8")
    recipe = {
        "name": "case",
        "sources": [{"name": "s", "path": "in.jsonl", "id": "key", "url": "url"}],
        "stages": [
            {"use": "normalise"},
            {"use": "repair"},
            {"use": "mask-personal", "masks": {"email": "[mail]"}},
            {"use": "rules", "name": "c4", "preset": "c4.datatrove@1"},
            {"use": "rules", "name": "text", "preset": "text@1", "limits": {"characters": [100, None]}},
            {"use": "urls", "domains": ["domains.txt"]},
            {"use": "word-list", "lists": ["words.txt"]},
            {"use": "limits", "limits": {"listed.count": [None, 0]}},
            {"use": "programs", "field": "program"},
            {"use": "datatrove", "filter": "SamplerFilter", "arguments": {"rate": 1.0}},
        ],
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    pytest.importorskip("ftfy")
    loaded = load_recipe(folder / "recipe.yaml")
    Run(loaded, folder, folder / "runs" / "case", engine("local", 1), Silent()).execute("datatrove")
    return folder / "runs" / "case"


def test_every_step_says_why_a_document_left(run: Path) -> None:
    chain = open_chain(run)
    reasons = [rule for stored in chain for rules in stored.manifest.account.dropped.values() for rule in rules]
    assert reasons == ["c4.datatrove.sentences", "urls.domain", "listed.count", "programs.drop_doc"]
    assert chain[-1].manifest.account.documents_out == 1


def test_edits_show_in_their_place(run: Path) -> None:
    chain = open_chain(run)
    (batch,) = chain[-1].lineage.read(0, ["text"])
    told = diff_text(why(chain, batch.column("id")[0].as_py().hex()))
    assert "[-\u00c3\u00b6-]{+\u00f6+}" in told
    assert "personal.email: " in told and "[-jo@farm.example-]{+[mail]+}" in told
    assert "c4.datatrove.no_end_mark" in told and "[-Menu\\n-]" in told
    assert "[-well-]{+fast+}" in told
    assert batch.column("text")[0].as_py().count("fast") == 6


def test_duckdb_reads_signals_as_the_page_says(run: Path) -> None:
    pytest.importorskip("duckdb")
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (stage,) = [path.name for path in (run / "stages").iterdir() if path.name[3:].startswith("text-signals")]
    names = {"run": run, "stage": stage}
    exec(compile(code.replace("gopher.datatrove.words", "text.words"), "page", "exec"), names)
    ((documents, mean),) = names["answer"]  # type: ignore[misc]
    assert documents == 4 and mean > 40


def said(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_command_line_sweeps_a_limit_shows_its_neighbours_and_an_edit_in_its_place(
    run: Path, tmp_path: Path
) -> None:
    curve = tmp_path / "curve.svg"
    asked = ("what-if", str(run), "--sweep", "sentences=1..9", "--points", "3")
    swept = json.loads(said(*asked, "--json"))
    assert [low for low, _ in swept["limits"]] == [1, 5, 9]
    kept = [sum(documents for documents, _ in place.values()) for place in swept["kept"]]
    assert kept == sorted(kept, reverse=True) and kept[0] > kept[-1]
    assert said(*asked, "--svg", str(curve)).strip() and curve.read_text(encoding="utf-8").count("<svg") == 1
    shown = json.loads(said("show", str(run), "--rule", "sentences", "--near", "2", "--json"))
    sides = {one["passes"] for one in shown["documents"]}
    assert sides == {True, False} and all((one["value"] >= 5) == one["passes"] for one in shown["documents"])
    edited = next(one["id"] for one in shown["documents"] if one["passes"])
    assert said("why", edited, "--run", str(run), "--diff").strip()
