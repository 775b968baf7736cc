"""Two segments of one text, in order or not: nothing is lost, and nothing gives the answer away."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.train.objectives.masked import Masking
from tilth.train.objectives.sentence_order import SentenceOrder
from tilth.train.objectives.vocabulary import Vocabulary

SIZE, MASK, FIRST, SEPARATOR = 3000, 3, 2, 1


def objective(seed: int) -> SentenceOrder:
    special = np.arange(SIZE) < 4
    return SentenceOrder(Masking(seed), Vocabulary(MASK, FIRST, SEPARATOR, special, special, np.flatnonzero(~special)))


@settings(max_examples=50)
@given(st.integers(0, 2**62), st.integers(0, 2**40), st.integers(16, 80))
def test_a_row_holds_its_text_once_cut_in_its_middle_half(seed: int, first: int, positions: int) -> None:
    rows = np.arange(4, 4 + 6 * (positions + 1)).reshape(6, positions + 1)
    batch = objective(seed).collate(rows, first)
    assert batch.order is not None
    assert batch.types is not None
    for row, labels, types, exchanged in zip(rows, batch.labels, batch.types, batch.order[:, 0], strict=True):
        ends = np.flatnonzero(labels == SEPARATOR)
        assert labels[0] == FIRST
        assert ends[-1] == positions - 1
        one, two = labels[1 : ends[0]], labels[ends[0] + 1 : ends[1]]
        assert types.tolist() == [0] * (ends[0] + 1) + [1] * (positions - ends[0] - 1)
        early, late = (two, one) if exchanged else (one, two)
        assert np.concatenate([early, late]).tolist() == row[: positions - 3].tolist()
        quarter = (positions - 3) // 4
        assert quarter <= len(early) <= positions - 3 - quarter
        assert not batch.counts[:, 0].any()
    assert (batch.order[:, 1:] == -1).all()


def test_half_of_the_rows_are_exchanged_and_it_cannot_be_told_from_where_the_cut_is() -> None:
    rows = np.tile(np.arange(4, 4 + 65), (20_000, 1))
    batch = objective(1).collate(rows, 0)
    assert batch.order is not None
    assert batch.types is not None
    order = batch.order[:, 0]
    assert order.mean() == pytest.approx(0.5, abs=0.015)
    sizes = batch.types.sum(axis=1)
    assert sizes[order == 0].mean() == pytest.approx(sizes[order == 1].mean(), abs=0.5)


def test_the_cut_is_never_beside_a_document_end() -> None:
    rows = np.random.default_rng(0).integers(4, SIZE, (500, 65))
    rows[:, 20:40:2] = SEPARATOR  # most of the middle
    batch = objective(2).collate(rows, 0)
    for row, labels in zip(rows, batch.labels, strict=True):
        text = row[:61].tolist()
        cuts = [cut for cut in range(15, 47) if _arranged(text, cut) in (labels.tolist(),)] + [
            cut for cut in range(15, 47) if _arranged(text, cut, exchanged=True) == labels.tolist()
        ]
        assert cuts
        assert all(text[cut - 1] != SEPARATOR and text[cut] != SEPARATOR for cut in cuts)


def _arranged(text: list[int], cut: int, exchanged: bool = False) -> list[int]:
    one, two = text[:cut], text[cut:]
    if exchanged:
        one, two = two, one
    return [FIRST, *one, SEPARATOR, *two, SEPARATOR]
