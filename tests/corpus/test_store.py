"""The store: no receipt, no part; what is on disk is what the receipt says, and a killed writer leaves no trace."""

import errno
import os
import random
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from example_chains import Recording, batch_of, bytes_below, prose, run, write_corpus, write_parts
from example_stages import CountVowels, DropByVowels, StripSpaces

from tilth.corpus.document import DOCUMENT
from tilth.corpus.errors import UserError
from tilth.corpus.ledger import Account
from tilth.corpus.stage import Effect, Outcome, Stage, drop_rows
from tilth.corpus.store import (
    ALWAYS_READ,
    DOCUMENTS,
    DROPS,
    EDITS,
    SIGNALS,
    ArrowWriter,
    Lineage,
    Manifest,
    PartWriter,
    is_temporary,
    part_name,
    read_arrow,
    read_receipt,
    receipt_path,
    temporary_name,
    write_atomically,
)

STAGES: tuple[Stage, ...] = (StripSpaces("strip"), CountVowels("vowels"), DropByVowels("few", 4))


# one part


def test_a_part_shows_no_file_under_its_own_name_before_it_is_committed(tmp_path: Path) -> None:
    batch = batch_of(["loam", "seed"])
    with PartWriter(tmp_path, 0, "f", Effect.EDITS) as writer:
        writer.judge(batch, Outcome(batch, signals={"x": pa.array([1.0, 2.0])}))
        assert all(is_temporary(Path(name)) for name in bytes_below(tmp_path))
        assert read_receipt(tmp_path, 0, "f") is None
        writer.commit()
    assert set(bytes_below(tmp_path)) == {"part-00000.arrow", "signals/part-00000.arrow", "receipts/part-00000.json"}


def test_a_receipt_comes_last_and_describes_the_very_bytes(tmp_path: Path) -> None:
    batch = batch_of(["loam", "seed"])
    with PartWriter(tmp_path, 3, "f", Effect.EDITS) as writer:
        writer.judge(batch, Outcome(batch))
        receipt = writer.commit()
    assert receipt.whole(tmp_path)
    assert read_receipt(tmp_path, 3, "f") == receipt
    assert max(tmp_path.rglob("part-*"), key=lambda path: path.stat().st_mtime_ns) == receipt_path(tmp_path, 3)


def test_a_receipt_of_another_configuration_or_a_damaged_one_is_no_receipt(tmp_path: Path) -> None:
    write_parts(tmp_path, [[batch_of(["loam"])]])
    assert read_receipt(tmp_path, 0, "written") is not None
    assert read_receipt(tmp_path, 0, "other") is None
    assert read_receipt(tmp_path, 1, "written") is None
    path = receipt_path(tmp_path, 0)
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"null", b"[]", b'{"format": 2}'):
        path.write_bytes(damaged)
        assert read_receipt(tmp_path, 0, "written") is None


@pytest.mark.parametrize("damage", ["truncate", "flip", "delete", "grow"])
def test_a_part_is_whole_only_with_every_byte_of_every_file(tmp_path: Path, damage: str) -> None:
    batch = batch_of(prose(0, 20))
    with PartWriter(tmp_path, 0, "f", Effect.EDITS) as writer:
        writer.judge(batch, Outcome(batch, signals={"x": pa.array(np.arange(20))}))
        receipt = writer.commit()
    for name in receipt.files:
        path = tmp_path / name
        whole = path.read_bytes()
        spoil(path, damage)
        assert not receipt.whole(tmp_path)
        path.write_bytes(whole)
        assert receipt.whole(tmp_path)


def spoil(path: Path, damage: str) -> None:
    data = path.read_bytes()
    if damage == "delete":
        path.unlink()
    elif damage == "truncate":
        path.write_bytes(data[:-1])
    elif damage == "grow":
        path.write_bytes(data + b"\0")
    else:
        middle = len(data) // 2
        path.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])


def test_a_part_done_again_with_less_leaves_nothing_of_the_first_time(tmp_path: Path) -> None:
    # a drops file that no receipt knows would be believed by the lineage: documents would vanish without a reason
    batch = batch_of(["loam", "seed"])
    mask = np.array([True, False])
    with PartWriter(tmp_path, 0, "f", Effect.DROPS) as writer:
        kept = batch.filter(pa.array(~mask))
        writer.judge(batch, Outcome(kept, drop_rows(batch, mask, "s", "r"), signals={"x": pa.array([0, 1])}))
        writer.commit()
    receipt_path(tmp_path, 0).unlink()
    with PartWriter(tmp_path, 0, "f", Effect.DROPS) as writer:
        writer.judge(batch, Outcome(batch))
        writer.commit()
    assert set(bytes_below(tmp_path)) == {"receipts/part-00000.json"}


def test_small_files_are_whole_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "deep/note.txt"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert bytes_below(tmp_path) == {"deep/note.txt": b"two"}
    path.unlink()
    path.mkdir()  # a folder in the way: the rename fails
    with pytest.raises(OSError):
        write_atomically(path, b"three")
    assert bytes_below(tmp_path) == {}


def test_temporary_names_are_never_those_of_parts(tmp_path: Path) -> None:
    path = tmp_path / part_name(7)
    names = {temporary_name(path) for _ in range(100)}
    assert len(names) == 100
    assert all(is_temporary(name) and name.parent == path.parent for name in names)
    assert not is_temporary(path)
    assert not is_temporary(receipt_path(tmp_path, 7))


# reading through a lineage


def signals_file(folder: Path, batch: pa.RecordBatch, name: str, values: Sequence[float]) -> None:
    with PartWriter(folder, 0, name, Effect.MEASURES) as writer:
        writer.judge(batch, Outcome(batch, signals={name: pa.array(values, pa.float64())}))
        writer.commit()


def test_only_the_columns_asked_for_are_read_in_the_order_asked(tmp_path: Path) -> None:
    lineage = write_parts(tmp_path, [[batch_of(["loam"])]])
    (bare,) = lineage.read(0)
    assert bare.schema.names == list(ALWAYS_READ)
    (one,) = lineage.read(0, ["url", "text", "id"])
    assert one.schema.names == [*ALWAYS_READ, "url", "text"]
    (all_of_it,) = lineage.read(0, DOCUMENT.names)
    assert set(all_of_it.schema.names) == set(DOCUMENT.names)


@pytest.mark.parametrize("seed", range(20))
def test_drops_and_signals_of_earlier_stages_are_joined_by_id(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    texts = [f"document {number}" for number in range(30)]
    cuts = sorted(chance.choices(range(31), k=2))
    bounds = list(zip([0, *cuts], [*cuts, 30], strict=True))
    lineage = write_parts(tmp_path / "read", [[batch_of(texts[start:end], first=start) for start, end in bounds]])
    alive = dict.fromkeys(range(30), 0.0)
    for round in range(4):
        # signals are written in another order than the documents have
        numbers = chance.sample(sorted(alive), len(alive))
        values = [chance.random() for _ in numbers]
        whole = batch_of(texts).take(pa.array(numbers, pa.int64()))
        signals_file(tmp_path / f"signal-{round}", whole, "x", values)
        lineage = lineage.after(tmp_path / f"signal-{round}", "measures", ["x"])
        gone = np.array([chance.random() < 0.3 for _ in numbers])
        with PartWriter(tmp_path / f"drops-{round}", 0, "f", Effect.DROPS) as writer:
            writer.judge(whole, Outcome(whole.filter(pa.array(~gone)), drop_rows(whole, gone, "s", "r")))
            writer.commit()
        lineage = lineage.after(tmp_path / f"drops-{round}", "drops", [])
        alive = {number: value for number, value, lost in zip(numbers, values, gone, strict=True) if not lost}
        read = [row for batch in lineage.read(0, ["text"], ["x"]) for row in batch.to_pylist()]
        assert [row["text"] for row in read] == [texts[number] for number in sorted(alive)]
        assert [row["x"] for row in read] == [alive[number] for number in sorted(alive)]


def test_a_part_of_which_nothing_is_left_still_yields_its_columns_and_signals(tmp_path: Path) -> None:
    batch = batch_of(["loam"])
    lineage = write_parts(tmp_path / "read", [[batch], [batch.slice(0, 0)]])
    signals_file(tmp_path / "x", batch, "x", [1.0])
    with PartWriter(tmp_path / "drops", 0, "f", Effect.DROPS) as writer:
        writer.judge(batch, Outcome(batch.slice(0, 0), drop_rows(batch, np.array([True]), "s", "r")))
        writer.commit()
    lineage = lineage.after(tmp_path / "x", "measures", ["x"]).after(tmp_path / "drops", "drops", [])
    (left,) = lineage.read(0, ["text"], ["x"])
    assert (left.num_rows, left.schema.names) == (0, [*ALWAYS_READ, "text", "x"])
    (empty,) = lineage.read(1, ["text"])
    assert empty.num_rows == 0


def test_texts_are_read_from_the_last_stage_that_wrote_them() -> None:
    start = Lineage("read", ("drops",), {"x": "early"})
    after = start.after(Path("edits"), "edits", ["y"])
    assert after == Lineage("edits", (), {"x": "early", "y": "edits"})
    assert start.after(Path("again"), "measures", ["x"]).signals == {"x": "again"}


def test_a_signal_that_was_never_measured_is_named(tmp_path: Path) -> None:
    lineage = write_parts(tmp_path, [[batch_of(["loam"])]])
    with pytest.raises(UserError, match="signal 'x' was not measured before this stage"):
        list(lineage.read(0, needs=["x"]))


@pytest.mark.parametrize("damage", ["truncate", "delete", "empty", "body"])
def test_a_damaged_file_is_one_line_that_names_it(tmp_path: Path, damage: str) -> None:
    texts = [f"{random.Random(number).random()}" for number in range(2000)]
    write_parts(tmp_path, [[batch_of(texts)]])
    path = tmp_path / part_name(0)
    data = path.read_bytes()
    if damage == "delete":
        path.unlink()
    elif damage == "body":
        middle = len(data) // 2
        path.write_bytes(data[:middle] + bytes(4096) + data[middle + 4096 :])
    else:
        path.write_bytes(b"" if damage == "empty" else data[: len(data) // 2])
    with pytest.raises(UserError) as caught:
        list(read_arrow(path))
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "run the same command again" in message
    assert "\n" not in message


def test_a_column_that_a_file_does_not_have_is_named(tmp_path: Path) -> None:
    write_parts(tmp_path, [[batch_of(["loam"])]])
    with pytest.raises(UserError, match="column 'colour' not found; columns are id, text, source"):
        list(read_arrow(tmp_path / part_name(0), ["id", "colour"]))


# a whole stage: only what is damaged is done again


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A finished run: its folder and that of its input."""
    folder = tmp_path_factory.mktemp("finished")
    run(folder / "run", folder / "in", write_corpus(folder / "in"), STAGES)
    return folder / "run", folder / "in"


@pytest.fixture
def copied(finished: tuple[Path, Path], tmp_path: Path) -> Iterator[tuple[Path, Path, Recording]]:
    """A copy of the finished run that may be damaged, its input, and an engine that remembers what it ran."""
    shutil.copytree(finished[0], tmp_path / "run")
    yield tmp_path / "run", finished[1], Recording()


def run_again(root: Path, base: Path, engine: Recording) -> None:
    run(root, base, write_corpus_sources(base), STAGES, engine)


def write_corpus_sources(base: Path) -> list:  # type: ignore[type-arg]
    from tilth.corpus.sources import Source

    return [Source("farm", ("farm/*.jsonl",)), Source("web", ("web.jsonl",))]


def test_nothing_is_done_again_when_all_is_there(copied: tuple[Path, Path, Recording]) -> None:
    root, base, engine = copied
    run_again(root, base, engine)
    assert engine.names == []


@pytest.mark.parametrize("damage", ["truncate", "flip", "delete"])
@pytest.mark.parametrize(
    ("stage", "place"),
    [("read", DOCUMENTS), ("strip", DOCUMENTS), ("strip", EDITS), ("vowels", SIGNALS), ("few", DROPS)],
)
def test_a_damaged_file_is_found_and_only_its_part_done_again(
    finished: tuple[Path, Path],
    copied: tuple[Path, Path, Recording],
    damage: str,
    stage: str,
    place: str,
) -> None:
    root, base, engine = copied
    path = max(path for folder in root.glob(f"stages/*-{stage}-*") for path in (folder / place).glob("part-*.arrow"))
    spoil(path, damage)
    run_again(root, base, engine)
    assert engine.names == [f"{stage} part {int(path.stem[-5:])}"]
    assert bytes_below(root / "stages") == bytes_below(finished[0] / "stages")


@pytest.mark.parametrize("damage", ["truncate", "delete"])
def test_a_damaged_receipt_costs_its_part(
    finished: tuple[Path, Path], copied: tuple[Path, Path, Recording], damage: str
) -> None:
    root, base, engine = copied
    (folder,) = root.glob("stages/*-strip-*")
    (folder / "_manifest.json").unlink()  # as if the run had been killed there
    spoil(receipt_path(folder, 1), damage)
    run_again(root, base, engine)
    assert engine.names == ["strip part 1"]
    assert bytes_below(root / "stages") == bytes_below(finished[0] / "stages")


def test_files_without_a_receipt_are_no_part(finished: tuple[Path, Path], copied: tuple[Path, Path, Recording]) -> None:
    root, base, engine = copied
    (folder,) = root.glob("stages/*-strip-*")
    (folder / "_manifest.json").unlink()
    receipt_path(folder, 0).unlink()
    (folder / part_name(0)).write_bytes(b"half a part of a killed writer")
    run_again(root, base, engine)
    assert engine.names == ["strip part 0"]
    assert bytes_below(root / "stages") == bytes_below(finished[0] / "stages")


def test_temporary_files_of_a_killed_writer_are_never_read_and_are_cleaned(
    finished: tuple[Path, Path], copied: tuple[Path, Path, Recording]
) -> None:
    root, base, engine = copied
    (folder,) = root.glob("stages/*-strip-*")
    (folder / "_manifest.json").unlink()
    for path in [*folder.rglob("part-*")]:
        temporary_name(path).write_bytes(b"half")
    temporary_name(folder / "_manifest.json").write_bytes(b"half")
    run_again(root, base, engine)
    assert engine.names == []
    assert bytes_below(root / "stages") == bytes_below(finished[0] / "stages")


def test_a_manifest_is_written_after_every_part(tmp_path: Path) -> None:
    seen = []

    class Watching(Recording):
        def run(self, tasks):  # type: ignore[no-untyped-def]
            for task in tasks:
                self.inner.run([task])
                seen.append((task.folder / "_manifest.json").exists())

    run(tmp_path / "run", tmp_path / "in", write_corpus(tmp_path / "in"), STAGES, Watching())
    assert seen
    assert not any(seen)
    for folder in (tmp_path / "run/stages").iterdir():
        newest = max(folder.rglob("*.*"), key=lambda path: path.stat().st_mtime_ns)
        assert newest == folder / "_manifest.json"


def test_a_damaged_manifest_is_one_line_that_says_what_to_do(copied: tuple[Path, Path, Recording]) -> None:
    root, _, _ = copied
    (folder,) = root.glob("stages/*-strip-*")
    path = folder / "_manifest.json"
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"[]", b'{"format": 2}'):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"not a manifest of tilth .*; delete the folder") as caught:
            Manifest.read(folder)
        assert "\n" not in str(caught.value)


def test_a_manifest_survives_being_written_down(copied: tuple[Path, Path, Recording]) -> None:
    root, _, _ = copied
    for folder in (root / "stages").iterdir():
        before = (folder / "_manifest.json").read_bytes()
        manifest = Manifest.read(folder)
        assert manifest is not None
        assert manifest.account == Account.total(receipt.account for receipt in manifest.receipts)
        manifest.write(folder)
        assert (folder / "_manifest.json").read_bytes() == before


# disks that cannot take more


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB, where this machine lets us mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small file system needs the right to mount one")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def noise(count: int) -> list[str]:
    """Return ``count`` texts of 2 kB that do not compress."""
    chance = random.Random(0)
    return [chance.randbytes(1000).hex() for _ in range(count)]


@pytest.mark.parametrize("size", [10, 300, 3000])
def test_a_writer_on_a_full_disk_leaves_nothing_behind(small_disk: Path, size: int) -> None:
    # small batches wait in a buffer that cannot be written out: to close it would fail again
    (small_disk / "ballast").write_bytes(bytes(1_000_000))
    writer = ArrowWriter(small_disk / "part.arrow", DOCUMENT)
    with pytest.raises(OSError) as caught:
        for number in range(1000):
            writer.write(batch_of([random.Random(number).randbytes(size).hex()], first=number))
    assert caught.value.errno == errno.ENOSPC
    writer.abandon()
    assert not [path for path in small_disk.iterdir() if is_temporary(path)]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_is_one_line_and_the_run_goes_on_from_the_finished_parts(
    tmp_path: Path, small_disk: Path, workers: int
) -> None:
    from example_chains import read, write_lines

    from tilth.corpus.chain import Chain
    from tilth.corpus.engines import engine
    from tilth.corpus.sources import Source

    for number in range(6):
        write_lines(tmp_path / f"in/{number}.jsonl", noise(60))
    sources = [Source("farm", ("in/*.jsonl",))]
    root = small_disk / "run"
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(850_000))
    with pytest.raises(UserError) as caught:
        read(Chain(root, engine("local", workers)), sources, tmp_path, 130_000)
    assert "the disk is full; free some space and run the same command again" in str(caught.value)
    assert "\n" not in str(caught.value)
    left = bytes_below(root / "stages")
    assert not [name for name in left if is_temporary(Path(name)) or "_manifest" in name]
    finished = [name for name in left if "receipts" in name]
    assert 0 < len(finished) < 6
    ballast.unlink()
    recording = Recording()
    stored = read(Chain(root, recording), sources, tmp_path, 130_000)
    assert len(recording.names) == 6 - len(finished)
    assert stored.manifest.account.documents_out == 360


@pytest.mark.parametrize("workers", [1, 2])
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path, small_disk: Path, workers: int) -> None:
    from example_chains import read

    from tilth.corpus.chain import Chain
    from tilth.corpus.engines import engine

    sources = write_corpus(tmp_path / "in")
    chain = Chain(small_disk / "run", engine("local", workers))
    head = read(chain, sources, tmp_path / "in")
    # closed to every user, root too, whom a folder's mode would not stop
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(UserError) as caught:
        chain.apply(StripSpaces("strip"), head)
    assert "permission denied" in str(caught.value)
    assert "\n" not in str(caught.value)
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert chain.apply(StripSpaces("strip"), head).manifest.account.documents_out == 60
