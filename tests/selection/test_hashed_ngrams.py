"""DSIR's features and weights: the published formulas, written anew, word by word."""

import math
import re
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tilth.corpus.errors import UserError
from tilth.selection.hashed_ngrams import gumbel, log_ratio, log_weights, ngram_counts, uniform

MASK = (1 << 64) - 1


def bucket(ngram: str, buckets: int) -> int:
    value = 0xCBF29CE484222325
    for byte in ngram.encode():
        value = (value ^ byte) * 0x100000001B3 & MASK
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        value = (value ^ (value >> shift)) * factor & MASK
    return (value ^ (value >> 31)) % buckets


def ngrams(text: str) -> list[str]:
    words = re.findall(r"\w+|[^\w\s]+", text.lower())  # NLTK's WordPunctTokenizer
    return words + [" ".join(pair) for pair in pairwise(words)]


def plain_counts(texts: list[str], buckets: int) -> list[int]:
    counts = [0] * buckets
    for text in texts:
        for ngram in ngrams(text):
            counts[bucket(ngram, buckets)] += 1
    return counts


PIECES = st.sampled_from(
    ["Don't", " ", "STOP", "...", "größe", "ÉTÉ", "İx", "ΣΑΣ", "_a1", "\u00a0", "\n", "٣", "中文", "𐐀b"]
)
texts = st.lists(st.one_of(st.text(max_size=20), st.lists(PIECES, max_size=12).map("".join)), max_size=5)


@given(texts)
@example(["Don't stop. Don't STOP..."])
@example(["plain ascii only", "ΑΣ ends in a sigma"])
def test_counts_are_those_of_lower_cased_words_and_bigrams(given_texts: list[str]) -> None:
    found = ngram_counts(pa.array(given_texts, pa.string()), 97)
    assert found.tolist() == plain_counts(given_texts, 97)


@given(texts, st.sampled_from([0, 1, 16]))
def test_weights_are_the_sum_of_log_ratios(given_texts: list[str], chunk: int) -> None:
    ratio = np.random.default_rng(0).normal(size=97)
    for text, found in zip(given_texts, log_weights(pa.array(given_texts, pa.string()), ratio, chunk), strict=True):
        terms = [ratio[bucket(ngram, 97)] for ngram in ngrams(text)]
        expected = math.fsum(terms) * ((2 * chunk - 1) / len(terms) if chunk and terms else 1)
        assert found == pytest.approx(expected, abs=1e-9)


def test_a_hundred_thousand_weights_equal_the_formula() -> None:
    random = np.random.default_rng(2)
    words = np.array(["soil", "root", "seed", "rain", "worm", "field", "plough", ";", "--", "loam"])
    lines = [" ".join(row) for row in words[random.integers(0, 10, (100_000, 6))]]
    ratio = log_ratio(ngram_counts(pa.array(lines[:500])), ngram_counts(pa.array(lines)))
    place = {ngram: bucket(ngram, len(ratio)) for ngram in {*words, *(f"{a} {b}" for a in words for b in words)}}
    expected = [sum(ratio[place[ngram]] for ngram in ngrams(line)) for line in lines]
    np.testing.assert_allclose(log_weights(pa.array(lines), ratio, 0), expected, rtol=0, atol=1e-9)


def test_the_ratio_is_of_smoothed_shares() -> None:
    found = log_ratio(np.array([3, 1, 0]), np.array([1, 0, 1]))
    expected = [math.log(0.75 + 1e-8) - math.log(0.5 + 1e-8), math.log(0.25 + 1e-8) - math.log(1e-8)]
    assert found[:2].tolist() == pytest.approx(expected)
    with pytest.raises(UserError, match="the target texts hold no word"):
        log_ratio(np.zeros(3), np.ones(3))


def test_the_chunk_takes_length_out_of_the_weight() -> None:
    ratio = np.random.default_rng(3).normal(size=1000)
    short, long = log_weights(pa.array(["rain falls " * 8, "rain falls " * 800]), ratio)
    assert short == pytest.approx(long, rel=0.05)


def test_draws_follow_seed_and_id_and_nothing_else() -> None:
    ids = pa.array([bytes([number % 256, number // 256]) + bytes(14) for number in range(5000)], pa.binary(16))
    first, other = uniform(ids, 1), uniform(ids, 2)
    assert uniform(ids.slice(7), 1).tolist() == first[7:].tolist()
    assert 0 < first.min() < first.max() < 1
    assert abs(np.corrcoef(first, other)[0, 1]) < 0.05
    assert gumbel(ids, 1).mean() == pytest.approx(0.5772, abs=0.06)  # Euler's constant
    assert len(set(first.tolist())) == 5000


def test_the_top_by_weight_and_noise_are_a_sample_by_weight() -> None:
    ids = pa.array([number.to_bytes(16) for number in range(20_000)], pa.binary(16))
    weights = np.log(np.where(np.arange(20_000) % 2, 3.0, 1.0))
    first = np.array([int((weights[k : k + 2] + gumbel(ids, 0)[k : k + 2]).argmax()) for k in range(0, 4000, 2)])
    assert first.mean() == pytest.approx(0.75, abs=0.03)
