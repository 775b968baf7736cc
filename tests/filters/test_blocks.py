"""What is done to many bytes at once is what is done to each."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tilth.filters import blocks
from tilth.filters.blocks import BLOCK, bits_set, block_mask, lowest, set_word, weighted_bytes, word_at
from tilth.filters.kernel import kernel

WORDS = st.integers(0, 2**64 - 1)


@kernel
def ask_block(data: np.ndarray, at: int, fold: int, low: int, high: int) -> np.uint64:
    return block_mask(data, at, fold, low, high)


@kernel
def ask_word(data: np.ndarray, at: int) -> np.uint64:
    return word_at(data, at)


@kernel
def put_word(data: np.ndarray, at: int, word: np.uint64) -> None:
    set_word(data, at, word)


@kernel
def ask_sum(word: np.uint64, weights: np.ndarray) -> np.uint64:
    return weighted_bytes(word, weights)


@kernel
def ask_bits(mask: np.uint64) -> tuple[int, int]:
    return lowest(mask), bits_set(mask)


@given(st.binary(min_size=BLOCK, max_size=3 * BLOCK), st.data())
def test_a_mask_says_of_every_byte_what_is_said_of_it_alone(text: bytes, draw: st.DataObject) -> None:
    data = np.frombuffer(text, np.uint8)
    at = draw.draw(st.integers(0, len(data) - BLOCK))
    fold = draw.draw(st.sampled_from([0, 32]))
    low, high = sorted((draw.draw(st.integers(0, 255)), draw.draw(st.integers(0, 255))))
    found = int(ask_block(data, at, fold, low, high))
    assert [found >> byte & 1 for byte in range(BLOCK)] == [
        low <= byte | fold <= high for byte in text[at : at + BLOCK]
    ]
    assert found == blocks.plain_block_mask(data, at, fold, low, high)


@given(st.binary(min_size=8, max_size=40), WORDS, st.data())
def test_words_are_read_and_written_where_they_are_said_to_be(text: bytes, word: int, draw: st.DataObject) -> None:
    at = draw.draw(st.integers(0, len(text) - 8))
    data = np.frombuffer(text, np.uint8)
    assert int(ask_word(data, at)) == int.from_bytes(text[at : at + 8], "little") == int(blocks.plain_word_at(data, at))
    one, two = np.array(data), np.array(data)
    put_word(one, at, np.uint64(word))
    blocks.plain_set_word(two, at, np.uint64(word))
    assert one.tobytes() == two.tobytes() == text[:at] + word.to_bytes(8, "little") + text[at + 8 :]


@given(st.one_of(WORDS, st.integers(0, 63).map(lambda bit: 1 << bit)))
def test_bits_are_found_and_counted(mask: int) -> None:
    place = next((bit for bit in range(64) if mask >> bit & 1), 64)
    assert ask_bits(np.uint64(mask)) == (place, mask.bit_count())
    assert (blocks.plain_lowest(np.uint64(mask)), blocks.plain_bits_set(np.uint64(mask))) == (place, mask.bit_count())


@given(WORDS, st.lists(WORDS, min_size=8, max_size=8))
def test_bytes_are_weighed(word: int, weights: list[int]) -> None:
    expected = sum(byte * weight for byte, weight in zip(word.to_bytes(8, "little"), weights, strict=True)) % 2**64
    assert ask_sum(np.uint64(word), np.array(weights, np.uint64)) == expected
    assert blocks.plain_weighted_bytes(np.uint64(word), np.array(weights, np.uint64)) == expected
