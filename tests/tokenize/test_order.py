import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.corpus.errors import UserError
from tilth.tokenize import shards
from tilth.tokenize.order import TrainingOrder
from tilth.tokenize.places import permutation
from tilth.tokenize.shards import Encoding, ShardWriter
from tilth.tokenize.token_set import TokenSet, write_manifest
from tilth.tokenize.tokenizer import Tokenizer

MakeTokenSet = Callable[..., TokenSet]
Prose = Callable[[int, int], list[str]]
WEIGHTS = {"books": 0.2, "law": 0.5, "tiny": 0.0, "wiki": 0.3}


@pytest.fixture(scope="module")
def token_set(
    make_token_set: MakeTokenSet, prose: Prose, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TokenSet]:
    """Four sources, mixed in three parts of many record batches; 'tiny' has two tokens."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "BATCH_TOKENS", 700)
        wiki, law, books = prose(1, 60), prose(2, 40), prose(3, 9)
        parts = [
            [("wiki", wiki[:10]), ("law", law[:1]), ("wiki", wiki[10:20]), ("law", law[1:15])],
            [("books", books), ("tiny", ["\n\n"])],
            [("law", law[15:]), ("wiki", wiki[20:])],
        ]
        yield make_token_set(tmp_path_factory.mktemp("tokens"), parts)


def stream_of(token_set: TokenSet, source: str) -> list[int]:
    """Read a source's stream with nothing but pyarrow."""
    tokens: list[int] = []
    for part in token_set.parts:
        for row in pa.ipc.open_file(token_set.folder / part.name).read_all().to_pylist():
            tokens += row["tokens"] if row["source"] == source else []
    return tokens


def epoch_size(order: TrainingOrder) -> int:
    return sum(order.samples_per_epoch.values())


@settings(deadline=None, max_examples=25)
@given(length=st.integers(1, 300), seed=st.integers(0, 5), epoch=st.integers(0, 2))
def test_every_token_of_every_source_is_predicted_once_an_epoch(
    length: int, seed: int, epoch: int, token_set: TokenSet
) -> None:
    order = TrainingOrder(token_set, length, seed)
    size = epoch_size(order)
    found = sorted(map(tuple, order.batch(epoch * size, size).tolist()))
    expected = []
    for source in order.sources:
        stream = stream_of(token_set, source)
        samples = range(0, len(stream) - length, length)
        assert order.samples_per_epoch[source] == len(samples)
        assert len(stream) - 1 - len(samples) * length < length  # the tail
        expected += [tuple(stream[start : start + length + 1]) for start in samples]
    assert found == sorted(expected)


@settings(deadline=None, max_examples=40)
@given(first=st.integers(0, 3_000), count=st.integers(0, 400), weighted=st.booleans())
def test_the_first_samples_do_not_depend_on_how_many_are_asked_for(
    first: int, count: int, weighted: bool, token_set: TokenSet
) -> None:
    weights = WEIGHTS if weighted else None
    whole = TrainingOrder(token_set, 16, 1, weights).batch(0, 3_400)
    assert len(whole) > 3 * epoch_size(TrainingOrder(token_set, 16, 1))  # far past an epoch
    np.testing.assert_array_equal(
        TrainingOrder(token_set, 16, 1, weights).batch(first, count), whole[first : first + count]
    )


@pytest.mark.parametrize("readers", [1, 2, 3, 8])
def test_any_number_of_readers_sees_the_same_order(readers: int, token_set: TokenSet) -> None:
    expected = TrainingOrder(token_set, 16, 1, WEIGHTS).batch(0, 40 * 24)
    orders = [TrainingOrder(token_set, 16, 1, WEIGHTS) for _ in range(readers)]
    share = 24 // readers
    steps = [
        np.concatenate([order.batch(step * 24 + reader * share, share) for reader, order in enumerate(orders)])
        for step in range(40)
    ]
    np.testing.assert_array_equal(np.concatenate(steps), expected)


def test_another_seed_another_epoch_and_another_source_are_shuffled_anew(token_set: TokenSet) -> None:
    order, other = TrainingOrder(token_set, 16, 1), TrainingOrder(token_set, 16, 2)
    size = epoch_size(order)
    assert not np.array_equal(order.batch(0, size), other.batch(0, size))
    assert not np.array_equal(order.batch(0, size), order.batch(size, size))
    assert not np.array_equal(permutation(0, 0, "wiki", 100), permutation(0, 0, "law", 100))


@pytest.mark.parametrize("samples", [1, 7, 100, 1_234])
def test_weights_are_honoured_to_within_one_sample(samples: int, token_set: TokenSet) -> None:
    order = TrainingOrder(token_set, 16, 1, WEIGHTS)
    assert order.sources == ("books", "law", "wiki")
    for source, repeats in order.repeats(samples).items():
        assert abs(repeats * order.samples_per_epoch[source] - WEIGHTS[source] * samples) < 1
    seen = [order.documents_at(sample)[0][1] for sample in range(samples)]
    for source in order.sources:
        assert seen.count(source) == round(order.repeats(samples)[source] * order.samples_per_epoch[source])


def test_without_weights_every_source_ends_its_epoch_together(token_set: TokenSet) -> None:
    order = TrainingOrder(token_set, 16, 1)
    assert set(order.repeats(epoch_size(order)).values()) == {1.0}


def test_a_source_ends_after_its_epochs_and_the_others_go_on(token_set: TokenSet) -> None:
    free = TrainingOrder(token_set, 16, 1, WEIGHTS)
    capped = TrainingOrder(token_set, 16, 1, WEIGHTS, epochs={"law": 1.5, "books": 2})
    size = capped.samples_per_epoch
    assert capped.fingerprint != free.fingerprint
    limits = {"law": int(1.5 * size["law"]), "books": 2 * size["books"]}
    end = next(n for n in range(1, 5_000) if any(capped.places.counts(n)[name] == limits[name] for name in limits))
    np.testing.assert_array_equal(capped.batch(0, end), free.batch(0, end))
    later = capped.repeats(end + 2_000)
    assert later["law"] == int(1.5 * size["law"]) / size["law"]
    assert later["books"] == 2
    assert later["wiki"] > free.repeats(end + 2_000)["wiki"]
    whole = capped.batch(0, end + 2_000)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(capped)).batch(end - 5, 500), whole[end - 5 : end + 495])


def test_budgets_of_tokens_are_kept_and_end_the_run(token_set: TokenSet) -> None:
    budgets = {"books": 1_600, "law": 8_000, "tiny": 0, "wiki": 3_200}
    order = TrainingOrder(token_set, 16, 1, budgets=budgets)
    assert order.places.total == 800
    assert order.places.counts(800) == {"books": 100, "law": 500, "wiki": 200}
    assert order.places.counts(80) == {"books": 10, "law": 50, "wiki": 20}
    assert order.batch(0, 800).shape == (800, 17)
    with pytest.raises(UserError, match="epochs and budgets end after 800 samples, found a run that asks for 801"):
        order.batch(700, 101)


def test_the_document_of_a_position_is_the_one_whose_token_stands_there(token_set: TokenSet) -> None:
    order = TrainingOrder(token_set, 16, 1)
    documents = {}
    for part in token_set.parts:
        for row in pa.ipc.open_file(token_set.folder / part.name).read_all().to_pylist():
            documents[row["id"].hex()] = row
    for position in range(0, 16 * epoch_size(order), 7):
        document, source = order.document_of(position)
        assert (document, source) in order.documents_at(position // 16)
        assert documents[document]["source"] == source
        assert order.batch(position // 16, 1)[0, position % 16] in documents[document]["tokens"]


def test_the_documents_behind_a_sample_are_those_whose_tokens_it_holds(token_set: TokenSet) -> None:
    order = TrainingOrder(token_set, 64, 1)
    documents = {}
    for part in token_set.parts:
        for row in pa.ipc.open_file(token_set.folder / part.name).read_all().to_pylist():
            documents[row["id"].hex()] = row
    for sample in range(0, 2 * epoch_size(order), 3):
        tokens = order.batch(sample, 1)[0].tolist()
        found = order.documents_at(sample)
        whole = [token for document, _ in found for token in documents[document]["tokens"]]
        starts = [at for at in range(len(whole)) if whole[at : at + 65] == tokens]
        assert any(
            at < len(documents[found[0][0]]["tokens"]) and at + 65 > len(whole) - len(documents[found[-1][0]]["tokens"])
            for at in starts
        )
        assert all(documents[document]["source"] == source for document, source in found)


def test_a_source_too_small_for_a_sample_is_left_out_and_named(token_set: TokenSet) -> None:
    order = TrainingOrder(token_set, 16, 1)
    assert order.left_out == {"tiny": 2}
    assert order.sources == ("books", "law", "wiki")
    assert TrainingOrder(token_set, 1, 1).left_out == {}


def test_a_source_too_small_for_the_weight_it_was_given_is_refused(token_set: TokenSet) -> None:
    with pytest.raises(UserError, match="source 'tiny' is too small for one sample of 16 tokens"):
        TrainingOrder(token_set, 16, 1, {**WEIGHTS, "tiny": 0.1})


@pytest.mark.parametrize(
    ("length", "seed", "weights", "message"),
    [
        (0, 1, None, "sequence_length: found 0"),
        (16, -1, None, "seed: found -1"),
        (10**6, 1, None, "no source fills one sample of 1000000 tokens"),
        (16, 1, {"wiki": 1.0}, "weights: found wiki, expected one for each of books, law, tiny, wiki; give 0"),
        (16, 1, {**WEIGHTS, "web": 1.0}, "weights: found books, law, tiny, web, wiki, expected"),
        (16, 1, {}, "weights: found none"),
        (16, 1, dict.fromkeys(WEIGHTS, 0.0), "all are 0"),
        (16, 1, {**WEIGHTS, "law": -1.0}, "source 'law' has -1.0, expected a number of at least 0"),
    ],
)
def test_what_makes_no_order_is_refused(
    length: int, seed: int, weights: dict[str, float] | None, message: str, token_set: TokenSet
) -> None:
    with pytest.raises(UserError, match=message):
        TrainingOrder(token_set, length, seed, weights)


def test_the_fingerprint_follows_all_that_decides_the_order(
    token_set: TokenSet, make_token_set: MakeTokenSet, prose: Prose, tmp_path: Path
) -> None:
    other = make_token_set(tmp_path, [[("wiki", prose(8, 20))]])
    orders = [
        TrainingOrder(token_set, 16, 1),
        TrainingOrder(token_set, 17, 1),
        TrainingOrder(token_set, 16, 2),
        TrainingOrder(token_set, 16, 1, WEIGHTS),
        TrainingOrder(token_set, 16, 1, {**WEIGHTS, "law": 0.51}),
        TrainingOrder(other, 16, 1),
    ]
    assert len({order.fingerprint for order in orders}) == len(orders)
    assert TrainingOrder(TokenSet.open(token_set.folder), 16, 1).fingerprint == orders[0].fingerprint
    scaled = {name: 10 * weight for name, weight in WEIGHTS.items()}
    assert TrainingOrder(token_set, 16, 1, scaled).fingerprint == orders[3].fingerprint


def test_a_run_resumes_where_it_stood_and_refuses_changed_content(
    token_set: TokenSet, make_token_set: MakeTokenSet, prose: Prose, tmp_path: Path
) -> None:
    state = TrainingOrder(token_set, 16, 1).state(120)
    assert state["tokens"] == 120 * 16
    assert TrainingOrder(token_set, 16, 1).resume(state) == 120
    changed = make_token_set(tmp_path, [[("wiki", prose(8, 20))]])
    with pytest.raises(UserError, match="the checkpoint was trained on order"):
        TrainingOrder(changed, 16, 1).resume(state)


def test_an_order_travels_to_another_process_as_its_arguments(token_set: TokenSet) -> None:
    order = TrainingOrder(token_set, 16, 1, WEIGHTS)
    sent = pickle.dumps(order)
    assert len(sent) < 2_000
    np.testing.assert_array_equal(pickle.loads(sent).batch(50, 20), order.batch(50, 20))


def test_the_permutation_never_changes() -> None:
    """Golden vectors: raw Philox output keyed by xxh3-128 of "seed/epoch/source", sorted. They pin VERSION."""
    assert permutation(0, 0, "wiki", 8).tolist() == [5, 1, 3, 4, 2, 6, 7, 0]
    assert permutation(7, 3, "law", 8).tolist() == [1, 6, 7, 4, 0, 5, 3, 2]


@settings(deadline=None)
@given(st.integers(0, 2**63 - 1), st.integers(0, 1_000), st.text(max_size=5), st.integers(0, 300))
def test_a_permutation_names_every_sample_once(seed: int, epoch: int, source: str, count: int) -> None:
    assert sorted(permutation(seed, epoch, source, count).tolist()) == list(range(count))


def test_samples_are_int64_of_any_shard_type(tokenizer: Tokenizer, tmp_path: Path) -> None:
    large = Encoding("0" * 32, 70_000, 1)
    documents = pa.record_batch(
        [pa.array([b"0" * 16], pa.binary(16)), pa.array(["wiki"]), pa.array([9])], names=["id", "source", "bytes"]
    )
    with ShardWriter(tmp_path / "part-00000.arrow", large, np.dtype(np.uint32)) as writer:
        writer.write(documents, np.array([69_999, 5, 69_998, 1], np.uint32), np.array([0, 4]))
        part = writer.commit()
    with pytest.raises(UserError, match="made with tokenizer 0000"):
        write_manifest(tmp_path, tokenizer, [part])
    batch = TrainingOrder(TokenSet(tmp_path, large, (part,)), 2, 0).batch(0, 1)
    assert batch.dtype == np.int64
    assert batch.tolist() == [[69_999, 5, 69_998]]
