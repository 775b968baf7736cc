import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.tokenize.boundaries import attention_allowed, cumulative_lengths, document_numbers, positions

ROWS = st.lists(st.lists(st.integers(0, 3), min_size=12, max_size=12), min_size=1, max_size=4)


def test_the_separator_belongs_to_the_document_before_it() -> None:
    numbers = document_numbers(np.array([[5, 1, 6, 7, 1, 1, 8]]), 1)
    assert numbers.tolist() == [[0, 0, 1, 1, 1, 2, 3]]
    assert positions(numbers).tolist() == [[0, 1, 0, 1, 2, 0, 0]]
    assert cumulative_lengths(numbers).tolist() == [0, 2, 5, 6, 7]


@settings(deadline=None)
@given(ROWS)
def test_masks_and_positions_are_those_of_megatron(rows: list[list[int]]) -> None:
    torch = pytest.importorskip("torch")
    gpt_dataset = pytest.importorskip("megatron.core.datasets.gpt_dataset")
    tokens = np.array(rows)
    numbers = document_numbers(tokens, 1)
    for row, allowed, places in zip(tokens, attention_allowed(numbers), positions(numbers), strict=True):
        hidden, _, theirs = gpt_dataset._get_ltor_masks_and_position_ids(
            torch.from_numpy(row), 1, True, True, False, True
        )
        np.testing.assert_array_equal(allowed, ~hidden[0].numpy())
        np.testing.assert_array_equal(places, theirs.numpy())


@settings(deadline=None)
@given(ROWS)
def test_cumulative_lengths_say_what_the_mask_says(rows: list[list[int]]) -> None:
    numbers = document_numbers(np.array(rows), 1)
    bounds = cumulative_lengths(numbers)
    assert bounds[0] == 0
    assert bounds[-1] == numbers.size
    owner = np.searchsorted(bounds, np.arange(numbers.size), side="right").reshape(numbers.shape)
    np.testing.assert_array_equal(owner[:, :, None] == owner[:, None, :], attention_allowed(numbers, causal=False))


def test_padding_looks_at_itself_alone() -> None:
    allowed = attention_allowed(np.array([[0, 0, -1, -1]]))
    assert allowed[0].astype(int).tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
