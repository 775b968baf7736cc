"""The harvest: whole, repeatable, bounded, and never more than reading."""

from collections import Counter
from importlib import metadata
from pathlib import Path

import orjson
import pytest

from tilth.corpus.errors import UserError
from tilth.demo.harvest import MANIFEST, Harvest, harvest

LONG = "Soil that is worked too wet will set hard, and a season of roots is needed before it crumbles again. " * 3


def install(site: Path, name: str, files: dict[str, str | bytes], version: str = "1.0", foreign: str = "") -> None:
    """Lay a distribution into ``site`` as pip would: its files, METADATA, and a RECORD that names them all."""
    info = f"{name}-{version}.dist-info"
    metadata_file = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\n{name} {LONG}"
    every = {**files, f"{info}/METADATA": metadata_file, f"{info}/LICENSE": f"Licence. {LONG}"}
    for path, content in every.items():
        target = site / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else content.encode())
    (site / info / "RECORD").write_text("".join(f"{path},,\n" for path in [*every, f"{info}/RECORD"]) + foreign)


def modules(name: str, count: int) -> dict[str, str | bytes]:
    return {f"{name}/m{i:02d}.py": f'"""Module {i} of {name}. {LONG}"""\n' for i in range(count)}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    site = tmp_path / "site-packages"
    install(site, "plough", {**modules("plough", 8), "plough/README.md": f"# Plough\n\n{LONG}"})
    install(site, "harrow", {"harrow/__init__.py": f"# {LONG}\n", "harrow/include/tine.h": f"/* {LONG} */\n"})
    return site


@pytest.fixture
def library(tmp_path: Path) -> Path:
    library = tmp_path / "python"
    (library / "pydoc_data").mkdir(parents=True)
    (library / "pydoc_data/topics.py").write_text(f"topics = {{'if': {LONG!r}}}\n")
    (library / "test").mkdir()
    (library / "test/test_if.py").write_text(f'"""{LONG}"""\n')
    return library


def read(done: Harvest) -> dict[str, list[dict[str, str]]]:
    return {name: [orjson.loads(line) for line in done.path(name).open("rb")] for name in done.sources}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != MANIFEST}


def test_every_source_is_found_and_every_record_names_its_file(tmp_path: Path, site: Path, library: Path) -> None:
    done = harvest(tmp_path / "corpus", site_packages=[site], standard_library=library)
    records = read(done)
    assert {name: len(rows) for name, rows in records.items()} == {
        "reference": 1, "docstrings": 8, "packages": 2, "licences": 2, "changelogs": 1, "comments": 1, "headers": 1,
    }  # fmt: skip
    assert records["reference"][0] == {
        "id": "python/pydoc_data/topics.py#if",
        "text": LONG.strip(),
        "package": "python",
        "path": "pydoc_data/topics.py",
        "version": done.python,
    }
    assert records["docstrings"][3]["id"] == "plough/plough/m03.py#__doc__"
    assert [row["package"] for row in records["licences"]] == ["harrow", "plough"]


def test_counts_are_those_of_the_files(tmp_path: Path, site: Path, library: Path) -> None:
    done = harvest(tmp_path / "corpus", site_packages=[site], standard_library=library)
    for name, rows in read(done).items():
        count = done.sources[name]
        assert count.documents == len(rows)
        assert count.bytes == sum(len(row["text"].encode()) for row in rows)
        assert count.file_bytes == done.path(name).stat().st_size
    assert done.documents == sum(map(len, read(done).values()))


def test_equal_installations_give_equal_bytes(tmp_path: Path, site: Path, library: Path) -> None:
    moved = site.rename(tmp_path / "elsewhere")
    harvest(tmp_path / "second", site_packages=[moved], standard_library=library)
    site = moved.rename(tmp_path / "site-packages")
    harvest(tmp_path / "first", site_packages=[site], standard_library=library)
    assert contents(tmp_path / "first") == contents(tmp_path / "second")


def test_a_second_call_reads_and_writes_nothing(tmp_path: Path, site: Path, library: Path) -> None:
    first = harvest(tmp_path / "corpus", site_packages=[site], standard_library=library)
    before = contents(tmp_path / "corpus")
    (site / "plough/m00.py").write_text(f'"""Changed under the same version. {LONG}"""\n')
    calls: list[int] = []
    second = harvest(
        tmp_path / "corpus",
        site_packages=[site],
        standard_library=library,
        on_progress=lambda done, total: calls.append(done),
    )
    assert (first.reused, second.reused) == (False, True)
    assert second.sources == first.sources
    assert second.seconds == first.seconds
    assert calls == []
    assert contents(tmp_path / "corpus") == before


def test_a_new_version_or_setting_is_harvested_again(tmp_path: Path, site: Path, library: Path) -> None:
    def again(maximum: int = 10_000) -> bool:
        return harvest(
            tmp_path / "corpus", maximum_bytes_per_source=maximum, site_packages=[site], standard_library=library
        ).reused

    assert (again(), again()) == (False, True)
    install(site, "roller", modules("roller", 1))
    assert (again(), again()) == (False, True)
    assert (again(20_000), again(20_000)) == (False, True)


@pytest.mark.parametrize("damage", ["delete", "shorten", "manifest"])
def test_a_damaged_corpus_is_harvested_again(tmp_path: Path, site: Path, library: Path, damage: str) -> None:
    done = harvest(tmp_path / "corpus", site_packages=[site], standard_library=library)
    before = contents(done.folder)
    if damage == "delete":
        done.path("licences").unlink()
    elif damage == "shorten":
        done.path("licences").write_bytes(done.path("licences").read_bytes()[:-5])
    else:
        (done.folder / MANIFEST).write_bytes(b'{"sources": [1]}')
    assert not harvest(tmp_path / "corpus", site_packages=[site], standard_library=library).reused
    assert contents(done.folder) == before


def test_an_interrupted_harvest_is_not_taken_for_a_whole_one(tmp_path: Path, site: Path, library: Path) -> None:
    whole = contents(harvest(tmp_path / "whole", site_packages=[site], standard_library=library).folder)
    harvest(tmp_path / "corpus", maximum_bytes_per_source=400, site_packages=[site], standard_library=library)

    def interrupt(done: int, total: int) -> None:
        if 3 * done > 2 * total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        harvest(tmp_path / "corpus", site_packages=[site], standard_library=library, on_progress=interrupt)
    assert not (tmp_path / "corpus" / MANIFEST).exists()
    again = harvest(tmp_path / "corpus", site_packages=[site], standard_library=library)
    assert not again.reused
    assert contents(again.folder) == whole


@pytest.mark.parametrize("maximum", [320, 1000, 1500, 100_000])
def test_no_source_passes_its_maximum(tmp_path: Path, site: Path, library: Path, maximum: int) -> None:
    done = harvest(
        tmp_path / "corpus", maximum_bytes_per_source=maximum, site_packages=[site], standard_library=library
    )
    assert all(count.bytes <= maximum for count in done.sources.values())
    assert done.sources["docstrings"].documents == min(8, maximum // len(f"Module 0 of plough. {LONG}".strip()))


def test_packages_take_turns_where_there_is_more_than_the_maximum(tmp_path: Path, library: Path) -> None:
    site = tmp_path / "site-packages"
    for name, count in (("anvil", 50), ("barrow", 3), ("chain", 50)):
        install(site, name, modules(name, count))
    done = harvest(tmp_path / "corpus", maximum_bytes_per_source=4000, site_packages=[site], standard_library=library)
    rows = read(done)["docstrings"]
    assert Counter(row["package"] for row in rows) == {"anvil": 5, "barrow": 3, "chain": 4}
    assert [row["path"] for row in rows] == sorted(row["path"] for row in rows)


def test_nothing_that_is_read_is_run(tmp_path: Path, library: Path) -> None:
    site = tmp_path / "site-packages"
    witness = tmp_path / "witness"
    install(site, "plough", {"plough/__init__.py": f'"""{LONG}"""\nopen({str(witness)!r}, "w")\n'})
    assert harvest(tmp_path / "corpus", site_packages=[site], standard_library=library).sources["docstrings"].documents
    assert not witness.exists()


def test_unreadable_files_are_counted_and_lose_nothing_else(tmp_path: Path, library: Path) -> None:
    site = tmp_path / "site-packages"
    broken: dict[str, str | bytes] = {
        "plough/broken.py": f'"""{LONG}"""\ndef (:\n',
        "plough/latin.py": f'"""caf\xe9 {LONG}"""\n'.encode("latin-1"),
        "plough/surrogate.py": f'"""\\ud800 {LONG}"""\n',
        "plough/whole.py": f'"""{LONG}"""\n',
    }
    install(site, "plough", broken, foreign="plough/missing.py,,\n")
    count = harvest(tmp_path / "corpus", site_packages=[site], standard_library=library).sources["docstrings"]
    assert count.documents == 1
    assert (count.files, count.unreadable) == (5, 4)


def test_only_files_inside_the_packages_folder_are_read(tmp_path: Path, library: Path) -> None:
    site = tmp_path / "site-packages"
    (tmp_path / "secret.py").write_text(f'"""{LONG}"""\n')
    install(site, "plough", {}, foreign=f"../secret.py,,\n{tmp_path / 'secret.py'},,\n")
    assert harvest(tmp_path / "corpus", site_packages=[site], standard_library=library).sources["docstrings"].files == 0


def test_the_project_itself_is_left_out(tmp_path: Path, site: Path, library: Path) -> None:
    without = contents(harvest(tmp_path / "without", site_packages=[site], standard_library=library).folder)
    install(site, "tilth", modules("tilth", 2))
    assert contents(harvest(tmp_path / "with", site_packages=[site], standard_library=library).folder) == without


@pytest.mark.parametrize("maximum", [400, 100_000])
def test_progress_never_goes_back_and_ends_at_the_total(
    tmp_path: Path, site: Path, library: Path, maximum: int
) -> None:
    calls: list[tuple[int, int]] = []
    harvest(
        tmp_path / "corpus",
        maximum_bytes_per_source=maximum,
        site_packages=[site],
        standard_library=library,
        on_progress=lambda *call: calls.append(call),
    )
    assert calls == sorted(calls)
    assert {total for _, total in calls} == {calls[-1][0]}


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path, site: Path, library: Path) -> None:
    (tmp_path / "corpus").write_text("in the way")
    with pytest.raises(UserError, match="name a writable folder") as raised:
        harvest(tmp_path / "corpus", site_packages=[site], standard_library=library)
    assert "\n" not in str(raised.value)


def test_an_empty_installation_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="found no text"):
        harvest(tmp_path / "corpus", site_packages=[tmp_path], standard_library=tmp_path / "nowhere")
    with pytest.raises(UserError, match="at least 1 byte"):
        harvest(tmp_path / "corpus", maximum_bytes_per_source=0)


@pytest.mark.slow
def test_this_python_carries_twenty_megabytes_in_five_sources(tmp_path: Path) -> None:
    if not any(True for _ in metadata.distributions(name="torch")):
        pytest.skip("the demonstration's environment holds torch, whose files are a third of the corpus")
    done = harvest(tmp_path / "corpus")
    assert done.bytes >= 20_000_000
    assert sum(count.bytes >= 250_000 for count in done.sources.values()) >= 5
    assert all(count.bytes <= 10_000_000 for count in done.sources.values())
    for name, rows in read(done).items():
        ids = [row["id"] for row in rows]
        assert len(set(ids)) == len(ids), name
        assert not any(row["package"] == "tilth" for row in rows)
