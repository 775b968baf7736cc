"""A document's identity and its derived columns: pure functions of source, locator and text, whatever holds them."""

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from tilth.corpus.document import DOCUMENT, ID, document_id, documents, halves, text_bytes, text_digests

TEXTS = st.lists(st.text(), max_size=8)


def test_identity_never_changes_between_versions() -> None:
    # xxHash's own vector for no input shows that the hash is the published one; the second value is this layout's
    assert xxhash.xxh3_128_hexdigest(b"") == "99aa06d3014798d86001c324468d497f"
    assert document_id("farm", "a.jsonl#0").hex() == "d518e4aa64259d5e1edd26634080e871"


def test_identity_depends_on_where_source_ends_and_locator_begins() -> None:
    assert document_id("ab", "c") != document_id("a", "bc")


@given(
    st.lists(
        st.tuples(st.text(st.characters(codec="utf-8", exclude_characters="\0")), st.text()), unique=True, max_size=20
    )
)
def test_different_places_have_different_identities(places: list[tuple[str, str]]) -> None:
    assert len({document_id(*place) for place in places}) == len(places)


@given(TEXTS)
def test_bytes_and_digest_are_those_of_the_text(texts: list[str]) -> None:
    batch = documents({"id": [bytes(16)] * len(texts), "text": texts, "source": ["s"] * len(texts)})
    assert batch.schema.equals(DOCUMENT)
    assert batch.column("bytes").to_pylist() == [len(text.encode()) for text in texts]
    assert batch.column("digest").to_pylist() == [xxhash.xxh3_128_digest(text.encode()) for text in texts]


@given(TEXTS, st.integers(0, 8), st.integers(0, 8), st.sampled_from([pa.string(), pa.large_string()]))
def test_a_slice_of_an_array_is_measured_like_the_texts_in_it(
    texts: list[str], start: int, length: int, kind: pa.DataType
) -> None:
    array = pa.array(texts, kind).slice(min(start, len(texts)), length)
    here = [text.encode() for text in array.to_pylist()]
    assert text_bytes(array).to_pylist() == [len(text) for text in here]
    assert text_digests(array).to_pylist() == [xxhash.xxh3_128_digest(text) for text in here]


@given(st.lists(st.binary(min_size=16, max_size=16), max_size=8), st.integers(0, 8), st.integers(0, 8))
def test_halves_of_a_slice_are_the_little_endian_halves_of_its_values(
    values: list[bytes], start: int, length: int
) -> None:
    column = pa.array(values, ID).slice(min(start, len(values)), length)
    here = values[start : start + length]
    assert halves(column).shape == (len(here), 2)
    assert halves(column).tolist() == [np.frombuffer(value, "<u8").tolist() for value in here]


def test_columns_that_are_not_given_are_null() -> None:
    (row,) = documents({"id": [bytes(16)], "text": ["loam"], "source": ["farm"], "url": ["here"]}).to_pylist()
    assert row["url"] == "here"
    assert row["date"] is row["language"] is row["metadata"] is None


@pytest.mark.parametrize(
    "columns",
    [
        {"id": [bytes(16)], "text": ["a", "b"], "source": ["s", "s"]},
        {"id": [bytes(16)] * 2, "text": ["a", "b"], "source": ["s"]},
        {"id": [bytes(15)], "text": ["a"], "source": ["s"]},
    ],
)
def test_columns_of_the_wrong_shape_are_refused(columns: dict[str, list[object]]) -> None:
    with pytest.raises(ValueError):  # which pyarrow's own errors of this kind are
        documents(columns)


def test_a_text_that_has_no_utf_8_is_refused() -> None:
    with pytest.raises(UnicodeEncodeError):
        documents({"id": [bytes(16)], "text": ["\ud800"], "source": ["s"]})
