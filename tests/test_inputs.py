"""Every key of a source reaches the reader, and every file is looked into before a run."""

import dataclasses
import json
from pathlib import Path

import pytest

from tilth.corpus.errors import UserError
from tilth.corpus.readers import LOOKED_INTO, check_fields, looked_into
from tilth.corpus.sources import Source, find_files
from tilth.inputs import find_inputs, source
from tilth.plan import plan
from tilth.recipe.recipe import Recipe
from tilth.recipe.source import SourceRecipe

# a value for every key that is not the default
GIVEN = {
    "name": "field",
    "path": ["a.csv", "b.csv"],
    "text": "body",
    "id": "key",
    "date": "when",
    "url": "link",
    "language": "lang",
    "metadata": ["x"],
    "format": "csv",
    "encoding": "cp1252",
    "separator": "|",
    "delimiter": ";",
    "sample": 0.5,
    "limit": 7,
    "allowance": 0.25,
    "maximum_bytes": 1000,
    "maximum_lines": 10,
    "maximum_line_bytes": 100,
    "maximum_seconds": 1.5,
}


def test_every_key_of_a_source_reaches_the_reader() -> None:
    entry = SourceRecipe.model_validate(GIVEN)
    assert set(GIVEN) == set(SourceRecipe.model_fields)
    made = source(entry)
    plain = Source("other", ("c",))
    same = [
        field.name
        for field in dataclasses.fields(Source)
        if field.name != "repeated" and getattr(made, field.name) == getattr(plain, field.name)
    ]
    assert same == []


def test_whatever_decides_what_is_read_changes_the_fingerprint() -> None:
    plain = Source("field", ("a",))
    made = source(SourceRecipe.model_validate(GIVEN))
    changed = {name for name, value in made.reading.items() if value != plain.reading[name]}
    assert changed == set(GIVEN) - {"name", "path", "allowance"}


def write(path: Path, *rows: dict[str, object]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_field_that_a_later_file_lacks_is_found_before_the_run(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", {"text": "loam", "id": 1, "date": "2020"})
    write(tmp_path / "b.jsonl", {"body": "loam", "id": 2})
    files = find_files(Source("x", ("*",)), tmp_path)
    with pytest.raises(UserError, match=r"b.jsonl' has no field 'text' for text; its first records have body, id"):
        check_fields(Source("x", ("*",)), files)
    check_fields(Source("x", ("*",), text="id"), files)
    check_fields(Source("x", ("*",), text="id", date="date"), files)  # a date that some files have is a date
    with pytest.raises(UserError, match="no field 'when' for date"):
        check_fields(Source("x", ("*",), text="id", date="when"), files)


def test_a_file_without_a_record_does_not_stop_the_check(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"")
    (tmp_path / "b.jsonl").write_bytes(b"broken\n")
    write(tmp_path / "c.jsonl", {"text": "loam"})
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(json.dumps({"name": "x", "sources": [{"name": "field", "path": "*.jsonl"}]}))
    (described,) = plan(recipe, tmp_path / "runs")["sources"]
    assert described["first"] == {"text": "loam"}
    assert described["files"] == 3
    write(tmp_path / "c.jsonl")
    with pytest.raises(UserError, match=r"a.jsonl' has no readable record at its beginning: it is empty"):
        plan(recipe, tmp_path / "runs")


def test_of_many_files_the_first_the_last_and_some_between_are_looked_into(tmp_path: Path) -> None:
    for number in range(100):
        write(tmp_path / f"{number:03}.jsonl", {"text": "loam"})
    files = find_files(Source("x", ("*",)), tmp_path)
    chosen = looked_into(files)
    assert (len(chosen), chosen[0], chosen[-1]) == (LOOKED_INTO, files[0], files[-1])
    assert len(set(chosen)) == LOOKED_INTO
    assert looked_into(files[:5]) == list(files[:5])


def test_a_source_with_a_limit_is_one_part(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / f"{number}.jsonl", *[{"text": "loam " * 30}] * 50)
    for limit, parts in ((None, 24), (5, 1)):
        entry = {"name": "field", "path": "*.jsonl", "limit": limit}
        recipe = Recipe.model_validate({"name": "x", "part_size": 1024, "sources": [entry]})
        found = find_inputs(recipe, tmp_path)
        assert len(found.parts) == parts
        assert sum(part.size for part in found.parts) == found.bytes
