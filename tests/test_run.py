"""The whole path, from raw text to an evaluated model, on real text: run, run again, killed, changed."""

import gzip
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import psutil
import pyarrow as pa
import pytest
import yaml

from tilth.corpus.store import file_digest

STAGES: list[dict[str, Any]] = [
    {"use": "normalise"},
    {"use": "rules", "preset": "gopher.datatrove@1", "limits": {"words": [20, None], "alphabetic_words": 0.5}},
    {"use": "deduplicate"},
    {"use": "hold-out", "fraction": 0.1},
    {
        "use": "score",
        "name": "quality",
        "train": {"positive": ["reference"], "negative": ["reversed"], "dimension": 8, "buckets": 1000, "epochs": 2},
    },
    {"use": "select", "by": "quality", "keep": 0.6},
]


def write_corpus(folder: Path) -> Path:
    """Python's language reference, the same with its words reversed, some duplicates, and a recipe for them."""
    folder.mkdir()
    paragraphs = [text for topic in sorted(topics) for text in topics[topic].split("\n\n") if len(text) > 150]
    with (folder / "reference.jsonl").open("w") as plain:
        for number, text in enumerate(paragraphs):
            plain.write(json.dumps({"key": f"p{number}", "body": {"text": text}}) + "\n")
    with gzip.open(folder / "reversed.jsonl.gz", "wt") as packed:
        for text in [*(" ".join(text.split()[::-1]) for text in paragraphs[:400]), *paragraphs[:50]]:
            packed.write(json.dumps({"text": text}) + "\r\n")
    recipe = {
        "name": "small",
        "seed": 3,
        "part_size": 100_000,
        "sources": [
            {"name": "reference", "path": "reference.jsonl", "text": "body.text", "id": "key"},
            {"name": "reversed", "path": "*.jsonl.gz"},
        ],
        "stages": STAGES,
        "tokenizer": {"vocabulary": 600, "sample": 200_000},
        "train": {
            "model": {"layers": 2, "hidden_size": 32, "heads": 2, "sequence_length": 32},
            "optimisation": {"steps": 12, "batch_size": 4, "warmup_steps": 2, "checkpoint_every": 4},
            "layout": {"tensor": 2},
        },
        "evaluate": {"bytes_per_source": 2000},
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


def command(recipe: Path, runs: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "tilth.cli", "run", str(recipe), "--runs", str(runs), "--json", *more]


def run(recipe: Path, runs: Path, *more: str) -> dict[str, Any]:
    done = subprocess.run(command(recipe, runs, *more), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def contents(root: Path) -> dict[str, str]:
    """The digest of every file that holds what a run made (not when, nor where it was made)."""
    wanted = ("stages/", "tokens/", "tokenizers/", "scorers/")
    names = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_file()}
    return {name: file_digest(path) for name, path in sorted(names.items()) if name.startswith(wanted)}


def weights(root: Path) -> dict[str, Any]:
    """What training and evaluation came to, to the last bit."""
    found = json.loads((root / "run.json").read_bytes())
    log = [json.loads(line) for line in (root / found["model"] / "log.jsonl").read_text().splitlines()]
    with pa.memory_map(str(root / found["evaluation"] / "bits_per_byte.arrow")) as source:
        bits = pa.ipc.open_file(source).read_all().to_pylist()
    return {"losses": [(line["step"], line["loss"], line["grad_norm"]) for line in log], "bits": bits}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, Any]]:
    """A recipe, the folder of its runs, and the summary of its first run."""
    folder = tmp_path_factory.mktemp("whole")
    recipe = write_corpus(folder / "input")
    return recipe, folder / "runs", run(recipe, folder / "runs", "--workers", "2")


def test_raw_text_becomes_a_model_that_needs_fewer_bits(undisturbed: tuple[Path, Path, dict[str, Any]]) -> None:
    _, runs, summary = undisturbed
    before, after = summary["bits_per_byte"]["before"], summary["bits_per_byte"]["after"]
    assert set(before) == {"reference", "reversed", "all"}
    assert all(after[source] < before[source] for source in before)
    assert (runs / "small" / "report.html").read_text().startswith("<!doctype html>")


def test_every_document_is_accounted_for_at_every_stage(undisturbed: tuple[Path, Path, dict[str, Any]]) -> None:
    _, runs, summary = undisturbed
    stages = summary["stages"]
    assert stages[0]["documents_in"] == stages[0]["documents_out"] > 450
    for one, two in pairwise(stages):
        assert (one["documents_out"], one["bytes_out"]) == (two["documents_in"], two["bytes_in"])
    manifest = json.loads((runs / "small" / "stages" / stages[-1]["folder"] / "_manifest.json").read_bytes())
    tokens = json.loads(next((runs / "small" / "tokens").glob("*/_manifest.json")).read_bytes())
    assert tokens["documents"] == manifest["account"]["documents_out"]
    assert tokens["bytes"] == manifest["account"]["bytes_out"]


def test_every_step_has_its_own_seconds(undisturbed: tuple[Path, Path, dict[str, Any]]) -> None:
    # normalise and rules ran in one pass
    seconds = undisturbed[2]["seconds"]
    assert {"read", "normalise", "rules", "deduplicate", "hold-out"} <= seconds.keys()
    assert min(seconds.values()) > 0


def test_the_same_command_again_redoes_nothing(undisturbed: tuple[Path, Path, dict[str, Any]]) -> None:
    recipe, runs, _ = undisturbed
    files = {path: path.stat().st_mtime_ns for path in (runs / "small").rglob("*") if path.suffix in (".arrow", ".bin")}
    again = run(recipe, runs)
    assert [step for step, reused in again["reused"].items() if not reused] == ["report"]
    assert files == {path: path.stat().st_mtime_ns for path in files}


def test_check_finds_what_is_stored_and_writes_nothing(undisturbed: tuple[Path, Path, dict[str, Any]]) -> None:
    recipe, runs, _ = undisturbed
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*")}
    words = [sys.executable, "-m", "tilth.cli", "check", str(recipe), "--runs", str(runs), "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [step["name"] for step in json.loads(done.stdout)["steps"] if not step["stored"]] == ["report"]
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*")} == before


def test_every_engine_and_worker_count_gives_the_same_bytes(
    undisturbed: tuple[Path, Path, dict[str, Any]], tmp_path: Path
) -> None:
    recipe, runs, summary = undisturbed
    expected = {name: digest for name, digest in contents(runs / "small").items() if "_manifest" not in name}
    for number, engine in enumerate([("local", "--workers", "1"), ("beam",)]):
        found = run(recipe, tmp_path / str(number), "--until", "tokens", "--engine", *engine)
        assert [stage["set_digest"] for stage in found["stages"]] == [
            stage["set_digest"] for stage in summary["stages"]
        ]
        made = contents(tmp_path / str(number) / "small")
        assert {name: digest for name, digest in made.items() if "_manifest" not in name} == expected


def test_a_changed_limit_redoes_its_stage_and_what_follows_only(
    undisturbed: tuple[Path, Path, dict[str, Any]], tmp_path: Path
) -> None:
    recipe, runs, _ = undisturbed
    shutil.copytree(runs, tmp_path / "runs")
    data = yaml.safe_load(recipe.read_text())
    data["stages"][1]["limits"]["words"] = [25, None]
    changed = recipe.with_name("changed.yaml")
    changed.write_text(yaml.safe_dump(data))
    reused = {
        stage["name"]: stage["reused"] for stage in run(changed, tmp_path / "runs", "--until", "deduplicate")["stages"]
    }
    assert reused == {"read": True, "normalise": True, "rules-signals": True, "rules": False, "deduplicate": False}


@pytest.mark.slow
def test_a_run_that_was_killed_again_and_again_ends_with_the_same_bytes(
    undisturbed: tuple[Path, Path, dict[str, Any]], tmp_path: Path
) -> None:
    recipe, runs, summary = undisturbed
    chance = random.Random(5)
    whole = sum(summary["seconds"].values())
    for _ in range(4):
        worker = subprocess.Popen(
            command(recipe, tmp_path, "--workers", "2"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(chance.uniform(0.1, 0.6) * whole)
        # waited for or not, the process keeps its entry until wait(): it is there to be asked, dead or alive
        family = psutil.Process(worker.pid).children(recursive=True)
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait()
        _, alive = psutil.wait_procs(family, timeout=15)
        assert not alive, f"orphans: {alive}"
    run(recipe, tmp_path, "--workers", "2")
    assert contents(tmp_path / "small") == contents(runs / "small")
    assert weights(tmp_path / "small") == weights(runs / "small")
