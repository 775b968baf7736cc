"""Texts: what was split for a batch serves what is left of it, and never anything else."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from tilth.corpus.document import utf8_buffers
from tilth.filters.chosen import found_in
from tilth.filters.presets.c4 import C4_DATATROVE
from tilth.filters.texts import Texts
from tilth.filters.words import split_words

SOME = st.lists(st.text(alphabet="ab .'$é日\n", max_size=12), max_size=8)


def same_words(texts: Texts) -> bool:
    fresh = split_words(texts.data, texts.offsets)
    return all(
        np.array_equal(getattr(texts.words, name), getattr(fresh, name))
        for name in ("starts", "ends", "rows", "lengths", "classes")
    )


@given(before=SOME, data=st.data(), other=SOME)
def test_words_are_those_of_a_fresh_splitting(before: list[str], data: st.DataObject, other: list[str]) -> None:
    batch = pa.array(before, pa.string())
    assert same_words(Texts.shared(batch))
    mask = data.draw(st.lists(st.booleans(), min_size=len(before), max_size=len(before)))
    assert same_words(Texts.shared(batch.filter(pa.array(mask, pa.bool_()))))
    assert same_words(Texts.shared(pa.array(other, pa.large_string())))
    assert same_words(Texts.shared(batch.slice(1)))


def test_what_is_left_of_a_batch_is_not_split_again() -> None:
    batch = pa.array(["one word", "two words", "three of them", "two words"])
    _ = Texts.shared(batch).words
    left = Texts.shared(batch.filter(pa.array([False, True, False, True])))
    assert left.has_words
    assert left.words.rows.tolist() == [0, 2, 4]
    assert not Texts.shared(pa.array(["two words", "one word"])).has_words  # in another order they are other texts


def test_the_same_array_brings_back_all_that_was_found() -> None:
    batch = pa.array(["a line\nand another"])
    first = Texts.shared(batch)
    _ = first.words
    assert Texts.shared(batch) is first
    assert Texts.shared(pa.array(["a line\nand another"])) is not first  # equal, in a buffer of its own


@given(known=SOME, mask=st.data())
def test_rows_are_found_in_their_order_or_not_at_all(known: list[str], mask: st.DataObject) -> None:
    chosen = sorted(mask.draw(st.sets(st.integers(0, max(0, len(known) - 1)), max_size=len(known))))
    some = [known[row] for row in chosen] if known else []
    whole, part = (utf8_buffers(pa.array(each, pa.string())) for each in (known, some))
    rows = found_in(*part, *whole)
    assert rows is not None
    assert [known[row] for row in rows] == some
    assert np.all(np.diff(rows) > 0)
    assert found_in(*utf8_buffers(pa.array([*some, "absent"])), *whole) is None


LINES = st.lists(
    st.sampled_from(
        ["A line that is long enough to stay.", "short", "[12] cited [3] words are here.", "javascript is on."]
    )
)


@given(pages=st.lists(LINES.map("\n".join), max_size=6), data=st.data())
def test_verdicts_on_lines_follow_their_documents(pages: list[str], data: st.DataObject) -> None:
    batch = pa.array(pages, pa.string())
    measured = Texts.shared(batch)
    _ = measured.words
    C4_DATATROVE.measure(measured)
    mask = data.draw(st.lists(st.booleans(), min_size=len(pages), max_size=len(pages)))
    left = batch.filter(pa.array(mask, pa.bool_()))
    followed, fresh = Texts.shared(left), Texts.of(left)
    assert "c4.datatrove" in followed.findings
    assert C4_DATATROVE.edits is not None
    found, expected = C4_DATATROVE.edits(followed), C4_DATATROVE.edits(fresh)
    for name in ("rows", "starts", "ends", "rules", "replacements"):
        assert np.array_equal(getattr(found, name), getattr(expected, name))
    assert np.array_equal(followed.lines.starts, fresh.lines.starts)
    one, two = (C4_DATATROVE.measure(texts) for texts in (followed, fresh))
    assert all(np.array_equal(one[name], two[name]) for name in one)
