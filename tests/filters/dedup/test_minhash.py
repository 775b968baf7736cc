"""Signatures estimate the Jaccard similarity without bias, and the kernels say what slow Python says."""

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilth.filters.dedup.bands import band_keys, catch_probability
from tilth.filters.dedup.minhash import orders, signatures
from tilth.filters.dedup.shingles import Shingles, shingles_of
from tilth.filters.dedup.units import Units, units_of
from tilth.filters.texts import Texts


def units(text: list[str], kind: str = "words") -> Units:
    return units_of(Texts.of(pa.array(text)), kind)


def shingles(sets: list[np.ndarray]) -> Shingles:
    rows = np.concatenate([[0], np.cumsum([len(one) for one in sets])])
    return Shingles(np.concatenate([np.zeros(0, np.uint64), *sets]), rows.astype(np.int64))


@given(st.lists(st.lists(st.integers(0, 2**64 - 1), max_size=20), max_size=4), st.sampled_from([32, 64]))
def test_a_signature_holds_the_least_value_of_every_order(sets: list[list[int]], bits: int) -> None:
    found = signatures(shingles([np.array(one, np.uint64) for one in sets]), 5, bits, seed=3)
    multipliers, offsets = orders(5, bits, seed=3)
    for row, one in zip(found.tolist(), sets, strict=True):
        for value, a, b in zip(row, multipliers.tolist(), offsets.tolist(), strict=True):
            every = [(a * (x >> (64 - bits)) + b) % 2**bits for x in one]
            assert value == min([2**bits - 1, *every])


def test_signatures_do_not_depend_on_the_order_or_the_number_of_repeats() -> None:
    one = np.random.Generator(np.random.PCG64(1)).integers(0, 2**64, 50, np.uint64)
    again = np.concatenate([one[::-1], one])
    found = signatures(shingles([one, again]), 112)
    assert (found[0] == found[1]).all()


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("similarity", [0.2, 0.5, 0.8])
def test_the_share_of_equal_values_is_the_similarity_with_the_variance_of_independent_hashes(
    bits: int, similarity: float
) -> None:
    chance = np.random.Generator(np.random.PCG64(7))
    pairs, size, hashes = 400, 300, 112
    common = round(2 * similarity * size / (1 + similarity))
    exact = common / (2 * size - common)
    shares = []
    for _ in range(pairs):
        drawn = chance.integers(0, 2**64, 2 * size - common, np.uint64)
        one, other = signatures(shingles([drawn[:size], drawn[size - common :]]), hashes, bits)
        shares.append((one == other).mean())
    deviation = np.sqrt(exact * (1 - exact) / hashes)
    assert abs(np.mean(shares) - exact) < 4 * deviation / np.sqrt(pairs)
    assert 0.85 * deviation < np.std(shares) < 1.2 * deviation


def test_words_are_the_same_whatever_their_case_and_marks() -> None:
    found = units(["The rain, in: SPAIN (stays)!", "the rain in spain stays", "The rain in Spain stay s", "ÉTÉ", "été"])
    rows = found.rows
    parts = [found.hashes[start:end].tolist() for start, end in itertools.pairwise(rows)]
    assert parts[0] == parts[1]
    assert parts[0] != parts[2]
    assert parts[3] == parts[4]


def test_characters_are_those_of_the_words_with_single_spaces() -> None:
    found = units(["Ab,  cé\n", "ab cé", "abcé"], "characters")
    counts = np.diff(found.rows).tolist()
    assert counts == [5, 5, 4]
    assert found.hashes[:5].tolist() == found.hashes[5:10].tolist()


def test_a_shingle_does_not_depend_on_what_stands_before_it() -> None:
    text = "one two three four five six seven"
    whole = shingles_of(units([text]), 5).hashes
    assert len(whole) == 3
    for place in range(3):
        alone = shingles_of(units([" ".join(text.split()[place : place + 5])]), 5).hashes
        assert alone.tolist() == [whole[place]]


def test_a_short_document_is_one_shingle_and_an_empty_one_is_none() -> None:
    found = shingles_of(units(["two words", "", "...", "two words more"]), 5)
    assert np.diff(found.rows).tolist() == [1, 0, 0, 1]
    assert len(set(found.hashes.tolist())) == 2
    assert np.diff(shingles_of(units(["two words", ""]), 5, whole_short=False).rows).tolist() == [0, 0]


def test_bands_agree_exactly_where_all_their_rows_do() -> None:
    values = np.arange(112, dtype=np.uint32)
    other = values.copy()
    other[8] += 1
    keys = band_keys(np.stack([values, other]), 14, 8)
    same = (keys[0] == keys[1]).all(axis=1)
    assert same.tolist() == [True, False, *[True] * 12]


def test_equal_values_in_two_bands_do_not_meet() -> None:
    keys = band_keys(np.full((1, 112), 9, np.uint32), 14, 8)
    assert len({tuple(key) for key in keys[0].tolist()}) == 14


@pytest.mark.parametrize(
    ("similarity", "expected"), [(0.5, 0.0533), (0.6, 0.2111), (0.7, 0.5645), (0.8, 0.9235), (0.9, 0.9996)]
)
def test_the_curve_of_14_bands_of_8_is_the_known_one(similarity: float, expected: float) -> None:
    assert catch_probability(similarity, 14, 8) == pytest.approx(expected, abs=5e-5)
