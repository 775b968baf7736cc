import pickle
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
import pyarrow as pa
import pytest

from tilth.corpus.errors import UserError
from tilth.tokenize import shards
from tilth.tokenize.bert_order import BertOrder, split_pairs
from tilth.tokenize.packed_order import PackedOrder
from tilth.tokenize.token_set import TokenSet

Prose = Callable[[int, int], list[str]]
SPECIAL = {"class": 500, "padding": 2}


@pytest.fixture(scope="module")
def token_set(
    make_token_set: Callable[..., TokenSet], prose: Prose, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TokenSet]:
    """Two sources in many record batches, with an empty document and one longer than most rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "BATCH_TOKENS", 700)
        wiki, law = prose(1, 80), prose(2, 60)
        long = ["".join(prose(3, 20))]
        parts = [[("wiki", wiki[:30]), ("law", law[:5]), ("wiki", ["", *wiki[30:]])], [("law", law[5:] + long)]]
        yield make_token_set(tmp_path_factory.mktemp("tokens"), parts)


def documents_of(token_set: TokenSet) -> dict[str, list[int]]:
    rows = [
        row for part in token_set.parts for row in pa.ipc.open_file(token_set.folder / part.name).read_all().to_pylist()
    ]
    return {row["id"].hex(): row["tokens"] for row in rows}


def epoch_size(order: PackedOrder | BertOrder) -> int:
    return sum(order.places.samples_per_epoch.values())


@pytest.mark.parametrize("length", [1, 20, 300])
def test_every_token_is_in_one_row_an_epoch_and_whole_documents_are_whole(length: int, token_set: TokenSet) -> None:
    order = PackedOrder(token_set, length, 1, padding=2)
    size = epoch_size(order)
    documents = documents_of(token_set)
    rows, filled = order.batch(0, size), order.filled(0, size)
    assert Counter(token for row, n in zip(rows, filled, strict=True) for token in row[:n].tolist()) == Counter(
        token for tokens in documents.values() for token in tokens
    )
    assert all((row[n:] == 2).all() for row, n in zip(rows, filled, strict=True))
    assert order.fill() == filled.sum() / rows.size
    for sample in range(size):
        at, row = 0, rows[sample].tolist()
        for document, _ in order.documents_at(sample):
            tokens = documents[document]
            if len(tokens) <= length + 1:
                assert row[at : at + len(tokens)] == tokens
                at += len(tokens)
            else:
                break  # a piece of a long document


def test_rows_do_not_depend_on_how_many_are_asked_for(token_set: TokenSet) -> None:
    order = PackedOrder(token_set, 64, 3, {"law": 1, "wiki": 2})
    whole = order.batch(0, 500)
    assert 2 * epoch_size(order) < 500
    sent = pickle.loads(pickle.dumps(order))
    np.testing.assert_array_equal(sent.batch(123, 200), whole[123:323])
    assert sent.fingerprint == order.fingerprint
    assert PackedOrder(token_set, 64, 4, {"law": 1, "wiki": 2}).fingerprint != order.fingerprint


@pytest.mark.parametrize("pairs", ["none", "order", "next"])
@pytest.mark.parametrize("length", [32, 128])
def test_bert_rows_hold_every_token_once_and_are_full(
    pairs: Literal["none", "order", "next"], length: int, token_set: TokenSet
) -> None:
    order = BertOrder(token_set, length, 1, SPECIAL, pairs=pairs)
    size = epoch_size(order)
    rows = order.batch(0, size)
    separator = token_set.encoding.separator
    inside = rows.tokens[rows.segments >= 0]
    expected = Counter(token for tokens in documents_of(token_set).values() for token in tokens[:-1])
    found = Counter(inside.tolist())
    assert found[500] == (np.diff(rows.segments, prepend=-1) != 0)[rows.segments >= 0].sum()
    for special in (500, separator):
        del found[special]
    assert found == expected
    assert (rows.tokens[rows.segments < 0] == SPECIAL["padding"]).all()
    full = rows.segments >= 0
    assert full.mean() >= 0.97 - 2 * length / full.size  # the last row of each source
    assert order.fill() >= 0.97 - 2 * length / full.size


def segments_of(order: BertOrder, count: int) -> Iterator[tuple[list[int], list[int], int]]:
    rows = order.batch(0, count)
    for row in range(count):
        for number in range(rows.segments[row].max() + 1):
            these = rows.segments[row] == number
            yield rows.tokens[row][these].tolist(), rows.types[row][these].tolist(), int(rows.follows[row][these][0])


def test_a_pair_follows_exactly_where_it_says_so(token_set: TokenSet) -> None:
    text = {}
    for document, tokens in documents_of(token_set).items():
        text[document] = " " + " ".join(map(str, tokens[:-1])) + " "
    for pairs in ("order", "next"):
        order = BertOrder(token_set, 64, 1, SPECIAL, pairs=pairs)  # type: ignore[arg-type]
        labels = []
        for tokens, types, follows in segments_of(order, epoch_size(order)):
            assert tokens[0] == 500
            assert tokens[-1] == token_set.encoding.separator
            if follows < 0:
                assert 1 not in types
                continue
            middle = types.index(1)
            assert tokens[middle - 1] == token_set.encoding.separator
            first, second = tokens[1 : middle - 1], tokens[middle:-1]
            joined = first + second if follows or pairs == "next" else second + first
            there = any(" " + " ".join(map(str, joined)) + " " in whole for whole in text.values())
            if follows or pairs == "order":
                assert there
            elif min(len(first), len(second)) > 5:  # short ones may meet by chance
                assert not there
            labels.append(follows)
        assert 0.4 < np.mean(labels) < 0.6


def test_the_same_rows_come_again_in_another_process_and_another_epoch_differs(token_set: TokenSet) -> None:
    order = BertOrder(token_set, 64, 1, SPECIAL, pairs="next")
    size = epoch_size(order)
    sent = pickle.loads(pickle.dumps(order))
    np.testing.assert_array_equal(sent.batch(5, 9).tokens, order.batch(0, 20).tokens[5:14])
    assert not np.array_equal(order.batch(0, size).tokens, order.batch(size, size).tokens)


def test_single_tokens_have_no_pair() -> None:
    parts, follows = split_pairs([np.array([7])], "next", np.random.default_rng(0))
    assert ([[one.tolist() for one in part] for part in parts], follows) == ([[[7]]], [-1])


def test_what_bert_cannot_do_without_is_named(token_set: TokenSet) -> None:
    with pytest.raises(UserError, match="found no id for class, padding"):
        BertOrder(token_set, 64, 1, {})
    with pytest.raises(UserError, match="sequence_length: found 3"):
        BertOrder(token_set, 3, 1, SPECIAL)
