"""Recipes that deduplicate and decontaminate: from raw lines to drops, certificates, alarms and plans."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tilth.cli import app
from tilth.corpus.document import document_id
from tilth.corpus.errors import UserError
from tilth.plan import plan
from tilth.report.gather import gather

WORDS = [f"{first}{second}{third}" for first in "bdfgklmnprst" for second in "aeiou" for third in "lmnrst"]


def prose(seed: int, words: int) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=words))


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe of two sources with all kinds of repetition, and a benchmark that one document holds."""
    law = [{"id": str(number), "text": prose(number, 120)} for number in range(30)]
    web = [{"id": f"w{number}", "text": prose(500 + number, 120)} for number in range(30)]
    web += [{"id": "copy", "text": prose(0, 120)}, {"id": "louder", "text": prose(1, 120).upper()}]
    web += [{"id": "near", "text": prose(2, 119) + " other"}]
    web += [{"id": f"line{n}", "text": f"{prose(900 + n, 30)}\n{prose(77, 12)}\n{prose(950 + n, 30)}"} for n in (1, 2)]
    web += [{"id": f"passage{n}", "text": f"{prose(970 + n, 30)} {prose(78, 60)} {prose(980 + n, 30)}"} for n in (1, 2)]
    web += [{"id": "leak", "text": f"{prose(990, 40)} {prose(79, 40)}"}]
    write(tmp_path / "law.jsonl", law)
    write(tmp_path / "web.jsonl", web)
    write(tmp_path / "set.jsonl", [{"question": prose(79, 40)}, {"question": prose(80, 40)}])
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "name: small\n"
        "sources:\n  - {name: law, path: law.jsonl, id: id}\n  - {name: web, path: web.jsonl, id: id}\n"
        "stages:\n"
        "  - {use: deduplicate}\n"
        "  - {use: deduplicate, by: words, name: words}\n"
        "  - {use: deduplicate, by: near, name: near}\n"
        "  - {use: repeated-lines, run: 1}\n"
        "  - {use: repeated-passages, words: 50}\n"
        "  - {use: decontaminate, benchmarks: [{name: set, path: set.jsonl, fields: [question]}]}\n"
    )
    return path


def command(*arguments: str) -> Any:
    result = CliRunner().invoke(app, [*arguments, "--json"])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return json.loads(result.stdout.splitlines()[-1])


def test_every_kind_of_repetition_goes_and_says_why(recipe: Path, tmp_path: Path) -> None:
    done = command("run", str(recipe), "--runs", str(tmp_path / "runs"), "--workers", "1")
    stages = {stage["name"]: stage for stage in done["stages"]}
    lost = {name: stage["documents_in"] - stage["documents_out"] for name, stage in stages.items()}
    assert {name: count for name, count in lost.items() if count} == {
        "deduplicate": 1,
        "words": 1,
        "near": 1,
        "decontaminate": 1,
    }
    for name in ("repeated-lines", "repeated-passages"):
        assert stages[name]["bytes_out"] < stages[name]["bytes_in"]
    root = tmp_path / "runs/small"
    told = command("why", "near", "--source", "web", "--run", str(root))
    drop = told["events"][-1]["drop"]
    assert drop["rule"] == "near_duplicate"
    assert 0.8 <= drop["value"] < 1
    kept = command("why", drop["other"], "--run", str(root))
    assert (kept["source"], kept["events"][-1]["verdict"]) == ("law", "kept")
    leak = command("why", "leak", "--source", "web", "--run", str(root))
    assert leak["events"][-1]["drop"]["detail"] == "set, example 0"
    clusters = command("clusters", str(root))["steps"]["near"]
    assert [cluster["sources"] for cluster in clusters["clusters"]] == [{"law": 1, "web": 1}]
    assert clusters["quality"]["precision"]["value"] == 1.0
    shown = gather(root).duplicates
    assert shown is not None
    assert [(one.rule, one.source, one.dropped.documents) for one in shown.losses] == [
        ("exact_duplicate", "web", 1),
        ("same_words", "web", 1),
        ("near_duplicate", "web", 1),
    ]
    (step,) = shown.near
    assert step.precision is not None and (step.precision.value, step.precision.of) == (1.0, 1)
    (cluster,) = step.clusters
    assert (cluster.size, cluster.removed, dict(cluster.sources)) == (2, 1, {"law": 1, "web": 1})
    assert [(one.document.source, one.survivor) for one in cluster.sample] == [("law", None), ("web", drop["other"])]
    assert 'id="duplicates"' in (root / "report.html").read_text()
    cuts = [
        edit
        for name in ("line1", "line2")
        for event in command("why", name, "--source", "web", "--run", str(root))["events"]
        for edit in event["edits"]
    ]
    assert [edit["other"] in {document_id("web", name).hex() for name in ("line1", "line2")} for edit in cuts] == [True]
    (certificate,) = (root / "certificates").glob("*/certificate.json")
    verdicts = json.loads(certificate.read_bytes())
    assert verdicts["benchmarks"][0]["contaminated"] == 1
    assert [(one["example"], one["verdict"]) for one in verdicts["verdicts"]] == [(0, "contaminated")]


def test_another_threshold_measures_nothing_again(recipe: Path, tmp_path: Path) -> None:
    arguments = ("--runs", str(tmp_path / "runs"), "--workers", "1", "--until", "near")
    command("run", str(recipe), *arguments)
    recipe.write_text(recipe.read_text().replace("name: near}", "name: near, near: {threshold: 0.999}}"))
    done = command("run", str(recipe), *arguments)
    reused = {stage["name"]: stage["reused"] for stage in done["stages"]}
    assert reused.pop("near") is False
    assert all(reused.values())
    assert done["stages"][-1]["documents_in"] == done["stages"][-1]["documents_out"]


def test_a_source_that_loses_more_than_its_allowance_stops_the_run(recipe: Path, tmp_path: Path) -> None:
    write(tmp_path / "web.jsonl", [{"id": str(number), "text": prose(number % 40, 60)} for number in range(120)])
    with pytest.raises(UserError, match=r"source 'web' lost 80 of 120 documents \(66.7%\), the allowance is 50.0%"):
        command("run", str(recipe), "--runs", str(tmp_path / "runs"), "--workers", "1")
    (folder,) = (tmp_path / "runs/small/stages").glob("*-deduplicate-*")
    assert not (folder / "_manifest.json").exists()  # it does not count as done
    recipe.write_text(recipe.read_text().replace("{use: deduplicate}", "{use: deduplicate, allowance: {web: 0.7}}"))
    done = command("run", str(recipe), "--runs", str(tmp_path / "runs"), "--workers", "1", "--until", "deduplicate")
    assert done["ok"]


def test_a_plan_shows_the_curve_and_counts_the_disk(recipe: Path, tmp_path: Path) -> None:
    found = plan(recipe, tmp_path / "runs")
    caught = {point["similarity"]: point["caught"] for point in found["curves"]["near"]["points"]}
    assert caught[0.8] == pytest.approx(0.9235, abs=1e-4)
    text = sum(path.stat().st_size for path in (tmp_path / "law.jsonl", tmp_path / "web.jsonl"))
    assert found["disk_needed"] > text + 60 * 448


def test_a_benchmark_that_is_not_there_stops_the_plan(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "set.jsonl").unlink()
    with pytest.raises(UserError, match=r"set\.jsonl not found"):
        plan(recipe, tmp_path / "runs")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("by: near, name: near", "by: near, name: near, near: {bands: 20}", "20 bands x 8 rows need 160 hashes"),
        ("by: words, name: words", "by: words, name: words, near: {rows: 4}", "'near' is for 'by: near'"),
        ("by: near, name: near", "by: near, name: near, priority: [wep]", "did you mean 'web'"),
        ("by: near, name: near", "by: near, name: near, quality: score", "no stage before this one measures 'score'"),
        ("path: set.jsonl", "path: gone.jsonl", "gone.jsonl not found; correct 'path'"),
    ],
)
def test_what_cannot_be_is_refused(recipe: Path, tmp_path: Path, old: str, new: str, message: str) -> None:
    recipe.write_text(recipe.read_text().replace(old, new))
    with pytest.raises(UserError, match=message):
        command("run", str(recipe), "--runs", str(tmp_path / "runs"), "--workers", "1")


def test_a_later_dump_is_held_against_an_earlier_run(recipe: Path, tmp_path: Path) -> None:
    command("run", str(recipe), "--runs", str(tmp_path / "runs"), "--workers", "1", "--until", "near")
    write(tmp_path / "dump.jsonl", [{"id": "old", "text": prose(3, 120)}, {"id": "new", "text": prose(2000, 120)}])
    later = tmp_path / "later.yaml"
    later.write_text(
        "name: later\nsources:\n  - {name: dump, path: dump.jsonl, id: id}\n"
        "stages:\n  - {use: deduplicate, by: near, near: {against: [runs/small]}}\n"
    )
    done = command("run", str(later), "--runs", str(tmp_path / "runs"), "--workers", "1")
    assert done["stages"][-1]["documents_out"] == 1
    told = command("why", "old", "--source", "dump", "--run", str(tmp_path / "runs/later"))
    assert told["events"][-1]["drop"]["rule"] == "near_duplicate_of_index"
    assert command("why", told["events"][-1]["drop"]["other"], "--run", str(tmp_path / "runs/small"))["source"] == "law"
