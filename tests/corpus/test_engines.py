"""Engines: one result, byte for byte, whichever runs the stages, in whatever order, and however the work is cut."""

import os
import random
import shutil
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from example_chains import bytes_below, prose, read, run, texts_of, write_corpus, write_lines
from example_stages import CountPeers, CountVowels, DropByVowels, Misbehave, StripSpaces

from tilth.corpus.chain import Chain, Stored
from tilth.corpus.engines import Engine, engine
from tilth.corpus.errors import UserError
from tilth.corpus.one_pass import TIMES, Pass, Place
from tilth.corpus.sources import Source
from tilth.corpus.stage import GroupStage, Stage
from tilth.corpus.tasks import ROOM, GroupJob
from tilth.filters.dedup.survivor import Preference
from tilth.filters.exact import ExactDuplicates

HANG_SECONDS = 120

STAGES: tuple[Stage, ...] = (
    StripSpaces("strip"),
    CountVowels("vowels"),
    DropByVowels("few", 2),
    ExactDuplicates("exact", Preference(("web",))),
    CountPeers("peers"),
)
ENGINES = {"one worker": ("local", 1), "two workers": ("local", 2), "beam": ("beam", 1)}


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    """Turn a wait without an end into a failure."""

    def give_up(*_: object) -> None:
        raise TimeoutError(f"still waiting after {HANG_SECONDS} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(HANG_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def named_engine(which: str) -> Engine:
    name, workers = ENGINES[which]
    if name == "beam":
        pytest.importorskip("apache_beam", reason="the extra 'beam' is not installed")
    return engine(name, workers)


@pytest.fixture(params=ENGINES)
def any_engine(request: pytest.FixtureRequest) -> Engine:
    return named_engine(request.param)


@pytest.fixture(params=["one worker", "beam"])
def quick_engine(request: pytest.FixtureRequest) -> Engine:
    """An engine of this process: two workers run the same tasks, and start a second slower."""
    return named_engine(request.param)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Source]]:
    folder = tmp_path_factory.mktemp("corpus")
    return folder, write_corpus(folder)


@pytest.fixture(scope="module")
def expected(corpus: tuple[Path, list[Source]], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Stored]]:
    root = tmp_path_factory.mktemp("expected")
    return root, run(root, *corpus, STAGES)


def test_the_expected_run_does_what_the_others_are_compared_with(expected: tuple[Path, list[Stored]]) -> None:
    _, (read, strip, _, few, exact, peers) = expected
    assert read.parts > 4
    assert strip.manifest.account.edits["leading_spaces"] > 0
    assert few.manifest.account.documents_dropped > 0
    assert exact.manifest.account.documents_dropped > 0
    assert peers.manifest.account.edited_bytes > 0


def test_every_engine_writes_the_same_bytes(
    corpus: tuple[Path, list[Source]], expected: tuple[Path, list[Stored]], any_engine: Engine, tmp_path: Path
) -> None:
    run(tmp_path, *corpus, STAGES, any_engine, passes=True)
    assert bytes_below(tmp_path / "stages") == bytes_below(expected[0] / "stages")


@pytest.mark.parametrize("part_bytes", [150, 2000, 1 << 30])
def test_set_digests_do_not_depend_on_the_size_of_parts(
    corpus: tuple[Path, list[Source]], expected: tuple[Path, list[Stored]], tmp_path: Path, part_bytes: int
) -> None:
    done = run(tmp_path, *corpus, STAGES, part_bytes=part_bytes)
    assert done[0].parts != expected[1][0].parts
    digests = [stored.manifest.account.set_digest for stored in done]
    assert digests == [stored.manifest.account.set_digest for stored in expected[1]]


def files_of_group(
    stage: GroupStage,
    head: Stored,
    engine: Engine,
    folder: Path,
    partitions: int,
    order: Sequence[int],
    room: int = ROOM,
) -> Mapping[str, bytes]:
    engine.group(GroupJob(stage, head.lineage, head.parts, partitions, folder, "f", room), order)
    return bytes_below(folder)


@pytest.mark.parametrize(
    "stage", [ExactDuplicates("exact", Preference(("web",))), CountPeers("peers")], ids=lambda s: s.name
)
def test_groups_do_not_depend_on_partitions_or_the_order_of_parts(
    expected: tuple[Path, list[Stored]], any_engine: Engine, tmp_path: Path, stage: GroupStage
) -> None:
    head = expected[1][1]
    parts = list(range(head.parts))
    one = files_of_group(stage, head, engine("local", 1), tmp_path / "one", 1, parts)
    assert len([name for name in one if name.startswith("receipts")]) == head.parts
    for partitions in (4, 7) if any_engine != engine("local", 2) else (7,):
        random.Random(partitions).shuffle(parts)
        assert files_of_group(stage, head, any_engine, tmp_path / str(partitions), partitions, parts) == one


@pytest.mark.parametrize(
    "stage", [ExactDuplicates("exact", Preference(("web",))), CountPeers("peers")], ids=lambda s: s.name
)
def test_groups_do_not_depend_on_the_memory_that_they_may_take(
    expected: tuple[Path, list[Stored]], tmp_path: Path, stage: GroupStage
) -> None:
    head = expected[1][1]
    parts = list(range(head.parts))
    files = [
        files_of_group(stage, head, engine("local", 1), tmp_path / str(room), 2, parts, room) for room in (ROOM, 300)
    ]
    assert files[0] == files[1]


def test_maps_do_not_depend_on_the_order_of_parts(
    expected: tuple[Path, list[Stored]], any_engine: Engine, tmp_path: Path
) -> None:
    head, strip = expected[1][:2]
    tasks = [
        Pass((StripSpaces("strip"),), (Place(tmp_path, strip.manifest.fingerprint),), head.lineage, part)
        for part in random.Random(0).sample(range(head.parts), head.parts)
    ]
    any_engine.run(tasks)
    found = dict(bytes_below(strip.folder))
    found.pop("_manifest.json")
    shutil.rmtree(tmp_path / TIMES)  # a note for the chain
    assert bytes_below(tmp_path) == found


def test_a_group_over_nothing_but_empty_parts_is_well(quick_engine: Engine, tmp_path: Path) -> None:
    write_lines(tmp_path / "in/a.jsonl", [" " * 30] * 6)
    sources = [Source("farm", ("in/a.jsonl",))]
    stages = [CountVowels("vowels"), DropByVowels("none left", 1), ExactDuplicates("exact"), CountPeers("peers")]
    done = run(tmp_path / "run", tmp_path, sources, stages, quick_engine, 100)
    assert done[0].parts > 1
    assert done[-1].manifest.account.documents_in == done[-1].manifest.account.documents_out == 0


def test_a_rank_with_nothing_to_remove_keeps_its_documents(quick_engine: Engine, tmp_path: Path) -> None:
    # datatrove's exact substrings: such a rank returns early, and all its documents vanish
    write_lines(tmp_path / "in/a.jsonl", ["twice", "twice"])
    write_lines(tmp_path / "in/b.jsonl", ["alone", "with it"])
    stored = run(
        tmp_path / "run", tmp_path, [Source("s", ("in/*.jsonl",))], [ExactDuplicates("exact")], quick_engine, 50
    )[-1]
    assert stored.parts == 2
    assert sorted(texts_of(stored).values()) == ["alone", "twice", "with it"]


def test_the_survivor_is_the_same_in_whatever_order_files_are_named(quick_engine: Engine, tmp_path: Path) -> None:
    # datatrove keeps the root of its union-find, dolma what its threads met first
    texts = prose(3, 40)
    for name, part in (("a", texts[:20]), ("b", texts[20:]), ("z", texts[10:30])):
        write_lines(tmp_path / f"in/{name}.jsonl", part)
    sources = [Source(name, (f"in/{name}.jsonl",)) for name in "abz"]
    stages = [ExactDuplicates("exact", Preference(("z", "a")))]
    kept = [
        texts_of(run(tmp_path / str(order), tmp_path, picked, stages, quick_engine, 300)[-1])
        for order, picked in enumerate((sources, sources[::-1]))
    ]
    assert kept[0] == kept[1]
    assert len(set(kept[0].values())) == len(kept[0]) == len(set(texts))


# failures


@pytest.fixture
def field(tmp_path: Path) -> tuple[Path, list[Source]]:
    """Six parts, of which one holds weed."""
    for number in range(6):
        write_lines(tmp_path / f"in/{number}.jsonl", ["weed" if number == 2 else "loam"] * 5)
    return tmp_path, [Source("farm", ("in/*.jsonl",))]


def test_an_error_of_the_user_is_the_stage_s_own_line_on_every_engine(
    field: tuple[Path, list[Source]], any_engine: Engine
) -> None:
    base, sources = field
    with pytest.raises(UserError) as caught:
        run(base / "run", base, sources, [Misbehave("stage", "weed", "user-error")], any_engine, 90)
    assert str(caught.value) == "file.jsonl: field 'text' is a number; expected words, so write some"
    (folder,) = (base / "run/stages").glob("*-stage-*")
    assert not (folder / "_manifest.json").exists()
    # what was wrong is mended: the failure of the first attempt is forgotten
    write_lines(base / "in/2.jsonl", ["corn"] * 5)
    stored = run(base / "run", base, sources, [Misbehave("stage", "weed", "user-error")], any_engine, 90)[-1]
    assert stored.manifest.account.documents_out == 30


def test_an_error_of_the_user_in_a_group_is_one_line_too(
    field: tuple[Path, list[Source]], quick_engine: Engine
) -> None:
    base, sources = field
    with pytest.raises(UserError, match=r"^every group is wrong; mend it$"):
        run(base / "run", base, sources, [WrongGroups("groups")], quick_engine, 90)


class WrongGroups(ExactDuplicates):
    """Cannot reduce."""

    def reduce(self, rows: object) -> object:  # type: ignore[override]
        raise UserError("every group is wrong; mend it")


@pytest.mark.parametrize("seconds", [0.0, 0.5])
def test_a_defect_goes_up_and_is_not_taken_for_the_user_s(
    field: tuple[Path, list[Source]], any_engine: Engine, seconds: float
) -> None:
    base, sources = field
    with pytest.raises(Exception, match="an array has the wrong shape") as caught:
        run(base / "run", base, sources, [Misbehave("stage", "weed", "defect", seconds=seconds)], any_engine, 90)
    assert not isinstance(caught.value, UserError)


def test_a_stage_that_loses_a_document_goes_up_on_every_engine(
    field: tuple[Path, list[Source]], any_engine: Engine
) -> None:
    base, sources = field
    with pytest.raises(Exception, match=r"part 2: a document was lost"):
        run(base / "run", base, sources, [Misbehave("stage", "weed", "lose")], any_engine, 90)
    (folder,) = (base / "run/stages").glob("*-stage-*")
    assert not (folder / "receipts/part-00002.json").exists()


@pytest.mark.parametrize("seconds", [0.0, 1.0])
def test_a_killed_worker_is_one_line_and_no_hang(field: tuple[Path, list[Source]], seconds: float) -> None:
    base, sources = field
    stage = Misbehave("stage", "weed", "kill-once", str(base), seconds)
    chain = Chain(base / "run", engine("local", 2))
    head = read(chain, sources, base, 90)
    with pytest.raises(UserError) as caught:
        chain.apply(stage, head)
    assert str(caught.value).startswith("stage part 2: its worker was killed")
    assert "run the same command again" in str(caught.value)
    assert "\n" not in str(caught.value)
    stored = chain.apply(stage, head)
    assert stored.manifest.account.documents_out == 30


class KillsItsReader:
    """A task that kills the worker which takes it up, before that can say what it is at."""

    folder = Path()
    name = "never told"

    def __setstate__(self, state: object) -> None:
        time.sleep(2.0)  # until the workers were seen
        os.kill(os.getpid(), signal.SIGKILL)

    def __getstate__(self) -> object:
        return {"some": "state"}

    def run(self) -> None:
        """Never reached."""


def test_a_worker_killed_before_its_first_task_is_one_line_and_no_hang() -> None:
    with pytest.raises(UserError, match=r"^the run: its worker was killed"):
        engine("local", 2).run([KillsItsReader(), KillsItsReader(), KillsItsReader()])


def test_no_workers_is_one_line() -> None:
    with pytest.raises(UserError, match=r"^workers: found 0, expected at least 1$"):
        engine("local", 0)


def test_an_unknown_engine_is_one_line() -> None:
    with pytest.raises(UserError, match=r"^engine 'spark' is unknown; choose one of local, beam$"):
        engine("spark", 1)


def test_two_runs_in_one_process_do_not_disturb_each_other(field: tuple[Path, list[Source]]) -> None:
    base, sources = field
    for name in ("one", "two"):
        shutil.rmtree(base / name, ignore_errors=True)
        run(base / name, base, sources, [StripSpaces("strip")], engine("local", 2), 90)
    assert bytes_below(base / "one/stages") == bytes_below(base / "two/stages")
