"""Windows over documents: every token is scored once and sees what it should."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tilth.eval.windows import cut_batches, cut_windows, fill_batch, scored_mask

SEPARATOR = 9_999
SIZES = st.lists(st.integers(0, 70), max_size=12)


def flat(sizes: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Tokens that are all different, and their bounds."""
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return np.arange(offsets[-1], dtype=np.uint16), offsets


@given(SIZES, st.integers(1, 16), st.integers(1, 100))
def test_every_token_is_predicted_once_from_the_text_right_before_it(sizes: list[int], length: int, most: int) -> None:
    tokens, offsets = flat(sizes)
    windows = cut_windows(np.array(sizes, np.int64), length)
    scored: list[int] = []
    for rows in cut_batches(windows, most):
        filled = fill_batch(windows, rows, tokens, offsets, SEPARATOR)
        mask = scored_mask(windows, rows)
        assert mask.shape == (len(rows), filled.shape[1] - 1)
        for line, counts, row in zip(filled, mask, rows, strict=True):
            document = windows.document[row]
            for place in np.flatnonzero(counts):
                label, before = line[place + 1], line[place]
                scored.append(int(label))
                assert before == (SEPARATOR if label == offsets[document] else label - 1)
                assert line[0] == SEPARATOR or line[0] >= offsets[document]  # no context from another document
    assert sorted(scored) == tokens.tolist()


@given(SIZES, st.integers(2, 16))
def test_later_windows_have_at_least_half_a_window_of_context(sizes: list[int], length: int) -> None:
    windows = cut_windows(np.array(sizes, np.int64), length)
    later = windows.start > 0
    assert (windows.length[later] == length).all()
    assert (windows.length[later] - windows.scored[later] >= length // 2).all()
    assert (windows.length <= length).all()


@given(SIZES, st.integers(1, 16), st.integers(1, 100))
def test_every_window_is_in_one_batch_of_bounded_size(sizes: list[int], length: int, most: int) -> None:
    windows = cut_windows(np.array(sizes, np.int64), length)
    batches = list(cut_batches(windows, most))
    together = np.concatenate([*batches, np.zeros(0, np.int64)])
    assert sorted(together.tolist()) == list(range(len(windows.length)))
    assert all(len(rows) == 1 or len(rows) * windows.length[rows].max() <= most for rows in batches)
    assert (np.diff(windows.length[together]) <= 0).all()


def test_a_document_begins_after_the_separator() -> None:
    tokens, offsets = flat([2, 3])
    windows = cut_windows(np.array([2, 3]), 8)
    filled = fill_batch(windows, np.array([0, 1]), tokens, offsets, SEPARATOR)
    assert filled.tolist() == [[SEPARATOR, 0, 1, SEPARATOR], [SEPARATOR, 2, 3, 4]]
    assert scored_mask(windows, np.array([0, 1])).tolist() == [[True, True, False], [True, True, True]]


def test_windows_of_a_long_document_are_cut_as_written_down() -> None:
    windows = cut_windows(np.array([21]), 8)
    rows = list(zip(windows.start.tolist(), windows.length.tolist(), windows.scored.tolist(), strict=True))
    assert rows == [(0, 8, 8), (4, 8, 4), (8, 8, 4), (12, 8, 4), (13, 8, 1)]
