"""The cut: as many of the best bytes as fit, the same whichever way the documents were read."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tilth.corpus.errors import UserError
from tilth.selection.cut import Cut, at_or_above, choose_cut

# Few scores and few id bytes, so that ties, zero bytes and long common prefixes are the rule.
ids = st.lists(st.sampled_from([0, 1, 255]), min_size=16, max_size=16).map(bytes) | st.binary(min_size=16, max_size=16)
document = st.tuples(st.sampled_from([-1.5, 0.0, 0.25, 0.5, 1.0]), ids, st.integers(0, 12))
corpus = st.lists(document, min_size=1, max_size=30, unique_by=lambda row: row[1])
fractions = st.sampled_from([0.01, 0.1, 0.3, 0.5, 0.7, 0.99, 1.0])


def arrays(rows: list[tuple[float, bytes, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scores, names, sizes = zip(*rows, strict=True)
    return np.array(scores, np.float64), np.frombuffer(b"".join(names), "V16"), np.array(sizes, np.int64)


def ranked(rows: list[tuple[float, bytes, int]]) -> list[tuple[float, bytes, int]]:
    return sorted(rows, key=lambda row: (-row[0], row[1]))


@given(corpus, fractions)
def test_the_longest_run_of_best_documents_that_fits_is_kept(
    rows: list[tuple[float, bytes, int]], fraction: float
) -> None:
    budget = Fraction(str(fraction)) * sum(row[2] for row in rows)
    expected, size = [], 0
    for row in ranked(rows):
        if expected and size + row[2] > budget:
            break
        expected.append(row)
        size += row[2]
    cut = choose_cut(*arrays(rows), fraction)
    assert cut == Cut(expected[-1][0], expected[-1][1].hex(), len(expected), size)


@given(corpus, fractions)
def test_the_documents_at_or_above_the_cut_are_those_it_counts(
    rows: list[tuple[float, bytes, int]], fraction: float
) -> None:
    scores, names, sizes = arrays(rows)
    cut = choose_cut(scores, names, sizes, fraction)
    kept = at_or_above(scores, names, cut.score, cut.id)
    assert (kept.sum(), sizes[kept].sum()) == (cut.documents, cut.bytes)
    assert [row for row, keep in zip(rows, kept, strict=True) if keep] == [
        row for row in rows if row in ranked(rows)[: cut.documents]
    ]


@given(corpus, fractions, st.randoms(use_true_random=False))
def test_the_order_of_reading_does_not_matter(
    rows: list[tuple[float, bytes, int]], fraction: float, random: object
) -> None:
    shuffled = rows.copy()
    random.shuffle(shuffled)
    assert choose_cut(*arrays(shuffled), fraction) == choose_cut(*arrays(rows), fraction)


@given(corpus)
@example([(1.0, bytes(16), 4), (1.0, bytes(15) + b"\1", 4)])
def test_ids_in_any_form_of_sixteen_bytes_give_one_cut(rows: list[tuple[float, bytes, int]]) -> None:
    scores, names, sizes = arrays(rows)
    expected = choose_cut(scores, names, sizes, 0.5)
    assert choose_cut(scores, names.view("S16"), sizes, 0.5) == expected
    assert choose_cut(scores, names.view(np.uint8).reshape(-1, 16), sizes, 0.5) == expected


def test_ids_that_end_in_zero_bytes_stay_apart() -> None:
    names = np.array([b"a" + bytes(15), b"a" + bytes(14) + b"\1", b"a" + bytes(13) + b"\1\0"], "S16")
    for kept, name in enumerate(names, 1):
        cut = choose_cut(np.ones(3), names, np.full(3, 10), min(1.0, (10 * kept + 5) / 30))
        assert cut.id == name.ljust(16, b"\0").hex()
        assert at_or_above(np.ones(3), names, cut.score, cut.id).sum() == cut.documents == kept


def test_the_fraction_means_what_is_written() -> None:
    names = np.arange(10).astype(">u8").view("V8").astype("V16")
    assert choose_cut(-np.arange(10.0), names, np.ones(10, np.int64), 0.3).documents == 3  # 0.3 * 10 < 3 in binary
    assert choose_cut(-np.arange(10.0), names, np.ones(10, np.int64), 0.7).documents == 7


def test_a_best_document_larger_than_the_share_is_kept_alone() -> None:
    cut = choose_cut(*arrays([(0.9, b"b" * 16, 100), (0.9, b"a" * 16, 90), (0.1, b"c" * 16, 1)]), 0.01)
    assert cut == Cut(0.9, (b"a" * 16).hex(), 1, 90)


def test_a_large_document_ends_the_run_even_if_smaller_ones_follow() -> None:
    cut = choose_cut(*arrays([(0.9, b"a" * 16, 10), (0.8, b"b" * 16, 80), (0.7, b"c" * 16, 10)]), 0.5)
    assert cut == Cut(0.9, (b"a" * 16).hex(), 1, 10)


def test_single_precision_scores_are_cut_exactly() -> None:
    scores = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    names = np.frombuffer(bytes(range(64)), "V16")
    cut = choose_cut(scores, names, np.ones(4, np.int64), 0.5)
    assert at_or_above(scores, names, cut.score, cut.id).tolist() == [False, False, True, True]


@pytest.mark.parametrize(
    ("scores", "sizes", "fraction", "complaint"),
    [
        ([0.1, float("nan")], [1, 1], 0.5, "1 of 2 scores are not finite"),
        ([0.1, float("inf")], [1, 1], 0.5, "1 of 2 scores are not finite"),
        ([0.1, 0.2], [1, -1], 0.5, "-1 bytes"),
        ([0.1, 0.2], [1, 1], 0.0, "fraction: found 0.0"),
        ([0.1, 0.2], [1, 1], 1.5, "fraction: found 1.5"),
        ([0.1, 0.2], [1, 1], float("nan"), "fraction: found nan"),
        ([], [], 0.5, "no documents"),
    ],
)
def test_what_has_no_answer_is_refused(scores: list[float], sizes: list[int], fraction: float, complaint: str) -> None:
    names = np.frombuffer(bytes(range(16 * len(scores))), "V16") if scores else np.zeros(0, "V16")
    with pytest.raises(UserError, match=complaint):
        choose_cut(np.array(scores), names, np.array(sizes, np.int64), fraction)


def test_one_id_twice_at_the_cut_is_refused() -> None:
    rows = [(0.5, b"a" * 16, 10), (0.5, b"a" * 16, 10)]
    with pytest.raises(UserError, match=f"two documents have the id {(b'a' * 16).hex()}"):
        choose_cut(*arrays(rows), 0.5)
