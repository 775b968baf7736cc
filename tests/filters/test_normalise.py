"""Normalising changes what it says and nothing else, and every change can be taken back."""

import re
import unicodedata

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tilth.corpus.document import document_id, documents, utf8_buffers
from tilth.corpus.ledger import Account
from tilth.corpus.stage import Effect
from tilth.filters.edits import Edit, apply_edits, restore
from tilth.filters.normalise import Normalise, suspects, suspicious_characters, text_edits

# what composes, reorders, is removed or ends a line, close together
TRICKY = "ab \r\n\t\v\f\x1d\x00\x07\x7f\x85\ufeff"
TRICKY += "\u00e9\u0301\u0327\u0344\u212b\u1100\u1161\u11a8\u0b47\u0b3e\u2126\u6f22\U0001d15e"
TEXTS = st.one_of(st.text(), st.text(TRICKY, max_size=20))


def batch_of(texts: list[str]) -> pa.RecordBatch:
    return documents(
        {
            "id": [document_id("s", str(place)) for place in range(len(texts))],
            "text": texts,
            "source": ["s"] * len(texts),
        }
    )


def twin(text: str) -> str:
    """What normalising says, in three lines."""
    text = re.sub("\r\n?|[\v\f\x1c-\x1e\x85]", "\n", text)
    text = "".join(c for c in text if c in "\t\n" or (unicodedata.category(c) != "Cc" and c != "\ufeff"))
    return unicodedata.normalize("NFC", text)


@given(TEXTS)
@example("e\x00\u0301")
@example("\u0301\ufeff\r\u0301")
def test_normalising_is_line_ends_then_removal_then_nfc(text: str) -> None:
    edits = list(text_edits(text))
    assert apply_edits(text.encode(), edits).decode() == twin(text)


@given(TEXTS)
def test_every_text_can_be_restored_from_its_edits(text: str) -> None:
    edits = list(text_edits(text))
    assert restore(apply_edits(text.encode(), edits), edits) == text.encode()


@given(TEXTS)
def test_edits_are_ascending_apart_and_never_empty_handed(text: str) -> None:
    place = 0
    for edit in text_edits(text):
        assert place <= edit.start < edit.end
        assert edit.original != edit.replacement
        assert text.encode()[edit.start : edit.end] == edit.original.encode()
        place = edit.end


@given(TEXTS)
def test_a_normal_text_needs_no_edit(text: str) -> None:
    assert list(text_edits(twin(text))) == []


@given(st.lists(TEXTS, max_size=8), st.integers(0, 3))
def test_a_batch_keeps_every_document_and_every_byte_is_accounted_for(texts: list[str], skip: int) -> None:
    batch = batch_of(texts).slice(skip)  # a slice: its arrays do not begin at their buffers
    outcome = Normalise("normalise").apply(batch)
    account = Account()
    account.judge(batch, outcome, Effect.EDITS)
    account.check("test", 0)
    kept = outcome.kept.column("text").to_pylist()
    assert kept == [twin(text) for text in texts[skip:]]
    assert outcome.kept.equals(documents({name: outcome.kept.column(name) for name in ("id", "text", "source")}))


@given(TEXTS)
def test_a_text_that_the_kernel_does_not_suspect_needs_no_edit(text: str) -> None:
    data, offsets = utf8_buffers(pa.array(["", text, "plain"]))
    empty, suspected, plain = suspects(data, offsets).tolist()
    assert not empty and not plain
    assert suspected or twin(text) == text


def test_every_character_that_normalising_changes_is_suspicious() -> None:
    suspicious = suspicious_characters()
    changed = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000 and twin(chr(code)) != chr(code)]
    assert suspicious[changed].all()
    assert suspicious.sum() < 3_000  # but few others: most texts are never looked at twice


def test_no_word_is_glued_to_the_next_where_a_control_ends_a_line() -> None:
    text = "\v".join(["one", "two"]) + "\f" + "\x85".join(["three", "four"]) + "\x1e" + "five"
    assert apply_edits(text.encode(), list(text_edits(text))).split() == [b"one", b"two", b"three", b"four", b"five"]


def test_the_fingerprint_tells_the_version_of_unicode() -> None:
    assert Normalise("n").describe()["unicode"] == unicodedata.unidata_version


def test_edits_name_their_rule() -> None:
    rules = {edit.rule: edit.original for edit in text_edits("a\r\nb\x00\ufeffe\u0301")}
    assert rules == {"line_ending": "\r\n", "byte_order_mark": "\x00\ufeff", "nfc": "e\u0301"}


def test_edits_that_do_not_fit_are_refused() -> None:
    edit = Edit(0, 1, "b", "a", "test")
    with pytest.raises(ValueError, match="does not fit"):
        apply_edits(b"x", [edit])
    with pytest.raises(ValueError, match="does not fit"):
        restore(b"x", [edit])
