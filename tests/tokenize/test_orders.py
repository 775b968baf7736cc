"""Every packing keeps the promises of the order: no end moves its beginning, and each position has its document."""

import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.corpus.errors import UserError
from tilth.tokenize import shards
from tilth.tokenize.bert_order import BertRows
from tilth.tokenize.mixture import Mixture
from tilth.tokenize.orders import Order, check_end, open_order, tokens_of
from tilth.tokenize.token_set import TokenSet

SPECIAL = {"class": 500, "padding": 2}
PACKINGS = [("cut", "none"), ("whole", "none"), ("segments", "none"), ("segments", "order"), ("segments", "next")]
WEIGHTS = {"law": 1.0, "wiki": 3.0}


@pytest.fixture(scope="module")
def token_set(
    make_token_set: Callable[..., TokenSet],
    prose: Callable[[int, int], list[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[TokenSet]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "BATCH_TOKENS", 700)
        parts = [[("wiki", prose(1, 60)), ("law", ["", *prose(2, 20)])], [("law", ["".join(prose(3, 20))])]]
        yield make_token_set(tmp_path_factory.mktemp("tokens"), parts)


def opened(token_set: TokenSet, packing: Any, pairs: Any, mixture: Mixture) -> Order:
    return open_order(token_set, packing, 32, 1, mixture, SPECIAL, pairs)


def rows_of(order: Order, first: int, count: int) -> np.ndarray:
    found = order.batch(first, count)
    if isinstance(found, BertRows):
        return np.stack([found.tokens, found.segments, found.types, found.follows], axis=1)
    return np.asarray(found)


@pytest.mark.parametrize(("packing", "pairs"), PACKINGS)
@settings(max_examples=8)
@given(first=st.integers(0, 800), count=st.integers(1, 200))
def test_a_limit_moves_nothing_before_it_and_any_reader_may_begin_anywhere(
    packing: str, pairs: str, token_set: TokenSet, first: int, count: int
) -> None:
    free = opened(token_set, packing, pairs, Mixture(WEIGHTS))
    capped = opened(token_set, packing, pairs, Mixture(WEIGHTS, epochs={"law": 1.5}))
    assert free.fingerprint != capped.fingerprint
    end = next(n for n in range(1, 2_000) if free.places.counts(n)["law"] > capped.places.limits["law"]) - 1
    np.testing.assert_array_equal(rows_of(capped, 0, end), rows_of(free, 0, end))
    whole = rows_of(capped, 0, 1_000)
    assert capped.places.epochs(1_000)["law"] <= 1.5
    sent = pickle.loads(pickle.dumps(capped))
    assert sent.fingerprint == capped.fingerprint
    np.testing.assert_array_equal(rows_of(sent, first, count), whole[first : first + count])


@pytest.mark.parametrize(("packing", "pairs"), PACKINGS)
def test_the_document_of_a_position_holds_its_token(packing: str, pairs: str, token_set: TokenSet) -> None:
    documents = {
        row["id"].hex(): row["tokens"]
        for part in token_set.parts
        for row in pa.ipc.open_file(token_set.folder / part.name).read_all().to_pylist()
    }
    order = opened(token_set, packing, pairs, Mixture())
    padded = 0
    for sample in range(sum(order.places.samples_per_epoch.values())):
        found = order.batch(sample, 1)
        row = found.tokens[0] if isinstance(found, BertRows) else found[0]
        full = len(tokens_of(found))
        behind = order.documents_at(sample)
        for offset in range(32):
            document = order.document_of(sample * 32 + offset)
            assert (document is None) == (offset >= full)
            if document is None:
                padded += 1
                continue
            assert document in behind
            assert row[offset] == SPECIAL["class"] or row[offset] in documents[document[0]]
    assert (padded == 0) if packing == "cut" else (padded > 0)


@pytest.mark.parametrize("packing", ["cut", "whole", "segments"])
def test_budgets_end_a_run_and_one_that_asks_for_more_is_refused_before_it_begins(
    packing: str, token_set: TokenSet
) -> None:
    order = opened(token_set, packing, "none", Mixture(budgets={"law": 3_200, "wiki": 6_400}))
    assert order.places.counts(300) == {"law": 100, "wiki": 200}
    check_end(order, 300)
    with pytest.raises(UserError, match="all sources end after 9,600 tokens, found a run of 9,632; raise a limit"):
        check_end(order, 301)
