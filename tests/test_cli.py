"""The command line: one clear line and a non-zero exit for what a user gets wrong, JSON where it is asked for."""

import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tilth.corpus.chain import open_chain
from tilth.corpus.why import why

WORDS = "the heart of every considered proposal is to be written and that it should have some purpose with care"


def tilth(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tilth.cli", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


def write(folder: Path, name: str, records: list[Any]) -> None:
    (folder / name).write_text("".join(json.dumps(record) + "\n" for record in records))


def texts(count: int) -> list[dict[str, str]]:
    return [{"text": f"{WORDS} {number}. " * 4} for number in range(count)]


def recipe(folder: Path, *, path: str = "good.jsonl", more: str = "") -> None:
    (folder / "recipe.yaml").write_text(f"name: case\nsources:\n  - {{name: a, path: '{path}'}}\n{more}")


RULES = "stages:\n  - {use: rules, preset: gopher.datatrove@1, limits: {%s}}\n"

MISTAKES = {
    "missing file": ({"path": "god.jsonl"}, "nothing matches 'god.jsonl'", "good.jsonl"),
    "wrong field": ({"path": "wrong.jsonl"}, "'text' is missing", "wrong.jsonl"),
    "empty corpus": ({"path": "empty.jsonl"}, "the corpus is empty", ""),
    "unknown rule": ({"more": RULES % "wordz: 3"}, "no rule 'wordz'", "did you mean 'words'"),
    "negative limit": ({"more": RULES % "words: -3"}, "recipe.yaml:5", "found -3"),
    "unknown key": ({"more": "sed: 3\n"}, "recipe.yaml:4", "did you mean 'seed'"),
    "absurd number": ({"more": "part_size: 1e99\n"}, "recipe.yaml:4", "1e99"),
    "heads": (
        {"more": "tokenizer: {vocabulary: 600}\ntrain: {model: {heads: 5}}\n"},
        "train.model.hidden_size",
        "expected a multiple",
    ),
    "missing model": ({"more": "stages:\n  - {use: score, model: no.bin}\n"}, "no.bin", "not found"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_that_says_what_to_do(tmp_path: Path, mistake: str) -> None:
    write(tmp_path, "good.jsonl", texts(5))
    write(tmp_path, "wrong.jsonl", [{"txt": "hello"}] * 5)
    (tmp_path / "empty.jsonl").touch()
    change, *expected = MISTAKES[mistake]
    recipe(tmp_path, **change)
    done = tilth(tmp_path, "run", "recipe.yaml", "--workers", "1")
    assert done.returncode == 1
    assert done.stderr.startswith("tilth: ") and done.stderr.count("\n") == 1, done.stderr
    assert all(part in done.stderr for part in expected), done.stderr


def test_what_cannot_be_read_leaves_as_a_drop_and_the_rest_goes_on(tmp_path: Path) -> None:
    lines = [json.dumps(record).encode() for record in texts(200)]
    lines[7] = b'{"text": "\xff\xfe"}'
    (tmp_path / "broken.jsonl").write_bytes(b"\n".join(lines))
    recipe(tmp_path, path="broken.jsonl")
    done = tilth(tmp_path, "run", "recipe.yaml", "--until", "read", "--json", "--workers", "1")
    stage = json.loads(done.stdout)["stages"][0]
    assert (stage["documents_in"], stage["documents_out"]) == (200, 199)


def test_a_truncated_file_gives_what_it_holds_and_one_drop(tmp_path: Path) -> None:
    whole = gzip.compress("".join(json.dumps({"text": os.urandom(40).hex()}) + "\n" for _ in range(900)).encode())
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    recipe(tmp_path, path="cut.jsonl.gz")
    text = (tmp_path / "recipe.yaml").read_text().replace("cut.jsonl.gz'", "cut.jsonl.gz', allowance: 0.6")
    (tmp_path / "recipe.yaml").write_text(text)
    done = tilth(tmp_path, "run", "recipe.yaml", "--until", "read", "--json", "--workers", "1")
    assert done.returncode == 0, done.stderr
    stage = json.loads(done.stdout)["stages"][0]
    assert stage["documents_in"] == stage["documents_out"] + 1
    assert 300 < stage["documents_out"] < 600


def without_rights() -> list[str]:
    """What to put before a command so that file modes hold for root too."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("root may write anywhere, and setpriv is not here to take that right away")
    rights = "-dac_override,-dac_read_search,-fowner"
    return ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}"]


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path, command: str) -> None:
    write(tmp_path, "good.jsonl", texts(5))
    recipe(tmp_path)
    (tmp_path / "closed").mkdir(mode=0o500)
    words = [*without_rights(), sys.executable, "-m", "tilth.cli", command, "recipe.yaml", "--runs", "closed/runs"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "cannot be written" in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_two_runs_in_one_folder_at_once_are_refused(tmp_path: Path) -> None:
    from tilth.corpus.chain import locked

    write(tmp_path, "good.jsonl", texts(5))
    recipe(tmp_path)
    with locked(tmp_path / "runs" / "case"):
        done = tilth(tmp_path, "run", "recipe.yaml")
    assert done.returncode == 1 and "another run is at work" in done.stderr


def test_errors_are_json_where_json_is_asked_for(tmp_path: Path) -> None:
    done = tilth(tmp_path, "run", "none.yaml", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout) == {"ok": False, "error": done.stderr.removeprefix("tilth: ").strip()}


def test_the_starter_recipe_checks_and_runs_once_it_names_files(tmp_path: Path) -> None:
    assert tilth(tmp_path, "init").returncode == 0
    again = tilth(tmp_path, "init")
    assert again.returncode == 1 and "exists already" in again.stderr
    (tmp_path / "data" / "docs").mkdir(parents=True)
    write(tmp_path / "data" / "docs", "one.jsonl", texts(60))
    plan = json.loads(tilth(tmp_path, "check", "recipe.yaml", "--json").stdout)
    assert [step["name"] for step in plan["steps"]][:5] == ["read", "normalise", "rules", "deduplicate", "hold-out"]
    assert not any(step["stored"] for step in plan["steps"])
    assert not (tmp_path / "runs").exists()
    assert plan["sources"][0]["first"]["text"].startswith("the heart")
    for until, stored in (("normalise", [True, True, False, False]), ("rules", [True, True, True, False])):
        # one pass could take rules along with normalise: it ends where it is told to
        assert tilth(tmp_path, "run", "recipe.yaml", "--until", until, "--workers", "1").returncode == 0
        plan = json.loads(tilth(tmp_path, "check", "recipe.yaml", "--json").stdout)
        assert [step["stored"] for step in plan["steps"]][:4] == stored


def test_check_names_the_fields_that_it_found(tmp_path: Path) -> None:
    write(tmp_path, "wrong.jsonl", [{"body": {"txt": "hello"}}])
    recipe(tmp_path, path="wrong.jsonl")
    done = tilth(tmp_path, "check", "recipe.yaml")
    assert done.returncode == 1 and "body.txt" in done.stderr and done.stderr.count("\n") == 1


def test_the_ledger_answers_why_and_what_if(tmp_path: Path) -> None:
    short = [{"text": "too short"}, {"text": "short, too"}]
    write(tmp_path, "good.jsonl", [*texts(20), texts(1)[0], *short])
    recipe(tmp_path, more="stages:\n  - {use: rules, preset: gopher.datatrove@1}\n  - {use: deduplicate}\n")
    assert tilth(tmp_path, "run", "recipe.yaml", "--until", "deduplicate", "--workers", "1").returncode == 0

    asked = json.loads(tilth(tmp_path, "what-if", "case", "words=1..", "stop_words=0", "--json").stdout)
    counts = asked["total"]
    assert (counts["documents"], counts["documents_now"], counts["documents_then"]) == (
        23,
        21,
        22,
    )  # of "short, too" a third is no word
    asked = json.loads(
        tilth(tmp_path, "what-if", "case", "words=1", "stop_words=0", "--json").stdout or '{"ok": false}'
    )
    assert asked["ok"] is False  # words has two limits: one number does not say which

    chain = open_chain(tmp_path / "runs" / "case")
    ids = [batch.column("id")[row].as_py().hex() for part in range(chain[0].parts)
           for batch in chain[0].lineage.read(part) for row in range(batch.num_rows)]  # fmt: skip
    stories = {identity: why(chain, identity) for identity in ids}
    by_rule = {story.events[-1].drop["rule"]: story for story in stories.values() if story.events[-1].drop}
    assert set(by_rule) == {"gopher.datatrove.words", "exact_duplicate"}
    told = tilth(tmp_path, "why", by_rule["exact_duplicate"].id[:12]).stdout
    assert f"{by_rule['exact_duplicate'].events[-1].drop['other']} stayed" in told  # type: ignore[index]
    assert "gopher.datatrove.words = 2" in tilth(tmp_path, "why", by_rule["gopher.datatrove.words"].id).stdout


def test_the_schema_of_recipes_is_json_with_every_step(tmp_path: Path) -> None:
    schema = json.loads(tilth(tmp_path, "schema").stdout)
    assert {"RulesStep", "ScoreStep", "SelectStep"} <= set(schema["$defs"])
