import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.tokenize.packing import Rows, cut_long, pack_full, pack_whole

LENGTHS = st.lists(st.integers(0, 60), max_size=80)


def laid_out(lengths: list[int]) -> tuple[np.ndarray, np.ndarray]:
    sizes = np.array(lengths, np.int64)
    return np.cumsum(sizes) - sizes, sizes


def covered(rows: Rows) -> list[int]:
    return sorted(
        token
        for start, length in zip(rows.starts.tolist(), rows.lengths.tolist(), strict=True)
        for token in range(start, start + length)
    )


def slow_best_fit(lengths: list[int], capacity: int) -> int:
    """Return how many rows best fit needs, said plainly."""
    rooms: list[int] = []
    for length in sorted(lengths, reverse=True):
        fitting = [room for room in rooms if room >= length]
        if fitting:
            rooms.remove(min(fitting))
            rooms.append(min(fitting) - length)
        else:
            rooms.append(capacity - length)
    return len(rooms)


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 50))
def test_every_token_is_in_one_row_and_no_row_overflows(lengths: list[int], capacity: int) -> None:
    rows = pack_whole(*cut_long(*laid_out(lengths), capacity), capacity)
    assert covered(rows) == list(range(sum(lengths)))
    assert rows.count == 0 or (rows.used().max() <= capacity and rows.used().min() > 0)


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 50))
def test_a_document_that_fits_is_not_cut(lengths: list[int], capacity: int) -> None:
    starts, sizes = laid_out(lengths)
    rows = pack_whole(*cut_long(starts, sizes, capacity), capacity)
    pieces = set(zip(rows.starts.tolist(), rows.lengths.tolist(), strict=True))
    fitting = {(start, size) for start, size in zip(starts.tolist(), lengths, strict=True) if 0 < size <= capacity}
    assert fitting <= pieces


@settings(deadline=None)
@given(st.lists(st.integers(1, 40), max_size=80))
def test_rows_are_as_few_as_best_fit_makes_them(lengths: list[int]) -> None:
    assert pack_whole(*laid_out(lengths), 40).count == slow_best_fit(lengths, 40)


@settings(deadline=None)
@given(LENGTHS, st.integers(12, 60), st.integers(0, 3))
def test_poured_rows_are_full_but_for_the_last(lengths: list[int], capacity: int, overhead: int) -> None:
    pieces = cut_long(*laid_out(lengths), capacity - overhead)
    rows = pack_full(*pieces, capacity, overhead, 0.97)
    assert covered(rows) == list(range(sum(lengths)))
    used = rows.used(overhead)
    assert (used <= capacity).all()
    assert (used < min(0.97 * capacity, capacity - overhead)).sum() <= 1


def test_documents_of_sixty_percent_of_a_row_still_fill_it() -> None:
    pieces = laid_out([300] * 1_000)
    assert pack_whole(*pieces, 512).used().sum() / (pack_whole(*pieces, 512).count * 512) < 0.6
    rows = pack_full(*pieces, 512, 2, 0.97)
    assert rows.used(2).sum() / (rows.count * 512) > 0.99


@pytest.mark.parametrize("capacity", [1, 7, 2_048])
def test_nothing_to_pack_makes_no_row(capacity: int) -> None:
    assert pack_whole(*cut_long(*laid_out([]), capacity), capacity).count == 0
    assert pack_whole(*cut_long(*laid_out([0, 0]), capacity), capacity).count == 0
