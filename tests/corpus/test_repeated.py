"""Records that repeat an id are counted, told apart by their place, and come out the same however they were read."""

import json
from pathlib import Path

import pytest
from example_chains import batch_of, run, write_parts

from tilth.corpus.chain import Stored
from tilth.corpus.document import document_id
from tilth.corpus.engines import engine
from tilth.corpus.repeated import FILE, find_repeated
from tilth.corpus.sources import Source
from tilth.corpus.store import receipt_path

SOURCES = [Source("farm", ("in/farm-*.jsonl",), id="key"), Source("web", ("in/web.jsonl",), id="key")]


def write(path: Path, *rows: tuple[object, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"key": key, "text": text}) + "\n" for key, text in rows))


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    write(tmp_path / "in/farm-a.jsonl", (1, "loam"), (2, "seed"), (2, "seed"), ("x", "rain"))
    write(tmp_path / "in/farm-b.jsonl", (3, "root"), ("2", "worm"), (1, "loam"))
    write(tmp_path / "in/web.jsonl", (1, "loam"), (2, "soil"), (7, "field"))
    return tmp_path


def documents(stored: Stored) -> dict[bytes, str]:
    found = [
        (row["id"], row["text"])
        for part in range(stored.parts)
        for batch in stored.lineage.read(part, ["text"])
        for row in batch.to_pylist()
    ]
    assert len(dict(found)) == len(found), "two documents have one id"
    return dict(found)


def test_every_record_of_a_repeated_id_is_known_by_id_and_place(corpus: Path) -> None:
    (stored,) = run(corpus / "run", corpus, SOURCES, [], part_bytes=40)
    size = len(json.dumps({"key": 1, "text": "loam"})) + 1
    places = {
        ("1", f"in/farm-a.jsonl#{0}"): "loam",
        ("2", f"in/farm-a.jsonl#{size}"): "seed",
        ("2", f"in/farm-a.jsonl#{2 * size}"): "seed",
        ("2", f"in/farm-b.jsonl#{size}"): "worm",
        ("1", f"in/farm-b.jsonl#{2 * size + 2}"): "loam",
    }
    expected = {document_id("farm", f"{key}\0{place}"): text for (key, place), text in places.items()}
    expected |= {document_id("farm", "x"): "rain", document_id("farm", "3"): "root"}
    expected |= {document_id("web", key): text for key, text in (("1", "loam"), ("2", "soil"), ("7", "field"))}
    assert documents(stored) == expected
    assert stored.manifest.description["repeated_ids"] == {"farm": {"ids": 2, "records": 5}}


def test_parts_workers_and_engines_change_nothing(corpus: Path) -> None:
    seen = []
    for number, (name, workers, part_bytes) in enumerate(
        [("local", 1, 1 << 20), ("local", 2, 40), ("local", 1, 1), ("beam", 1, 40)]
    ):
        if name == "beam":
            pytest.importorskip("apache_beam", reason="the extra 'beam' is not installed")
        (stored,) = run(corpus / str(number), corpus, SOURCES, [], engine(name, workers), part_bytes)
        manifest = stored.manifest
        seen.append((documents(stored), manifest.account.set_digest, manifest.description["repeated_ids"]))
    assert all(one == seen[0] for one in seen)


@pytest.mark.parametrize("lost", range(5))
def test_whoever_is_killed_while_ids_are_told_apart_ends_with_the_same_documents(corpus: Path, lost: int) -> None:
    (whole,) = run(corpus / "run", corpus, SOURCES, [], part_bytes=120)
    expected = documents(whole)
    # what a killed driver leaves: the set of repeated ids, no manifest, some parts mended, one gone
    (whole.folder / "_manifest.json").unlink()
    if lost < whole.parts:
        receipt_path(whole.folder, lost).unlink()
    (again,) = run(corpus / "run", corpus, SOURCES, [], part_bytes=120)
    assert documents(again) == expected
    assert again.manifest.account.set_digest == whole.manifest.account.set_digest
    assert again.manifest.description == whole.manifest.description


def test_ids_are_found_in_any_memory(tmp_path: Path) -> None:
    parts = [[batch_of(["loam"] * 40)], [batch_of(["seed"] * 3, first=10), batch_of(["worm"] * 50, first=12)]]
    write_parts(tmp_path, parts)
    found = find_repeated(tmp_path, 2)
    assert (found.num_rows, sum(found.column("records").to_pylist())) == (30, 61)
    rows = find_repeated(tmp_path, 2, memory=1000).sort_by("id")
    assert rows.equals(found.sort_by("id"))


def test_ids_that_are_unique_leave_no_trace(tmp_path: Path) -> None:
    write(tmp_path / "in/farm-a.jsonl", (1, "loam"), (2, "loam"))
    (stored,) = run(tmp_path / "run", tmp_path, SOURCES[:1], [])
    assert not (stored.folder / FILE).exists()
    assert "repeated_ids" not in stored.manifest.description
