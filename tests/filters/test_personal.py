"""Finds are masked, near misses stay, and originals come back."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilth.corpus.document import document_id, documents
from tilth.corpus.errors import UserError
from tilth.corpus.ledger import Account
from tilth.corpus.stage import Effect
from tilth.filters.edits import Edit, restore
from tilth.filters.personal import MaskPersonal, iban, luhn


def batch_of(texts: list[str]) -> pa.RecordBatch:
    ids = [document_id("s", str(place)) for place in range(len(texts))]
    return documents({"id": ids, "text": texts, "source": ["s"] * len(texts)})


def masked(*texts: str) -> list[str]:
    found: list[str] = MaskPersonal("personal").apply(batch_of(list(texts))).kept.column("text").to_pylist()
    return found


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("Write to jo.field+a@farm-1.example.org.", "Write to [EMAIL]."),
        ("<a@b.co>, c@d.example", "<[EMAIL]>, [EMAIL]"),
        ("from 93.184.216.34 and 8.8.8.8.", "from [IP] and [IP]."),
        ("card 4111 1111 1111 1111, 5500-0000-0000-0004", "card [CARD], [CARD]"),
        ("IBAN GB82 WEST 1234 5698 7654 32 or DE89370400440532013000", "IBAN [IBAN] or [IBAN]"),
        ("call +44 20 7946 0958 or (555) 123-4567 or 555-123-4567!", "call [PHONE] or [PHONE] or [PHONE]!"),
    ],
)
def test_what_identifies_is_masked(text: str, after: str) -> None:
    assert masked(text) == [after]


@pytest.mark.parametrize(
    "text",
    [
        "192.168.1.1 and 127.0.0.1 are private, 1.2.3.4.5 and 999.1.1.1 are none, version 10.2.3.4",
        "4111 1111 1111 1112 fails its check digit, 0000 0000 0000 0000 is filler",
        "GB82 WEST 1234 5698 7654 33 fails its check digits",
        "3.14159265358979, 2019-08-01, 12 345 678, 1840-1920, pages 100-200",
        "a @ b, user@host, @handle, e = m@c",
        "",
    ],
)
def test_what_only_looks_like_it_stays(text: str) -> None:
    assert masked(text) == [text]


def test_check_digits_are_those_of_the_standards() -> None:
    assert luhn(b"79927398713") is False and luhn(b"4222222222222") is True and luhn(b"4222222222223") is False
    assert iban(b"FR1420041010050500013M02606") and not iban(b"FR1420041010050500013M02607")


PIECES = ["a@b.org", "8.8.8.8", "4111111111111111", "GB82WEST12345698765432", "+44 20 7946 0958", " ", "\n", ".", "x"]
PIECES += ["\u00e9", "12", "-", "@"]


@given(st.lists(st.lists(st.sampled_from(PIECES), max_size=10).map("".join), max_size=4), st.integers(0, 2))
def test_originals_come_back_and_counts_are_those_of_the_edits(texts: list[str], skip: int) -> None:
    batch = batch_of(texts).slice(skip)
    outcome = MaskPersonal("personal").apply(batch)
    account = Account()
    account.judge(batch, outcome, Effect.EDITS)
    account.check("test", 0)
    edits: dict[bytes, list[Edit]] = {}
    for row in outcome.edits.to_pylist():
        edits.setdefault(row.pop("id"), []).append(Edit(**row))
    for before, after in zip(batch.to_pylist(), outcome.kept.to_pylist(), strict=True):
        assert restore(after["text"].encode(), edits.get(before["id"], [])) == before["text"].encode()
    assert sum(sum(signal.to_pylist()) for signal in outcome.signals.values()) == outcome.edits.num_rows


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(UserError, match="expected some of"):
        MaskPersonal("personal", ("passport",))


def test_a_mask_of_the_recipe_stands_in_the_place() -> None:
    stage = MaskPersonal("personal", ("email",), (("email", ""),))
    assert stage.apply(batch_of(["x a@b.org 8.8.8.8"])).kept.column("text").to_pylist() == ["x  8.8.8.8"]
