"""The ledger's law: no document and no byte leaves a stage without a reason, and no stage says what is not so."""

import contextlib
import dataclasses
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from example_chains import bytes_below
from example_stages import edit, with_texts
from hypothesis import assume, given
from hypothesis import strategies as st

from tilth.corpus.document import DOCUMENT, DROP, EDIT, document_id, documents
from tilth.corpus.ledger import Account, LedgerError, splitmix
from tilth.corpus.stage import Effect, Outcome, drop_rows
from tilth.corpus.store import PartWriter, Receipt

SOURCES = st.sampled_from(["farm", "web"])
CORPUS = st.lists(st.tuples(SOURCES, st.text(max_size=12)), max_size=12)
Records = list[tuple[str, str]]


def batch(records: Records, first: int = 0) -> pa.RecordBatch:
    """Return documents located by their number, as the middle of a larger batch: every Arrow offset is above zero."""
    padded = [("farm", "before"), *records, ("web", "after")]
    whole = documents(
        {
            "id": [document_id(source, f"{first + number}") for number, (source, _) in enumerate(padded)],
            "text": [text for _, text in padded],
            "source": [source for source, _ in padded],
        }
    )
    return whole.slice(1, len(records))


def balanced(effect: Effect, said: Sequence[tuple[pa.RecordBatch, Outcome]]) -> Account:
    """Return the account of a part, checked."""
    account = Account()
    for came, outcome in said:
        account.judge(came, outcome, effect)
    account.check("stage", 0)
    return account


def committed(folder: Path, effect: Effect, said: Sequence[tuple[pa.RecordBatch, Outcome]]) -> Receipt:
    """Commit a part to ``folder``."""
    with PartWriter(folder, 0, "f", effect) as writer:
        for came, outcome in said:
            writer.judge(came, outcome)
        return writer.commit()


def filtered(came: pa.RecordBatch, mask: Sequence[bool]) -> Outcome:
    gone = np.array(mask, bool)
    return Outcome(came.filter(pa.array(~gone)), drop_rows(came, gone, "stage", "rule"))


@st.composite
def corpora_and_masks(draw: st.DrawFn) -> tuple[list[Records], list[list[bool]]]:
    parts = draw(st.lists(CORPUS, max_size=4))
    return parts, [draw(st.lists(st.booleans(), min_size=len(part), max_size=len(part))) for part in parts]


# what honest stages say


@given(corpora_and_masks())
def test_an_honest_filter_balances(case: tuple[list[Records], list[list[bool]]]) -> None:
    parts, masks = case
    came = [batch(records, 100 * number) for number, records in enumerate(parts)]
    account = balanced(Effect.DROPS, [(one, filtered(one, mask)) for one, mask in zip(came, masks, strict=True)])
    records = [record for part in parts for record in part]
    rows = [(*record, gone) for record, gone in zip(records, [gone for mask in masks for gone in mask], strict=True)]
    for source in ("farm", "web"):
        kept = [len(text.encode()) for name, text, gone in rows if name == source and not gone]
        lost = [len(text.encode()) for name, text, gone in rows if name == source and gone]
        assert account.kept.get(source, [0, 0]) == [len(kept), sum(kept)]
        assert account.dropped.get(source, {}).get("rule", [0, 0]) == [len(lost), sum(lost)]
    assert account.documents_in == len(rows) == account.documents_out + account.documents_dropped


@given(CORPUS)
def test_an_honest_measure_balances(records: Records) -> None:
    came = batch(records)
    account = balanced(Effect.MEASURES, [(came, Outcome(came, signals={"length": came.column("bytes")}))])
    assert account.documents_out == len(records)


@given(CORPUS, st.text(max_size=5), st.randoms(use_true_random=False))
def test_an_honest_edit_balances_and_may_drop_and_measure_too(
    records: Records, replacement: str, chance: random.Random
) -> None:
    came = batch(records)
    gone = [chance.random() < 0.3 for _ in records]
    changed = [chance.random() < 0.5 and not lost for lost in gone]
    texts = [replacement + text if change else text for (_, text), change in zip(records, changed, strict=True)]
    edits = [
        edit(identity, 0, 0, replacement, "", "prefix")
        for identity, change in zip(came.column("id").to_pylist(), changed, strict=True)
        if change
    ]
    left = filtered(with_texts(came, texts), gone)
    outcome = Outcome(
        left.kept,
        filtered(came, gone).drops,
        pa.RecordBatch.from_pylist(edits, schema=EDIT),
        {"length": came.column("bytes")},
    )
    account = balanced(Effect.EDITS, [(came, outcome)])
    assert account.edited_bytes == sum(changed) * len(replacement.encode())
    assert account.edits.get("prefix", 0) == sum(changed)
    assert account.bytes_in + account.edited_bytes == account.bytes_out + account.bytes_dropped


@pytest.mark.parametrize("effect", list(Effect))
@pytest.mark.parametrize("batches", [0, 1, 3])
def test_empty_parts_balance(tmp_path: Path, effect: Effect, batches: int) -> None:
    receipt = committed(tmp_path, effect, [(batch([]), Outcome(batch([])))] * batches)
    assert receipt.account == Account()
    assert (set(receipt.files) == {"part-00000.arrow"}) == (effect is Effect.EDITS)


# what dishonest stages say, of the documents: "aa", "bb", "cc" of one source and "dddd" of another

CAME = batch([("farm", "aa"), ("farm", "bb"), ("farm", "cc"), ("web", "dddd")])
NONE = [False] * 4
FIRST = [True, False, False, False]


def take(*rows: int) -> pa.RecordBatch:
    return CAME.take(pa.array(rows))


def column(batch: pa.RecordBatch, name: str, values: pa.Array) -> pa.RecordBatch:
    return batch.set_column(batch.schema.get_field_index(name), batch.schema.field(name), values)


def exchanged(batch: pa.RecordBatch, *names: str) -> pa.RecordBatch:
    """Exchange what the first two documents have in the columns of these names."""
    for name in names:
        batch = column(batch, name, batch.column(name).take(pa.array([1, 0, 2, 3])))
    return batch


def stranger() -> pa.RecordBatch:
    return batch([("farm", "zz")], 900)


def joined(*batches: pa.RecordBatch) -> pa.RecordBatch:
    (whole,) = pa.Table.from_batches(batches).combine_chunks().to_batches()
    return whole


FILTER_LIES: dict[str, Callable[[], Outcome]] = {
    "loses a document": lambda: Outcome(take(0, 1, 2)),
    "loses every document": lambda: Outcome(CAME.slice(0, 0)),
    "invents a document": lambda: Outcome(joined(CAME, stranger())),
    "duplicates a document": lambda: Outcome(take(0, 1, 2, 3, 3)),
    "duplicates one and loses another": lambda: Outcome(take(0, 0, 2, 3)),
    "swaps a document for a stranger": lambda: Outcome(joined(take(1, 2, 3), stranger())),
    "keeps what it drops": lambda: Outcome(CAME, filtered(CAME, FIRST).drops),
    "drops one twice and loses another": lambda: Outcome(
        take(2, 3), joined(filtered(CAME, FIRST).drops, filtered(CAME, FIRST).drops)
    ),
    "drops a stranger": lambda: Outcome(take(1, 2, 3), filtered(stranger(), [True]).drops),
    "miscounts a drop's bytes": lambda: Outcome(
        take(1, 2, 3), column(filtered(CAME, FIRST).drops, "bytes", pa.array([3], pa.int64()))
    ),
    "miscounts a kept document's bytes": lambda: Outcome(column(CAME, "bytes", pa.array([2, 2, 2, 5], pa.int64()))),
    "exchanges the texts of two documents": lambda: Outcome(exchanged(CAME, "text", "digest")),
    "changes a digest": lambda: Outcome(column(CAME, "digest", CAME.column("id"))),
    "moves a document to another source": lambda: Outcome(column(CAME, "source", pa.array(["farm"] * 3 + ["farm"]))),
    "drops under another source": lambda: Outcome(
        take(1, 2, 3), column(filtered(CAME, FIRST).drops, "source", pa.array(["web"]))
    ),
    "returns a signal that is too short": lambda: Outcome(CAME, signals={"x": pa.array([1.0] * 3)}),
    "returns a signal of the kept documents only": lambda: dataclasses.replace(
        filtered(CAME, FIRST), signals={"x": pa.array([1.0] * 3)}
    ),
    "edits": lambda: Outcome(CAME, edits=edits(edit(CAME.column("id")[0].as_py(), 0, 1, "a", "a", "rule"))),
}

EDIT_LIES: dict[str, Callable[[], Outcome]] = {
    **{name: lie for name, lie in FILTER_LIES.items() if name != "edits"},
    "changes a text and records nothing": lambda: Outcome(with_texts(CAME, ["AA", "bb", "cc", "dddd"])),
    "records an edit of another document": lambda: Outcome(
        with_texts(CAME, ["AA", "bb", "cc", "dddd"]),
        edits=edits(edit(CAME.column("id")[1].as_py(), 0, 2, "AA", "aa", "rule")),
    ),
    "removes more than it records": lambda: Outcome(
        with_texts(CAME, ["", "bb", "cc", "dddd"]),
        edits=edits(edit(CAME.column("id")[0].as_py(), 0, 1, "", "a", "rule")),
    ),
    "adds more than it records": lambda: Outcome(
        with_texts(CAME, ["aaxx", "bb", "cc", "dddd"]),
        edits=edits(edit(CAME.column("id")[0].as_py(), 2, 2, "x", "", "rule")),
    ),
    "records what it did not do": lambda: Outcome(
        CAME, edits=edits(edit(CAME.column("id")[0].as_py(), 0, 1, "", "a", "rule"))
    ),
    "keeps the bytes of the text before": lambda: Outcome(
        column(CAME, "text", pa.array(["aax", "bb", "cc", "dddd"])),
        edits=edits(edit(CAME.column("id")[0].as_py(), 2, 2, "x", "", "rule")),
    ),
    "keeps the digest of the text before": lambda: Outcome(
        column(CAME, "text", pa.array(["xx", "bb", "cc", "dddd"])),
        edits=edits(edit(CAME.column("id")[0].as_py(), 0, 2, "xx", "aa", "rule")),
    ),
}


def edits(*rows: dict[str, object]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(list(rows), schema=EDIT)


@pytest.mark.parametrize("lie", FILTER_LIES)
def test_a_filter_is_refused_before_anything_is_committed_if_it(tmp_path: Path, lie: str) -> None:
    with pytest.raises(LedgerError):
        committed(tmp_path, Effect.DROPS, [(CAME, FILTER_LIES[lie]())])
    assert bytes_below(tmp_path) == {}


@pytest.mark.parametrize("lie", EDIT_LIES)
def test_an_edit_is_refused_before_anything_is_committed_if_it(tmp_path: Path, lie: str) -> None:
    with pytest.raises(LedgerError):
        committed(tmp_path, Effect.EDITS, [(CAME, EDIT_LIES[lie]())])
    assert bytes_below(tmp_path) == {}


def test_a_measure_is_refused_before_anything_is_committed_if_it_drops(tmp_path: Path) -> None:
    with pytest.raises(LedgerError):
        committed(tmp_path, Effect.MEASURES, [(CAME, filtered(CAME, FIRST))])
    assert bytes_below(tmp_path) == {}


@given(st.lists(CORPUS, min_size=1, max_size=3), st.randoms(use_true_random=False))
def test_a_stage_that_loses_one_document_anywhere_is_refused(parts: list[Records], chance: random.Random) -> None:
    assume(any(parts))
    came = [batch(records, 100 * number) for number, records in enumerate(parts)]
    unlucky = chance.choice([number for number, records in enumerate(parts) if records])
    row = chance.randrange(len(parts[unlucky]))
    said = [
        Outcome(one.filter(pa.array([number != unlucky or place != row for place in range(one.num_rows)], pa.bool_())))
        for number, one in enumerate(came)
    ]
    with pytest.raises(LedgerError):
        balanced(Effect.DROPS, list(zip(came, said, strict=True)))


def test_a_reader_that_loses_a_record_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LedgerError), PartWriter(tmp_path, 0, "f", Effect.EDITS) as writer:
        writer.read(CAME, pa.RecordBatch.from_pylist([], schema=DROP), records=5)
        writer.commit()
    assert bytes_below(tmp_path) == {}


# the set digest


def digest_of(batches: Sequence[pa.RecordBatch]) -> str:
    account = Account()
    for one in batches:
        account.judge(one, Outcome(one), Effect.DROPS)
    return account.set_digest


@given(CORPUS, st.randoms(use_true_random=False))
def test_the_set_digest_is_independent_of_order_batches_and_parts(records: Records, chance: random.Random) -> None:
    whole = batch(records)
    order = chance.sample(range(len(records)), len(records))
    shuffled = whole.take(pa.array(order, pa.int64()))
    cuts = sorted(chance.choices(range(len(records) + 1), k=3))
    pieces = [shuffled.slice(start, end - start) for start, end in zip([0, *cuts], [*cuts, len(records)], strict=True)]
    expected = digest_of([whole])
    assert digest_of(pieces) == expected
    accounts = []
    for piece in pieces:
        accounts.append(Account())
        accounts[-1].judge(piece, Outcome(piece), Effect.DROPS)
    assert Account.total(accounts).set_digest == expected
    assert Account.total(reversed(accounts)) == Account.total(accounts)


def test_the_set_digest_changes_with_a_text_an_id_and_their_pairing() -> None:
    texts = with_texts(CAME, ["ab", "bb", "cc", "dddd"])
    ids = column(CAME, "id", pa.array([bytes(16), *CAME.column("id").to_pylist()[1:]], pa.binary(16)))
    pairing = exchanged(CAME, "text", "digest")
    fewer, twice = take(0, 1, 2), take(0, 1, 2, 3, 3)
    found = {digest_of([one]) for one in (CAME, texts, ids, pairing, fewer, twice)}
    assert len(found) == 6


def test_the_set_digest_sees_two_pairs_exchange_their_texts_in_any_grouping() -> None:
    # a plain sum, or xor, of ids and digests would not
    pairs = {digest_of([exchanged(CAME, "text", "digest")]), digest_of([CAME])}
    assert len(pairs) == 2
    assert pc.sum(exchanged(CAME, "bytes").column("bytes")) == pc.sum(CAME.column("bytes"))


def test_splitmix_is_the_published_finaliser() -> None:
    # the first three outputs of splitmix64 from state 0: its state grows by the golden gamma before each
    gamma = np.uint64(0x9E3779B97F4A7C15)
    states = np.arange(1, 4, dtype=np.uint64) * gamma
    assert [f"{value:016x}" for value in splitmix(states).tolist()] == [
        "e220a8397b1dcdaf",
        "6e789e6aa1b965f4",
        "06c45d188009454f",
    ]


@given(CORPUS, st.randoms(use_true_random=False))
def test_an_account_survives_being_written_down(records: Records, chance: random.Random) -> None:
    came = batch(records)
    account = balanced(Effect.DROPS, [(came, filtered(came, [chance.random() < 0.5 for _ in records]))])
    assert Account.from_json(account.to_json()) == account


def test_nothing_is_left_of_a_part_whose_stage_raised(tmp_path: Path) -> None:
    with contextlib.suppress(ZeroDivisionError), PartWriter(tmp_path, 0, "f", Effect.EDITS) as writer:
        writer.judge(CAME, Outcome(CAME))
        raise ZeroDivisionError
    assert bytes_below(tmp_path) == {}


def test_columns_beyond_a_document_s_own_are_not_written(tmp_path: Path) -> None:
    more = CAME.append_column("signal", pa.array([1.0] * 4))
    with PartWriter(tmp_path, 0, "f", Effect.EDITS) as writer:
        writer.judge(more, Outcome(more))
        writer.commit()
    with pa.memory_map(str(tmp_path / "part-00000.arrow")) as file:
        assert pa.ipc.open_file(file).schema.equals(DOCUMENT)


def test_batches_built_for_these_tests_are_slices() -> None:
    assert CAME.column("text").offset == 1
