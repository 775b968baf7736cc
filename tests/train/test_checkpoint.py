"""Checkpoint folders: whole or absent, and the log that goes with them."""

from pathlib import Path

import orjson
import pytest

from tilth.corpus.errors import UserError
from tilth.train import checkpoint

MANIFEST = {"samples": 0, "tokens": 0, "fingerprint": "f", "identity": {}, "model": {}}


def write(folder: Path, step: int) -> Path:
    partial = checkpoint.partial_path(folder, step)
    checkpoint.make_empty(partial)
    (partial / "tensors").write_bytes(b"x" * step)
    return checkpoint.commit(partial, {**MANIFEST, "step": step}, checkpoint.file_records(partial))


def test_a_checkpoint_is_found_when_it_is_whole_and_not_before(tmp_path: Path) -> None:
    write(tmp_path, 3)
    partial = checkpoint.partial_path(tmp_path, 6)
    checkpoint.make_empty(partial)
    (partial / "tensors").write_bytes(b"half")
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert (found.step, found.path.name) == (3, "step-00000003")


def test_what_an_earlier_attempt_left_is_not_in_the_checkpoint(tmp_path: Path) -> None:
    checkpoint.make_empty(checkpoint.partial_path(tmp_path, 3))
    (checkpoint.partial_path(tmp_path, 3) / "left over").write_bytes(b"?")
    assert sorted(path.name for path in write(tmp_path, 3).iterdir()) == ["manifest.json", "tensors"]


def test_no_folder_has_no_checkpoint(tmp_path: Path) -> None:
    assert checkpoint.latest(tmp_path / "absent") is None


def test_a_checkpoint_with_a_shortened_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, 5)
    (path / "tensors").write_bytes(b"x")
    with pytest.raises(UserError, match=r"tensors: found 1, expected 5 bytes; the checkpoint is damaged"):
        checkpoint.read_checkpoint(path)


def test_a_checkpoint_without_a_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, 5)
    (path / "tensors").unlink()
    with pytest.raises(UserError, match="found no file, expected 5 bytes"):
        checkpoint.read_checkpoint(path)


def test_a_checkpoint_with_a_changed_bit_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    path = write(tmp_path, 5)
    checkpoint.check_records(path, checkpoint.file_records(path))
    (path / "tensors").write_bytes(b"xxyxx")
    checkpoint.read_checkpoint(path)  # the size is right
    with pytest.raises(UserError, match=r"tensors: found a content with the digest \w{32}, expected .* is damaged"):
        checkpoint.check_records(path, checkpoint.file_records(path))


def test_processes_that_share_the_reading_read_every_file_once(tmp_path: Path) -> None:
    for name in "abcde":
        (tmp_path / name).write_bytes(name.encode())
    shares = [checkpoint.file_records(tmp_path, rank, 3) for rank in range(3)]
    assert [list(share) for share in shares] == [["a", "d"], ["b", "e"], ["c"]]
    assert {name: each for share in shares for name, each in share.items()} == checkpoint.file_records(tmp_path)


def test_a_folder_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"manifest\.json is missing"):
        checkpoint.read_checkpoint(tmp_path)


def test_a_manifest_of_another_version_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, 5) / checkpoint.MANIFEST
    path.write_bytes(orjson.dumps({**orjson.loads(path.read_bytes()), "format": 99}))
    with pytest.raises(UserError, match="format: found 99, expected 2"):
        checkpoint.read_checkpoint(path.parent)


def test_pruning_keeps_the_seed_and_the_last_ones(tmp_path: Path) -> None:
    for step in (0, 2, 4, 6):
        write(tmp_path, step)
    checkpoint.make_empty(checkpoint.partial_path(tmp_path, 8))
    (tmp_path / "notes").mkdir()
    checkpoint.prune(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "notes",
        "step-00000000",
        "step-00000004",
        "step-00000006",
    ]


def test_the_log_is_cut_back_to_the_checkpoint(tmp_path: Path) -> None:
    lines = [orjson.dumps({"step": step}) + b"\n" for step in range(1, 6)]
    (tmp_path / checkpoint.LOG).write_bytes(b"".join(lines) + b'{"step": 6, "lo')
    assert checkpoint.cut_log(tmp_path, 5) == len(b"".join(lines))  # a line that was being written is no line
    assert checkpoint.cut_log(tmp_path, 3) == len(b"".join(lines[:3]))
    assert (tmp_path / checkpoint.LOG).read_bytes() == b"".join(lines[:3])
    assert checkpoint.cut_log(tmp_path, 0) == 0


def test_a_log_that_is_not_there_has_no_lines(tmp_path: Path) -> None:
    assert checkpoint.cut_log(tmp_path, 3) == 0
