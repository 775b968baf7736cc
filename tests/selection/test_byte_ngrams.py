"""The byte n-gram model: probabilities that add up to one, equal to the formula written out."""

import math
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilth.corpus.errors import UserError
from tilth.selection.byte_ngrams import ByteModel, train_bytes

letters = st.text(st.sampled_from("abcä"), max_size=12)


class Plain:
    """Witten-Bell over Python's dictionaries."""

    def __init__(self, texts: list[str], order: int) -> None:
        self.order = order
        self.after: dict[bytes, Counter[int]] = defaultdict(Counter)
        for data in (text.encode() for text in texts):
            for place, byte in enumerate(data):
                for length in range(min(order, place + 1)):
                    self.after[data[place - length : place]][byte] += 1

    def probability(self, context: bytes, byte: int) -> float:
        found = 1 / 256
        for length in range(len(context) + 1):
            counts = self.after.get(context[len(context) - length :])
            if counts:
                total, kinds = sum(counts.values()), len(counts)
                found = (counts[byte] + kinds * found) / (total + kinds)
        return found

    def bits(self, text: str) -> float:
        data = text.encode()
        return -sum(
            math.log2(self.probability(data[max(0, place - self.order + 1) : place], byte))
            for place, byte in enumerate(data)
        )


@given(st.lists(letters, min_size=1, max_size=6), st.lists(letters, min_size=1, max_size=4), st.integers(2, 7))
def test_bits_are_those_of_the_formula(reference: list[str], given_texts: list[str], order: int) -> None:
    if not any(reference):
        return
    model, plain = train_bytes([pa.array(reference)], order), Plain(reference, order)
    assert model.bits(pa.array(given_texts)).tolist() == pytest.approx([plain.bits(text) for text in given_texts])


def test_probabilities_of_all_continuations_sum_to_one() -> None:
    model = train_bytes([pa.array(["the cat sat on the mat", "the dog"])], 4)
    for context in ("", "t", "the", "xyz", "at "):
        start = model.bits(pa.array([context]))[0]
        bits = model.bits(pa.array([context + chr(code) for code in range(128)])) - start
        share = (2.0**-bits).sum()
        assert share < 1
        assert share == pytest.approx(
            1 - 128 * Plain(["the cat sat on the mat", "the dog"], 4).probability(context.encode()[-3:], 255)
        )


def test_what_was_read_costs_less_than_what_was_not() -> None:
    model = train_bytes([pa.array([f"lemma {number} follows by induction" for number in range(50)])])
    known, strange, nothing = model.bits_per_byte(pa.array(["lemma 7 follows", "qqq zzz xxx", ""]))
    assert known < 1 < 6 < strange
    assert nothing == 8


def test_a_model_is_found_again_as_it_was_saved(tmp_path: Path) -> None:
    model = train_bytes([pa.array(["alpha beta", "gamma"])])
    model.save(tmp_path / "model.npz")
    texts = pa.array(["alpha", "delta"])
    assert ByteModel.load(tmp_path / "model.npz").bits(texts).tolist() == model.bits(texts).tolist()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x04."])
def test_a_foreign_file_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"model\.npz: not a byte n-gram model"):
        ByteModel.load(tmp_path / "model.npz")


def test_what_cannot_be_trained_is_refused() -> None:
    with pytest.raises(UserError, match="reference texts are empty"):
        train_bytes([pa.array([""])])
    with pytest.raises(UserError, match="order: found 9"):
        train_bytes([pa.array(["a"])], 9)


def test_the_order_of_training_and_the_cut_into_arrays_do_not_matter() -> None:
    texts = [f"row {number} of {number * 7 % 5}" for number in range(40)]
    whole = train_bytes([pa.array(texts)])
    parts = train_bytes([pa.array(texts[20:]), pa.array(texts[:20])])
    asked = pa.array(["row 3", "of 4 rows"])
    np.testing.assert_array_equal(whole.bits(asked), parts.bits(asked))
