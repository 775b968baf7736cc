"""Texts: what was split for a batch serves what is left of it, and never anything else."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from tilth.filters import texts as module
from tilth.filters.texts import Texts, found_in
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
    assert same_words(Texts.of(batch))
    mask = data.draw(st.lists(st.booleans(), min_size=len(before), max_size=len(before)))
    assert same_words(Texts.of(batch.filter(pa.array(mask, pa.bool_()))))
    assert same_words(Texts.of(pa.array(other, pa.large_string())))
    assert same_words(Texts.of(batch.slice(1)))


def test_what_is_left_of_a_batch_is_not_split_again(monkeypatch: object) -> None:
    batch = pa.array(["one word", "two words", "three of them", "two words"])
    _ = Texts.of(batch).words
    left = Texts.of(batch.filter(pa.array([False, True, False, True])))
    assert left.has_words
    assert left.words.rows.tolist() == [0, 2, 4]
    assert not Texts.of(pa.array(["two words", "one word"])).has_words  # in another order they are other texts


def test_the_same_array_brings_back_all_that_was_found() -> None:
    batch = pa.array(["a line\nand another"])
    first = Texts.of(batch)
    _ = first.words
    assert Texts.of(batch) is first
    assert Texts.of(pa.array(["a line\nand another"])) is not first  # equal, in a buffer of its own


@given(known=SOME, mask=st.data())
def test_rows_are_found_in_their_order_or_not_at_all(known: list[str], mask: st.DataObject) -> None:
    chosen = sorted(mask.draw(st.sets(st.integers(0, max(0, len(known) - 1)), max_size=len(known))))
    some = [known[row] for row in chosen] if known else []
    whole, part = (Texts(*module.utf8_buffers(pa.array(each, pa.string()))) for each in (known, some))
    rows = found_in(part, whole)
    assert rows is not None
    assert [known[row] for row in rows] == some
    assert np.all(np.diff(rows) > 0)
    assert found_in(Texts(*module.utf8_buffers(pa.array([*some, "absent"]))), whole) is None
