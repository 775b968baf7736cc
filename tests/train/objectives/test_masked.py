"""Masking: exact rates, exact shares, whole words, spans of the published length, and the same for whoever asks."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.train.objectives.batch import documents_of
from tilth.train.objectives.causal import Causal
from tilth.train.objectives.draw import drawn, stream, unit
from tilth.train.objectives.masked import Masked, Masking
from tilth.train.objectives.proposals import span_lengths
from tilth.train.objectives.vocabulary import Vocabulary, begins_word

SIZE = 500
MASK, FIRST, SEPARATOR = 3, 2, 1
PROPOSALS = ("tokens", "words", "spans")


def vocabulary(size: int = SIZE) -> Vocabulary:
    special = np.arange(size) < 4
    return Vocabulary(MASK, FIRST, SEPARATOR, special, np.arange(size) % 3 > 0, np.flatnonzero(~special))


def rows(count: int, positions: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    made = generator.integers(4, SIZE, (count, positions))
    made[generator.random(made.shape) < 0.005] = SEPARATOR
    return made


def words_of(tokens: np.ndarray) -> list[tuple[int, int]]:
    """Bounds of the words of a row, slowly."""
    bounds: list[tuple[int, int]] = []
    for place, token in enumerate(tokens.tolist()):
        if token < 4:
            continue
        if bounds and bounds[-1][1] == place and token % 3 == 0:
            bounds[-1] = (bounds[-1][0], place + 1)
        else:
            bounds.append((place, place + 1))
    return bounds


def test_the_generator_is_splitmix64() -> None:
    # the first outputs for the seed 1234567, as published with the reference implementation (Vigna, splitmix64.c)
    expected = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert [int(drawn(np.uint64(1234567), number)) for number in range(5)] == expected


def test_units_lie_from_0_to_below_1() -> None:
    assert unit(np.uint64(0)) == 0.0
    assert unit(np.uint64(2**64 - 1)) < 1.0


def test_streams_differ_by_seed_sample_and_purpose() -> None:
    states = {int(stream(seed, sample, purpose)) for seed in range(9) for sample in range(9) for purpose in range(3)}
    assert len(states) == 9 * 9 * 3


@pytest.mark.parametrize("proposals", PROPOSALS)
@pytest.mark.parametrize(("rate", "masked", "replaced"), [(0.15, 0.8, 0.1), (0.3, 0.5, 0.25)])
def test_rates_hold_to_two_in_a_thousand_over_a_million_tokens(
    proposals: str, rate: float, masked: float, replaced: float
) -> None:
    labels = rows(2048, 512)
    masking = Masking(11, proposals, rate, masked, replaced)
    seen, chosen = masking.apply(labels, 0, vocabulary())
    told = labels[chosen]
    assert chosen.sum() / (labels >= 4).sum() == pytest.approx(rate, abs=0.002)
    assert (seen[chosen] == MASK).mean() == pytest.approx(masked, abs=0.002)
    kept = 1 - masked - replaced + replaced / (SIZE - 4)  # one replacement in so many is the token itself
    assert (seen[chosen] == told).mean() == pytest.approx(kept, abs=0.002)


@pytest.mark.parametrize("proposals", PROPOSALS)
def test_nothing_else_changes_and_no_special_token_is_touched_or_made(proposals: str) -> None:
    labels = rows(64, 128)
    seen, chosen = Masking(5, proposals).apply(labels, 40, vocabulary())
    assert (seen[~chosen] == labels[~chosen]).all()
    assert not chosen[labels < 4].any()
    assert (seen[chosen] >= MASK).all()  # the mask, or an ordinary token


@settings(max_examples=30)
@given(
    st.sampled_from(PROPOSALS),
    st.integers(0, 2**62),
    st.integers(0, 2**40),
    st.integers(1, 90),
    st.floats(0.01, 0.9),
)
def test_every_row_is_within_a_token_of_its_rate_and_a_word_or_span_beyond(
    proposals: str, seed: int, first: int, positions: int, rate: float
) -> None:
    labels = rows(4, positions, seed % 1000)
    _, chosen = Masking(seed, proposals, rate).apply(labels, first, vocabulary())
    longest = {"tokens": 1, "words": positions, "spans": positions}[proposals]
    for row, picked in zip(labels, chosen, strict=True):
        wanted = rate * (row >= 4).sum()
        assert picked.sum() <= wanted + longest
        if proposals == "tokens":
            assert abs(picked.sum() - wanted) < 1 + 1e-9


@settings(max_examples=20)
@given(st.sampled_from(PROPOSALS), st.integers(0, 2**62), st.integers(0, 1000), st.integers(1, 7))
def test_a_row_is_masked_the_same_whoever_asks_for_it(proposals: str, seed: int, first: int, cut: int) -> None:
    labels, masking = rows(8, 64), Masking(seed, proposals)
    whole = masking.apply(labels, first, vocabulary())
    parts = [
        masking.apply(labels[:cut], first, vocabulary()),
        masking.apply(labels[cut:], first + cut, vocabulary()),
    ]
    for number in range(2):
        assert (np.concatenate([part[number] for part in parts]) == whole[number]).all()


def test_another_time_round_is_another_mask() -> None:
    labels = rows(1, 512)
    masks = {Masking(1).apply(labels, first, vocabulary())[1].tobytes() for first in range(20)}
    masks |= {Masking(seed).apply(labels, 0, vocabulary())[1].tobytes() for seed in range(2, 20)}
    assert len(masks) == 38


@pytest.mark.parametrize("proposals", ["words", "spans"])
def test_words_are_masked_whole(proposals: str) -> None:
    labels = rows(64, 256)
    _, chosen = Masking(3, proposals).apply(labels, 0, vocabulary())
    for row, picked in zip(labels, chosen, strict=True):
        for start, end in words_of(row):
            assert picked[start:end].all() or not picked[start:end].any()


def test_every_word_is_as_likely_as_every_other() -> None:
    labels = np.array([[4, 3 * 2, 5, 7, 8, 3 * 3, 3 * 4, 10]])  # words of 2, 1, 1, 3 and 1 tokens
    hits = sum(Masking(seed, "words", 0.25).apply(labels, 0, vocabulary())[1].astype(int) for seed in range(20_000))
    share = np.asarray(hits).ravel() / 20_000
    assert share.mean() == pytest.approx(0.25, abs=0.01)
    assert np.ptp(share) < 0.12  # a long word finds room less often at the end, and more is not wanted


def test_spans_have_spanberts_lengths() -> None:
    lengths = np.diff(span_lengths(0.2, 10), prepend=0.0)
    assert (lengths @ np.arange(1, 11)) == pytest.approx(3.8, abs=0.005)  # the mean of Joshi et al. 2020, section 3.1
    labels = rows(512, 512)
    _, chosen = Masking(9, "spans").apply(labels, 0, vocabulary())
    found = []
    for row, picked in zip(labels, chosen, strict=True):
        starts = np.flatnonzero(np.diff(picked.astype(int), prepend=0) == 1)
        bounds = words_of(row)
        for start in starts:
            end = start + int(np.argmin(np.append(picked[start:], False)))
            found.append(sum(start <= first and last <= end for first, last in bounds))
    # spans that touch count as one, spans that meet another or a document's end are cut
    assert 3.2 < np.mean(found) < 4.6


def test_a_span_has_one_fate() -> None:
    labels = rows(256, 128)
    seen, chosen = Masking(9, "spans", rate=0.1).apply(labels, 0, vocabulary())
    together = 0
    for row, told, picked in zip(seen, labels, chosen, strict=True):
        fate = np.where(row == MASK, 0, np.where(row == told, 2, 1))
        for left, right in pairwise(np.flatnonzero(picked)):
            if right == left + 1:
                together += int(fate[left] == fate[right]) * 2 - 1
    assert together > 0.9 * sum(
        int(right == left + 1) for picked in chosen for left, right in pairwise(np.flatnonzero(picked))
    )


def test_a_row_of_special_tokens_is_left_alone() -> None:
    for proposals in PROPOSALS:
        seen, chosen = Masking(1, proposals).apply(np.full((2, 9), SEPARATOR), 0, vocabulary())
        assert not chosen.any()
        assert (seen == SEPARATOR).all()


def test_a_masked_batch_has_its_labels_and_every_position() -> None:
    made = rows(4, 65)
    batch = Masked(Masking(1), vocabulary(), document_mask=True).collate(made, 12)
    assert (batch.labels == made[:, :-1]).all()
    assert batch.tokens.shape == batch.counts.shape == (4, 64)
    assert batch.documents is not None
    part = batch.rows(1, 2)
    assert (part.tokens == batch.tokens[1:3]).all()
    assert part.types is None


def test_causal_labels_are_the_next_tokens() -> None:
    made = rows(3, 17)
    batch = Causal().collate(made, 5)
    assert (batch.tokens == made[:, :-1]).all()
    assert (batch.labels == made[:, 1:]).all()
    assert batch.counts.all()
    assert batch.documents is None


def test_a_separator_begins_the_document_that_follows_it() -> None:
    assert documents_of(np.array([[5, 6, 1, 7, 1, 1, 8]]), 1).tolist() == [[0, 0, 1, 1, 2, 3, 3]]


@pytest.mark.parametrize(
    ("kind", "piece", "begins"),
    [
        ("wordpiece", "row", True),
        ("wordpiece", "##s", False),
        ("sentencepiece-bpe", "\u2581row", True),
        ("sentencepiece-bpe", "row", False),
        ("sentencepiece-bpe", ",", True),
        ("sentencepiece-bpe", "\n", True),
        ("sentencepiece-bpe", "<0xE3>", False),
        ("sentencepiece-bpe", "\u010aimba", False),  # a letter there, a newline in the next
        ("byte-bpe", "\u010aimba", True),
        ("byte-bpe", "\u0120row", True),
        ("byte-bpe", "row", False),
        ("bytes", "<0x41>", False),
        ("bytes", "<0x20>", True),
        ("bytes", "<0xC3>", False),
    ],
)
def test_pieces_say_whether_they_begin_a_word(kind: str, piece: str, begins: bool) -> None:
    assert begins_word(piece, kind) is begins


def test_a_vocabulary_is_read_from_a_tokenizer(token_folder: Any) -> None:
    from tilth.corpus.errors import UserError
    from tilth.tokenize.tokenizer import Tokenizer

    with pytest.raises(UserError, match="no special token for mask"):
        Vocabulary.of(Tokenizer.load(token_folder / "tokenizer.model"))
