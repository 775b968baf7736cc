"""Editing lines leaves what the preset's peer leaves, records every byte, and gives originals back."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilth.corpus.document import document_id, documents
from tilth.corpus.errors import UserError
from tilth.corpus.ledger import Account
from tilth.corpus.stage import Effect
from tilth.filters.edit_lines import EditLines
from tilth.filters.edits import Edit, apply_edits, restore

LINE = "The barley of the field grows well.\n"
PIECES = [LINE, "No end here\n", "[1]", "\r\n", "\u2028", "\n\n", "Home\n", "Sign-in now\n", "\u00e9\u00e9.", "12"]
PIECES += [" \t", "lorem ipsum", "{", "x" * 1001, "BIG HEAD LINES\n", "You have 3 items in cart\n", "5 likes\n"]


def batch_of(texts: list[str]) -> pa.RecordBatch:
    ids = [document_id("s", str(place)) for place in range(len(texts))]
    return documents({"id": ids, "text": texts, "source": ["s"] * len(texts)})


@given(
    st.lists(st.lists(st.sampled_from(PIECES), max_size=12).map("".join), max_size=5),
    st.sampled_from(["c4.datatrove@1", "c4.tfds@1", "refinedweb@1"]),
    st.integers(0, 2),
)
def test_originals_come_back_from_output_and_edits(texts: list[str], preset: str, skip: int) -> None:
    batch = batch_of(texts).slice(skip)
    outcome = EditLines("lines", preset).apply(batch)
    account = Account()
    account.judge(batch, outcome, Effect.EDITS)
    account.check("test", 0)
    assert outcome.kept.column("id").equals(batch.column("id"))
    edits: dict[bytes, list[Edit]] = {}
    for row in outcome.edits.to_pylist():
        edits.setdefault(row.pop("id"), []).append(Edit(**row))
    for before, after in zip(batch.to_pylist(), outcome.kept.to_pylist(), strict=True):
        own = edits.get(before["id"], [])
        assert restore(after["text"].encode(), own) == before["text"].encode()
        assert apply_edits(before["text"].encode(), own) == after["text"].encode()
        assert after["bytes"] == len(after["text"].encode())
    again = documents({"id": outcome.kept["id"], "text": outcome.kept["text"], "source": outcome.kept["source"]})
    assert again.column("digest").equals(outcome.kept.column("digest"))


def test_an_edit_names_the_line_rule_that_made_it() -> None:
    text = LINE + "  Two words.  \nMenu\nWe use cookies here.\nThis[2] is a line of text.\n"
    outcome = EditLines("lines", "c4.datatrove@1").apply(batch_of([text]))
    assert outcome.kept.column("text").to_pylist() == [LINE + "This is a line of text."]
    found = [(row["rule"], row["original"]) for row in outcome.edits.to_pylist()]
    assert found == [
        ("c4.datatrove.few_words", "  Two words.  \n"),
        ("c4.datatrove.no_end_mark", "Menu\n"),
        ("c4.datatrove.policy", "We use cookies here.\n"),
        ("c4.datatrove.citation", "[2]"),
        ("c4.datatrove.white_space", "\n"),
    ]


def test_a_preset_without_edits_is_refused() -> None:
    with pytest.raises(UserError, match="has no edits"):
        EditLines("lines", "gopher.datatrove@1")
