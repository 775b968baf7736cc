"""Exports hold exactly what left a stage, and other tools open them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
import zstandard

from tilth.corpus.chain import open_chain
from tilth.corpus.errors import UserError
from tilth.corpus.sources import Source, find_files
from tilth.export import export

FORMATS = ("jsonl", "parquet", "arrow", "huggingface")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    rows = [
        {"key": i, "text": f"Der Boden {i % 70} ist tief.", "url": None if i % 3 else f"u{i}", "deep": {"n": [i]}}
        for i in range(100)
    ]
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = {
        "name": "small",
        "part_size": 2000,
        "sources": [{"name": "farm", "path": "a.jsonl", "id": "key", "url": "url"}],
        "stages": [{"use": "deduplicate"}],
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    tilth("run", str(folder / "recipe.yaml"), "--runs", str(folder / "runs"), "--workers", "1")
    return folder / "runs/small"


def tilth(*arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tilth.cli", *arguments, "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def expected(run: Path, stage: str) -> dict[str, dict[str, Any]]:
    stored = next(one for one in open_chain(run) if one.manifest.name == stage)
    columns = ("text", "url", "date", "language", "metadata")
    return {
        row["id"].hex(): {name: row[name] for name in ("source", *columns)}
        for part in range(stored.parts)
        for batch in stored.lineage.read(part, columns)
        for row in batch.to_pylist()
    }


def by_id(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    assert len({row["id"] for row in rows}) == len(rows)
    return {row["id"]: {name: value for name, value in row.items() if name != "id"} for row in rows}


def opened(folder: Path, format: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    if format == "jsonl":
        for path in sorted(folder.glob("*.jsonl.zst")):
            with zstandard.open(path, "rb") as stream:
                rows += [orjson.loads(line) for line in stream.read().splitlines()]
        return [{**row, "metadata": orjson.dumps(row["metadata"]).decode()} for row in rows]
    if format == "parquet":
        return pq.read_table(sorted(folder.glob("*.parquet"))).to_pylist()
    for path in sorted(folder.rglob("*.arrow")):
        make = pa.ipc.open_file if format == "arrow" else pa.ipc.open_stream
        rows += make(str(path)).read_all().to_pylist()
    return rows


@pytest.mark.parametrize("stage", ["read", "deduplicate"])
@pytest.mark.parametrize("format", FORMATS)
def test_an_export_holds_what_left_the_stage(run: Path, tmp_path: Path, format: str, stage: str) -> None:
    told: list[tuple[int, int]] = []
    made = export(run, stage, format, tmp_path / "out", lambda *done: told.append(done))  # type: ignore[arg-type]
    wanted = expected(run, stage)
    assert by_id(opened(tmp_path / "out", format)) == wanted
    assert made["documents"] == len(wanted) == {"read": 100, "deduplicate": 70}[stage]
    assert sum(file["documents"] for file in made["files"].values()) == len(wanted)
    assert told[-1] == (len(told), len(told))
    manifest = json.loads((tmp_path / "out/_manifest.json").read_bytes())
    assert manifest["set_digest"] == made["set_digest"]
    assert not list(tmp_path.glob(".*")), "something was left behind"


def test_hugging_face_datasets_opens_it_both_ways(run: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="the package 'datasets' is not installed")
    export(run, None, "huggingface", tmp_path / "out")
    wanted = expected(run, "deduplicate")
    from_disk = datasets.load_from_disk(str(tmp_path / "out"))["train"]
    loaded = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))["train"]
    for found in (from_disk, loaded):
        assert by_id(found.to_list()) == wanted


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_hugging_face_datasets_opens_files_too(run: Path, tmp_path: Path, format: str) -> None:
    datasets = pytest.importorskip("datasets", reason="the package 'datasets' is not installed")
    made = export(run, None, format, tmp_path / "out")  # type: ignore[arg-type]
    kind = {"jsonl": "json", "parquet": "parquet"}[format]
    files = [str(tmp_path / "out" / name) for name in made["files"]]
    found = datasets.load_dataset(kind, data_files=files, cache_dir=str(tmp_path / "cache"))["train"]
    assert sorted(found["text"]) == sorted(row["text"] for row in expected(run, "deduplicate").values())


@pytest.mark.parametrize("format", FORMATS)
def test_what_was_exported_can_be_read_again(run: Path, tmp_path: Path, format: str) -> None:
    from tilth.corpus.readers import read_part
    from tilth.corpus.splits import plan_parts

    export(run, None, format, tmp_path / "out")  # type: ignore[arg-type]
    pattern = {"jsonl": "*.jsonl.zst", "parquet": "*.parquet"}.get(format, "**/*.arrow")
    source = Source("again", (pattern,), id="id", url="url")
    found = [
        row["text"]
        for part in plan_parts(find_files(source, tmp_path / "out"), 1 << 30)
        for chunk in read_part({"again": source}, part)
        for row in chunk.documents.to_pylist()
    ]
    assert sorted(found) == sorted(row["text"] for row in expected(run, "deduplicate").values())


def test_the_same_export_again_is_left_as_it_is(run: Path, tmp_path: Path) -> None:
    one = export(run, None, "jsonl", tmp_path / "out")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    two = export(run, None, "jsonl", tmp_path / "out")
    assert (one["reused"], two["reused"]) == (False, True)
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    with pytest.raises(UserError, match="holds something else already"):
        export(run, "read", "jsonl", tmp_path / "out")


def test_a_stage_that_there_is_not_is_named(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--stage: no stage 'dedupe' .* did you mean 'deduplicate'"):
        export(run, "dedupe", "jsonl", tmp_path / "out")


def test_the_command_writes_into_the_run(run: Path) -> None:
    made = tilth("export", str(run), "--format", "parquet")
    assert Path(made["folder"]) == (run / "exports/deduplicate-parquet").resolve()
    assert made["documents"] == 70
