"""The chain: what is stored and still true is not done again, what is not true any more never is believed."""

import json
import os
import shutil
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pytest
from example_chains import (
    Recording,
    bytes_below,
    prose,
    read,
    run,
    texts_of,
    write_corpus,
    write_lines,
)
from example_stages import CountPeers, CountVowels, DropByVowels, DropShort, DropShorter, StripSpaces

from tilth.corpus.chain import INDEX, Chain, NotStored, Stored, check_identity, locked, open_chain, reporting
from tilth.corpus.document import document_id
from tilth.corpus.engines import engine
from tilth.corpus.errors import UserError
from tilth.corpus.ledger import LedgerError
from tilth.corpus.sources import Source
from tilth.corpus.stage import Asset, Stage, fingerprint
from tilth.corpus.store import Lineage, Manifest, part_name, temporary_name
from tilth.filters.dedup.survivor import Preference
from tilth.filters.exact import ExactDuplicates

STAGES: tuple[Stage, ...] = (
    StripSpaces("strip"),
    DropShort("short", 3),
    ExactDuplicates("exact", Preference(("farm",))),
)


def ran(engine: Recording) -> list[str]:
    """Return which stages an engine ran, in order."""
    return list(dict.fromkeys(name.split(" part ")[0] for name in engine.names))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Source]]:
    folder = tmp_path_factory.mktemp("finished")
    sources = write_corpus(folder / "in")
    run(folder / "run", folder / "in", sources, STAGES)
    return folder, sources


@pytest.fixture
def place(finished: tuple[Path, list[Source]], tmp_path: Path) -> Path:
    """A copy of a finished run and of its input."""
    shutil.copytree(finished[0], tmp_path / "copy")
    return tmp_path / "copy"


def again(place: Path, sources: Sequence[Source], stages: Sequence[Stage] = STAGES, base: str = "in") -> list[str]:
    recording = Recording()
    run(place / "run", place / base, sources, stages, recording)
    return ran(recording)


# fingerprints


def test_a_finished_run_is_found_and_nothing_runs(place: Path, finished: tuple[Path, list[Source]]) -> None:
    assert again(place, finished[1]) == []


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ((StripSpaces("strip"), DropShort("short", 4), STAGES[2]), ["short", "exact"]),
        ((StripSpaces("strip"), DropShorter("short", 3), STAGES[2]), ["short", "exact"]),
        ((StripSpaces("strip"), DropShort("short", 3), ExactDuplicates("exact", Preference(("web",)))), ["exact"]),
        ((StripSpaces("strip"), DropShort("renamed", 3), STAGES[2]), ["renamed", "exact"]),
        ((StripSpaces("strip"), STAGES[2]), ["exact"]),
        ((DropShort("short", 3), STAGES[2]), ["short", "exact"]),
        ((*STAGES, CountVowels("vowels")), ["vowels"]),
        (STAGES[:2], []),
    ],
    ids=["limit", "version", "last", "name", "one less", "first gone", "one more", "prefix"],
)
def test_a_changed_stage_runs_itself_and_what_follows_it_and_nothing_else(
    place: Path, finished: tuple[Path, list[Source]], stages: Sequence[Stage], expected: list[str]
) -> None:
    # datatrove's markers know no configuration: a changed recipe resumes over old output
    assert again(place, finished[1], stages) == expected
    assert again(place, finished[1]) == []  # the first recipe's stages are still there


def test_the_content_of_an_asset_counts_and_not_its_place(place: Path, finished: tuple[Path, list[Source]]) -> None:
    def with_asset(path: str, digest: str) -> list[Stage]:
        return [DropShort("short", 3, Asset(path, digest))]

    assert again(place, finished[1], with_asset("here/list.txt", "1f")) == ["short"]
    assert again(place, finished[1], with_asset("there/list.txt", "1f")) == []
    assert again(place, finished[1], with_asset("here/list.txt", "2e")) == ["short"]


def test_changed_input_reads_again_and_the_same_input_elsewhere_does_not(
    place: Path, finished: tuple[Path, list[Source]]
) -> None:
    shutil.copytree(place / "in", place / "moved")
    os.utime(place / "moved/web.jsonl", (0, 0))
    assert again(place, finished[1], base="moved") == []
    path = place / "in/web.jsonl"
    same_size = path.read_bytes().replace(b"soil", b"silo", 1)
    assert same_size != path.read_bytes()
    path.write_bytes(same_size)
    assert again(place, finished[1]) == ["read", "strip", "short", "exact"]


@pytest.mark.parametrize(
    "change", [{"metadata": ()}, {"maximum_bytes": 1000}, {"url": "text"}], ids=lambda change: next(iter(change))
)
def test_a_source_that_is_read_otherwise_is_read_again(
    place: Path, finished: tuple[Path, list[Source]], change: dict[str, object]
) -> None:
    farm, web = finished[1]
    assert again(place, [farm, replace(web, **change)], STAGES[:1]) == ["read", "strip"]


def test_a_format_that_was_wrong_can_be_corrected(tmp_path: Path) -> None:
    # the records that were unreadable as Parquet must not be found again as the content of the file
    write_lines(tmp_path / "in/a.txt", ["loam"])
    wrong = Source("farm", ("in/a.txt",), format="parquet")
    with pytest.raises(UserError, match="records cannot be read"):
        run(tmp_path / "run", tmp_path, [wrong], [])
    stored = run(tmp_path / "run", tmp_path, [replace(wrong, format="jsonl")], [])[-1]
    assert list(texts_of(stored).values()) == ["loam"]


def test_an_added_file_shifts_neither_documents_nor_ids_of_the_others(tmp_path: Path) -> None:
    # datatrove's shards are files[rank::world] of a fresh listing: under a resumed run every shard shifts
    texts = prose(5, 30)
    write_lines(tmp_path / "in/b.jsonl", texts[:15])
    write_lines(tmp_path / "in/d.jsonl", texts[15:])
    sources = [Source("farm", ("in/*.jsonl",))]
    stages = [StripSpaces("strip"), DropShort("short", 3)]
    before = texts_of(run(tmp_path / "run", tmp_path, sources, stages)[-1])
    for name in ("a", "c", "e"):
        write_lines(tmp_path / f"in/{name}.jsonl", ["a new document"])
    after = texts_of(run(tmp_path / "run", tmp_path, sources, stages)[-1])
    added = {document_id("farm", f"in/{name}.jsonl#0"): "a new document" for name in "ace"}
    assert after == before | added


def test_ids_and_texts_do_not_depend_on_the_size_of_parts(finished: tuple[Path, list[Source]], tmp_path: Path) -> None:
    folder, sources = finished
    found = [
        texts_of(run(tmp_path / f"{size}", folder / "in", sources, [], part_bytes=size)[0]) for size in (90, 10**9)
    ]
    assert found[0] == found[1]
    assert len(found[0]) == 60


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (float("inf"), None),
        (float("inf"), float("-inf")),
        (float("nan"), None),
        (float("nan"), float("inf")),
        (1, 1.5),
        ("1", 1),
        (True, 1),
        (("a", "b"), ("ab",)),
        ({"a": 1}, {"b": 1}),
        (DropShort("a", 1), DropShort("a", 2)),
        (Asset("x", "1f"), Asset("x", "2e")),
    ],
)
def test_different_values_have_different_fingerprints(one: object, other: object) -> None:
    assert fingerprint(one) != fingerprint(other)
    assert fingerprint({"limit": one}) != fingerprint({"limit": other})


def test_equal_values_have_equal_fingerprints() -> None:
    import numpy as np

    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint(np.int64(3), np.float64("inf")) == fingerprint(3, float("inf"))
    assert fingerprint(Asset("x", "1f")) == fingerprint(Asset("y", "1f"))
    assert len(fingerprint()) == 32


# the ledger along the chain


def test_what_enters_a_stage_is_what_left_the_one_before(tmp_path: Path) -> None:
    sources = write_corpus(tmp_path / "in")
    chain = Chain(tmp_path / "run", engine("local", 1))
    head = chain.apply(DropShort("short", 30), read(chain, sources, tmp_path / "in"))
    drops = sorted((head.folder / "drops").iterdir())
    hidden = drops[0].read_bytes()
    drops[0].unlink()  # after the stage was found whole: its dropped documents would come back
    with pytest.raises(LedgerError, match=r"documents and .* bytes came in, but .* left 01-short"):
        chain.apply(CountVowels("vowels"), head)
    drops[0].write_bytes(hidden)
    vowels = chain.apply(CountVowels("vowels"), head)
    assert vowels.manifest.account.documents_in == head.manifest.account.documents_out


def test_every_stage_hands_on_the_set_it_says(finished: tuple[Path, list[Source]], tmp_path: Path) -> None:
    folder, sources = finished
    stages = [CountVowels("v"), DropByVowels("few", 4), *STAGES, CountPeers("peers")]
    for stored in run(tmp_path, folder / "in", sources, stages):
        rows = texts_of(stored)
        account = stored.manifest.account
        assert (len(rows), sum(len(text.encode()) for text in rows.values())) == (
            account.documents_out,
            account.bytes_out,
        )


def test_a_stage_is_neither_map_nor_group_only_by_mistake(finished: tuple[Path, list[Source]], tmp_path: Path) -> None:
    chain = Chain(tmp_path, engine("local", 1))
    with pytest.raises(TypeError, match="neither a MapStage nor a GroupStage"):
        chain.apply(Stage("odd"), read(chain, finished[1], finished[0] / "in"))


@dataclass(frozen=True)
class Endless(CountPeers):
    """Says that it spills more than any disk holds."""

    def keyed_bytes(self, documents: int, size: int) -> int:
        return 10**18


def test_a_stage_that_spills_more_than_the_disk_holds_is_refused_before_it_begins(
    finished: tuple[Path, list[Source]], tmp_path: Path
) -> None:
    chain = Chain(tmp_path, engine("local", 1))
    head = read(chain, finished[1], finished[0] / "in")
    with pytest.raises(UserError, match=r"stage 'endless': its rows need about 1,000,000,000.0 GB of disk in .* free"):
        chain.apply(Endless("endless"), head)
    assert not list(tmp_path.glob("stages/*-endless-*/*"))


# reading


def records(path: Path, *rows: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_one_key_in_two_sources_is_two_documents(tmp_path: Path) -> None:
    records(tmp_path / "in/a.jsonl", {"key": 1, "text": "loam"})
    sources = [Source(name, ("in/a.jsonl",), id="key") for name in ("farm", "web")]
    stored = run(tmp_path / "run", tmp_path, sources, [])[0]
    check_identity(stored)
    assert len(texts_of(stored)) == 2


def test_an_allowance_counts_whenever_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "loam"}\nnot a record\n{"text": "seed"}\n')
    source = Source("farm", ("a.jsonl",), allowance=0.1)
    for allowance, well in ((0.1, False), (0.5, True), (0.1, False), (0.5, True)):
        sources = [replace(source, allowance=allowance)]
        if well:
            assert run(tmp_path / "run", tmp_path, sources, [])[0].manifest.account.documents_dropped == 1
        else:
            with pytest.raises(UserError, match=r"^source 'farm': 1 of 3 records cannot be read, .*a.jsonl:17: is not"):
                run(tmp_path / "run", tmp_path, sources, [])


def test_a_corpus_without_a_document_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("\n\n")
    with pytest.raises(UserError, match=r"^the corpus is empty"):
        run(tmp_path / "run", tmp_path, [Source("farm", ("a.jsonl",))], [])


def test_a_part_in_which_no_record_begins_is_empty_and_well(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.jsonl", ["long " * 200, "short"])
    done = run(
        tmp_path / "run", tmp_path, [Source("farm", ("a.jsonl",))], [*STAGES, CountPeers("peers")], part_bytes=100
    )
    assert done[0].parts > 5
    assert 0 in [receipt.account.documents_in for receipt in done[0].manifest.receipts]
    assert done[-1].manifest.account.documents_out == 2


# dry chains, open chains, progress


def test_a_dry_chain_finds_and_writes_nothing(place: Path, finished: tuple[Path, list[Source]]) -> None:
    recording = Recording()
    before = bytes_below(place / "run/stages")
    chain = Chain(place / "run", recording, dry=True)
    head = read(chain, finished[1], place / "in")
    for stage in STAGES:
        head = chain.apply(stage, head)
    assert all(stored.reused for stored in chain.done)
    with pytest.raises(NotStored, match="peers"):
        chain.apply(CountPeers("peers"), head)
    assert recording.names == []
    assert bytes_below(place / "run/stages") == before


def test_a_stored_run_can_be_opened_without_its_recipe(place: Path, finished: tuple[Path, list[Source]]) -> None:
    with pytest.raises(UserError, match=r"holds no run \(no run.json\)"):
        open_chain(place / "run")
    done = run(place / "run", place / "in", finished[1], STAGES)
    (place / "run" / INDEX).write_text(json.dumps({"stages": [stored.folder.name for stored in done]}))
    opened = open_chain(place / "run")
    assert [stored.lineage for stored in opened] == [stored.lineage for stored in done]
    assert [stored.manifest for stored in opened] == [stored.manifest for stored in done]
    assert texts_of(opened[-1]) == texts_of(done[-1])
    (opened[2].folder / "_manifest.json").unlink()
    assert len(open_chain(place / "run")) == 2


def test_nothing_enters_the_reading_stage(finished: tuple[Path, list[Source]]) -> None:
    done = run(finished[0] / "run", finished[0] / "in", finished[1], STAGES)
    assert done[1].entering == done[0].lineage
    with pytest.raises(UserError, match="nothing enters the reading stage but files"):
        _ = done[0].entering
    assert done[-1].stages() == done


def test_progress_ends_at_all_parts_and_never_counts_what_is_not_committed(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    receipts = tmp_path / "receipts"
    receipts.mkdir()
    with reporting(tmp_path, "stage", 2, lambda *what: told.append(what)):
        temporary_name(receipts / "part-00000.json").touch()
        (receipts / "part-00000.json").touch()
        (receipts / "part-00001.json").touch()
    assert told[0] == ("stage", 0, 2)
    assert told[-1] == ("stage", 2, 2)
    assert all(done <= total for _, done, total in told)


# the lock


def test_one_driver_at_a_time(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(UserError, match="another run is at work in this folder"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    words = r"cannot be written \(.*\); change the owner or choose another folder"
    with pytest.raises(UserError, match=words), locked(tmp_path / "file/run"):
        pass


@pytest.mark.parametrize("killed", [False, True], ids=["released", "killed"])
def test_a_forked_child_does_not_keep_the_lock(tmp_path: Path, killed: bool) -> None:
    # a driver that holds the lock and forks a helper, as datatrove does, then ends in order or is killed
    ready, say = os.pipe()
    driver = os.fork()
    if driver == 0:
        with locked(tmp_path):
            if os.fork() == 0:
                os.write(say, b"%08d" % os.getpid())
                time.sleep(60)
                os._exit(0)
            if killed:
                time.sleep(60)
        os._exit(0)
    helper = int(os.read(ready, 8))
    os.close(ready)
    os.close(say)
    if killed:
        os.kill(driver, signal.SIGKILL)
    os.waitpid(driver, 0)
    try:
        with locked(tmp_path):
            pass
    finally:
        os.kill(helper, signal.SIGKILL)


def test_a_lock_that_was_released_touches_no_other_file_of_a_later_child(tmp_path: Path) -> None:
    with locked(tmp_path):
        pass
    # the system gives the number of the closed lock to the next file that is opened
    handles = [os.open(tmp_path / f"{number}", os.O_RDWR | os.O_CREAT) for number in range(5)]
    child = os.fork()
    if child == 0:
        try:
            for handle in handles:
                os.fstat(handle)
        except OSError:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    for handle in handles:
        os.close(handle)
    assert os.waitstatus_to_exitcode(status) == 0


def test_the_stages_folder_says_what_it_holds(place: Path) -> None:
    names = sorted(path.name[:-7] for path in (place / "run/stages").iterdir())
    assert names == ["00-read", "01-strip", "02-short", "03-exact"]
    for folder in (place / "run/stages").iterdir():
        manifest = Manifest.read(folder)
        assert manifest is not None
        assert folder.name == f"{manifest.index:02d}-{manifest.name}-{manifest.fingerprint[:6]}"


def test_only_stages_that_write_texts_store_them(place: Path) -> None:
    holders = {path.parent.name[3:-7] for path in (place / "run/stages").glob(f"*/{part_name(0)}")}
    assert holders == {"read", "strip"}


def test_a_lineage_of_stored_stages_is_the_one_that_is_read(place: Path, finished: tuple[Path, list[Source]]) -> None:
    done = run(place / "run", place / "in", finished[1], STAGES)
    strip, short, exact = (str(stored.folder) for stored in done[1:])
    assert done[-1].lineage == Lineage(strip, (short, exact), {})
    assert isinstance(done[-1], Stored)
    assert next(done[-1].lineage.read(0, ["text"])).schema.field("text").type == pa.string()
