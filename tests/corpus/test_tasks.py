"""Tasks: what a failure leaves for the driver, and how keyed rows are cut, reduced and brought home."""

import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from example_chains import batch_of, bytes_below, write_parts
from example_stages import CountPeers
from hypothesis import given
from hypothesis import strategies as st

from tilth.corpus.document import DOCUMENT, ID
from tilth.corpus.errors import UserError
from tilth.corpus.stage import GroupStage
from tilth.corpus.store import temporary_name
from tilth.corpus.tasks import (
    ROOM,
    GroupJob,
    clear_failures,
    failure_folder,
    partition_of,
    raise_failure,
    run_task,
    storage_message,
)
from tilth.filters.exact import ExactDuplicates


@dataclass(frozen=True)
class Failing:
    """A task that does what it is told."""

    folder: Path
    deed: Callable[[], None]
    name: str = "stage part 0"

    def run(self) -> None:
        self.deed()


def raising(error: Exception) -> Callable[[], None]:
    def deed() -> None:
        raise error

    return deed


def test_an_error_of_the_user_waits_in_the_store_for_the_driver(tmp_path: Path) -> None:
    run_task(Failing(tmp_path, raising(UserError("file: mend it"))))
    with pytest.raises(UserError, match=r"^file: mend it$"):
        raise_failure(tmp_path)


def test_tasks_after_a_failure_do_nothing(tmp_path: Path) -> None:
    done: list[int] = []
    run_task(Failing(tmp_path, lambda: done.append(1)))
    run_task(Failing(tmp_path, raising(UserError("file: mend it"))))
    run_task(Failing(tmp_path, lambda: done.append(2)))
    assert done == [1]


def test_of_several_failures_the_first_by_name_is_raised(tmp_path: Path) -> None:
    # two workers may fail at the same moment: which line is shown should not be chance
    failure_folder(tmp_path).mkdir()
    for name in ("stage part 3", "stage part 1", "stage part 2"):
        (failure_folder(tmp_path) / f"{name}.txt").write_text(name)
    temporary_name(failure_folder(tmp_path) / "a").write_text("half a line")
    with pytest.raises(UserError, match=r"^stage part 1$"):
        raise_failure(tmp_path)


def test_a_mended_failure_is_forgotten_and_so_are_temporary_files(tmp_path: Path) -> None:
    run_task(Failing(tmp_path, raising(UserError("file: mend it"))))
    (tmp_path / "drops").mkdir()
    (tmp_path / "drops/part-00000.arrow").write_bytes(b"kept")
    temporary_name(tmp_path / "drops/part-00000.arrow").write_bytes(b"half")
    temporary_name(tmp_path / "part-00000.arrow").write_bytes(b"half")
    clear_failures(tmp_path)
    raise_failure(tmp_path)
    assert bytes_below(tmp_path) == {"drops/part-00000.arrow": b"kept"}
    clear_failures(tmp_path / "not there yet")


@pytest.mark.parametrize("error", [ValueError("defect"), KeyError("defect"), OSError(errno.EIO, "defect")])
def test_defects_go_up_and_leave_no_line_for_the_user(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error), match="defect"):
        run_task(Failing(tmp_path, raising(error)))
    raise_failure(tmp_path)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "the disk is full"),
        (errno.EACCES, "permission denied"),
        (errno.EPERM, "permission denied"),
        (errno.EROFS, "permission denied"),
    ],
)
def test_what_a_user_can_mend_about_storage_is_one_line(tmp_path: Path, number: int, words: str) -> None:
    run_task(Failing(tmp_path, raising(OSError(number, "as the system says", "/some/file"))))
    with pytest.raises(UserError) as caught:
        raise_failure(tmp_path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert storage_message(OSError(errno.EIO, "else"), tmp_path) is None


# groups

KEYS = st.lists(st.binary(min_size=16, max_size=16), max_size=30)


@given(KEYS, st.integers(1, 9), st.integers(0, 5))
def test_equal_keys_share_a_partition_whatever_array_they_stand_in(
    keys: list[bytes], partitions: int, start: int
) -> None:
    whole = partition_of(pa.array(keys, ID), partitions)
    assert whole.tolist() == [int.from_bytes(key[:8], "little") % partitions for key in keys]
    assert partition_of(pa.array(keys, ID).slice(start), partitions).tolist() == whole[start:].tolist()


STAGES: list[GroupStage] = [ExactDuplicates("exact"), CountPeers("peers")]
TEXTS = st.lists(st.sampled_from(["loam", "seed", "loam seed", "seed loam", "", "worm", "worm worm rain"]), max_size=25)


def reduced(stage: GroupStage, rows: pa.Table) -> list[Mapping[str, object]]:
    """Reduce rows that are sorted as the engines sort them."""
    return stage.reduce(rows.sort_by([(name, "ascending") for name in rows.column_names])).to_pylist()


def rows_of(stage: GroupStage, texts: list[str]) -> pa.Table:
    keyed = stage.keys(batch_of(texts).select(DOCUMENT.names))
    homes = pa.array(np.arange(keyed.num_rows, dtype=np.int32) % 3)
    return pa.Table.from_batches([keyed.append_column("home", homes)])


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
@given(TEXTS, st.randoms(use_true_random=False))
def test_a_reduction_does_not_depend_on_which_keys_came_together(stage, texts, chance) -> None:  # type: ignore[no-untyped-def]
    rows = rows_of(stage, texts)
    keys = rows.column("key").to_pylist()
    group = {key: chance.randrange(4) for key in set(keys)}
    pieces = [rows.filter(pa.array([group[key] == number for key in keys], pa.bool_())) for number in range(4)]
    apart = [row for piece in pieces for row in reduced(stage, piece)]
    together = reduced(stage, rows)

    def order(row: Mapping[str, object]) -> str:
        return repr(sorted(row.items()))

    assert sorted(apart, key=order) == sorted(together, key=order)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
@given(TEXTS, st.randoms(use_true_random=False))
def test_a_reduction_does_not_depend_on_the_order_in_which_rows_arrived(stage, texts, chance) -> None:  # type: ignore[no-untyped-def]
    rows = rows_of(stage, texts)
    order = chance.sample(range(rows.num_rows), rows.num_rows)
    assert reduced(stage, rows.take(pa.array(order, pa.int64()))) == reduced(stage, rows)


@pytest.mark.parametrize(("partitions", "room"), [(1, ROOM), (4, ROOM), (4, 1), (7, 100)])
def test_every_keyed_row_goes_to_one_partition_and_every_reduced_row_home(
    tmp_path: Path, partitions: int, room: int
) -> None:
    texts = [["loam seed", "worm"], ["seed"], [], ["worm rain worm", "loam", "rain"]]
    batches = [batch_of(part, first=100 * number) for number, part in enumerate(texts)]
    lineage = write_parts(tmp_path, [[batch] for batch in batches])
    job = GroupJob(CountPeers("peers"), lineage, 4, partitions, tmp_path / "out", "f", room)
    gathered: dict[int, list[pa.Table]] = {}
    for part, batch in enumerate(batches):
        keyed = [item for rows in job.keyed(part) for item in rows.items()]
        assert all(rows.num_rows for _, rows in keyed)
        assert sum(rows.num_rows for _, rows in keyed) == sum(len(set(text.split())) for text in texts[part])
        for number, rows in keyed:
            assert set(partition_of(rows.column("key").combine_chunks(), partitions).tolist()) == {number}
            assert set(rows.column("id").to_pylist()) <= set(batch.column("id").to_pylist())
            gathered.setdefault(number, []).append(rows)
    home: dict[int, list[bytes]] = {}
    for tables in gathered.values():
        homes = []
        for part, rows in job.reduced_in_turns(lambda tables=tables: iter(tables[::-1])):  # type: ignore[misc]
            homes.append(part)
            assert set(rows.column("home").to_pylist()) == {part}
            home.setdefault(part, []).extend(rows.column("id").to_pylist())
        assert homes == sorted(set(homes))
    assert list(job.reduced([])) == []
    for part, batch in enumerate(batches):
        assert set(home.get(part, [])) == set(batch.column("id").to_pylist())
