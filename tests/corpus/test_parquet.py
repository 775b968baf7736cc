"""Parquet: the same rules as for JSON lines, for every way to write a text in a column."""

import datetime
import decimal
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.corpus.document import document_id
from tilth.corpus.errors import UserError
from tilth.corpus.readers import check_fields, first_record, read_part
from tilth.corpus.readers.chunk import CHUNK_BYTES
from tilth.corpus.sources import Source, find_files
from tilth.corpus.splits import plan_parts


def read(source: Source, base: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]], int]:
    documents, drops, records = [], [], 0
    for part in plan_parts(find_files(source, base), 1 << 30):
        for chunk in read_part({source.name: source}, part):
            chunk.documents.validate(full=True)
            chunk.drops.validate(full=True)
            documents += chunk.documents.to_pylist()
            drops += chunk.drops.to_pylist()
            assert chunk.records == chunk.documents.num_rows + chunk.drops.num_rows
            assert (pc.sum(chunk.documents["bytes"]).as_py() or 0) <= CHUNK_BYTES or chunk.records == 1
            records += chunk.records
    return documents, drops, records


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("parquet")


TEXT_TYPES = [
    pa.string(),
    pa.large_string(),
    pa.binary(),
    pa.large_binary(),
    pa.dictionary(pa.int32(), pa.string()),
    pa.dictionary(pa.int8(), pa.large_string()),
]


@pytest.mark.parametrize("type", TEXT_TYPES, ids=str)
def test_every_type_of_text_column_is_read(tmp_path: Path, type: pa.DataType) -> None:
    texts = ["Grüße", None, "", "\x00", "Grüße"] * 5
    plain = pa.array(texts).cast(type.value_type if pa.types.is_dictionary(type) else type)
    column = plain.dictionary_encode().cast(type) if pa.types.is_dictionary(type) else plain
    pq.write_table(pa.table({"text": column}), tmp_path / "a.parquet", row_group_size=10)
    documents, drops, records = read(Source("x", ("*",)), tmp_path)
    assert records == 25
    assert [d["text"] for d in documents] == [text for text in texts if text is not None]
    rows = [row for row, text in enumerate(texts) if text is not None]
    assert [d["id"] for d in documents] == [document_id("x", f"a.parquet#{row}") for row in rows]
    assert [d["detail"] for d in drops] == [
        f"a.parquet:{row}: field 'text' is null, expected a string" for row in range(25) if row not in rows
    ]


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        (pa.array([1, 2]), "field 'text' is of type int64, expected a string"),
        (pa.array([["a"], []]), "field 'text' is of type list<element: string>, expected a string"),
        (pa.nulls(2), "field 'text' is null, expected a string"),
        (pa.array([b"ab", b"cd"], pa.binary(2)), "field 'text' is of type fixed_size_binary[2], expected a string"),
    ],
)
def test_a_column_of_another_type_drops_every_row_with_the_reason(
    tmp_path: Path, column: pa.Array, reason: str
) -> None:
    pq.write_table(pa.table({"text": column}), tmp_path / "a.parquet")
    documents, drops, records = read(Source("x", ("*",)), tmp_path)
    assert documents == []
    assert records == 2
    assert [(d["rule"], d["detail"]) for d in drops] == [("unreadable", f"a.parquet:{i}: {reason}") for i in (0, 1)]


def test_a_missing_column_drops_every_row_and_is_named_before_the_run(tmp_path: Path) -> None:
    pq.write_table(pa.table({"body": pa.array([{"text": "a"}])}), tmp_path / "a.parquet")
    for text in ("text", "body.txt", "body.text.more"):
        source = Source("x", ("*",), text=text)
        documents, (drop,), _ = read(source, tmp_path)
        assert documents == []
        assert drop["detail"] == f"a.parquet:0: field {text!r} is missing"
        (file,) = find_files(source, tmp_path)
        with pytest.raises(UserError, match=r"its first records have body, body.text; did you mean"):
            check_fields(source, [file])
    check_fields(Source("x", ("*",), text="body.text"), [file])
    assert first_record(source, file) == {"body": {"text": "a"}}


def test_columns_become_columns_and_metadata(tmp_path: Path) -> None:
    day = datetime.date(2020, 1, 2)
    table = pa.table(
        {
            "doc": pa.array([{"text": "é", "lang": "fr"}]),
            "key": pa.array([2**63], pa.uint64()),
            "day": pa.array([day]),
            "seen": pa.array([datetime.datetime(2020, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)], pa.timestamp("ns", "UTC")),
            "price": pa.array([decimal.Decimal("1.50")]),
            "raw": pa.array([b"a\xff"]),
            "list": pa.array([[1.5, None]]),
            "nothing": pa.array([float("nan")]),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    source = Source("x", ("*",), text="doc.text", id="key", date="day", language="doc.lang")
    (document,), drops, _ = read(source, tmp_path)
    assert drops == []
    assert document["id"] == document_id("x", str(2**63))
    assert (document["text"], document["language"], document["date"]) == ("é", "fr", "2020-01-02")
    assert json.loads(document["metadata"]) == {
        "doc": {},
        "key": 2**63,
        "seen": "2020-01-02 03:04:05.000000000Z",
        "price": "1.50",
        "raw": "a\\xff",
        "list": [1.5, None],
        "nothing": None,
    }


def test_bad_rows_are_found_among_good_ones(tmp_path: Path) -> None:
    texts = [f"text {i}".encode() for i in range(3000)]
    ids: list[str | None] = [f"id {i}" for i in range(3000)]
    for i in (0, 1500, 1501, 2999):
        texts[i] += b"\xff"
    ids[700] = None
    ids[701] = ""
    texts[40] = b"x" * 501
    # a file that says string and holds other bytes, as writers that do not look leave them
    offsets = np.concatenate([[0], np.cumsum(list(map(len, texts)))]).astype(np.int32)
    column = pa.StringArray.from_buffers(3000, pa.py_buffer(offsets), pa.py_buffer(b"".join(texts)))
    pq.write_table(pa.table({"text": column, "id": ids}), tmp_path / "a.parquet")
    documents, drops, records = read(Source("x", ("*",), id="id", maximum_bytes=500), tmp_path)
    bad = [0, 40, 700, 701, 1500, 1501, 2999]
    assert records == 3000
    assert [d["text"].encode() for d in documents] == [text for i, text in enumerate(texts) if i not in bad]
    assert [int(d["detail"].split(":")[1]) for d in drops] == bad
    assert [d["rule"] for d in drops] == ["unreadable", "too_large", *["unreadable"] * 5]
    assert [d["bytes"] for d in drops] == [len(texts[i]) for i in bad]
    assert (drops[1]["value"], drops[1]["limit"]) == (501, 500)
    assert "field 'id' is null" in drops[2]["detail"]
    assert "UTF8" in drops[0]["detail"]


def test_columns_that_nobody_wants_are_not_read(tmp_path: Path) -> None:
    rows = 2000
    noise = np.random.default_rng(0).integers(0, 1 << 62, rows)
    table = pa.table({"text": [f"{i}" for i in range(rows)], "noise": noise, "kept": list(range(rows))})
    path = tmp_path / "a.parquet"
    pq.write_table(table, path, compression="none", use_dictionary=False, write_page_checksum=True)
    data = bytearray(path.read_bytes())
    data[data.find(noise.tobytes()[800:808])] ^= 1
    path.write_bytes(data)
    documents, drops, _ = read(Source("x", ("*",), metadata=("kept",)), tmp_path)
    assert drops == []
    assert documents[7]["metadata"] == '{"kept":7}'
    assert len(documents) == rows
    documents, (drop,), _ = read(Source("x", ("*",)), tmp_path)
    assert documents == []
    assert drop["rule"] == "damaged"


def test_a_damaged_row_group_costs_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    texts = [f"{i:06}" for i in range(5000)]
    pq.write_table(
        pa.table({"text": texts}), path, row_group_size=1000, write_page_checksum=True, use_dictionary=False,
        compression="none",
    )  # fmt: skip
    data = bytearray(path.read_bytes())
    data[data.find(b"002500")] ^= 1
    path.write_bytes(data)
    documents, (drop,), records = read(Source("x", ("*",)), tmp_path)
    assert [d["text"] for d in documents] == texts[:2000] + texts[3000:]
    assert [d["id"] for d in documents[2000:]] == [document_id("x", f"a.parquet#{i}") for i in range(3000, 5000)]
    assert records == 4001
    assert (drop["rule"], drop["value"]) == ("damaged", 1000)  # rows not read
    assert drop["detail"].startswith("a.parquet:2000: cannot be decoded (")
    assert len(data) // 10 < drop["bytes"] < len(data) // 3


def test_long_texts_are_handed_out_in_small_chunks(tmp_path: Path) -> None:
    texts = ["é" * size for size in (10, 3 << 20, 10, 1 << 20, 10, 4 << 20, 5 << 20, 10)]
    pq.write_table(pa.table({"text": texts}), tmp_path / "a.parquet")
    documents, drops, _ = read(Source("x", ("*",)), tmp_path)
    assert drops == []
    assert [d["text"] for d in documents] == texts


COLUMNS = st.lists(
    st.tuples(
        st.one_of(st.none(), st.text(max_size=10).map(str.encode), st.binary(max_size=6)),
        st.one_of(st.none(), st.text(max_size=3)),
    ),
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(COLUMNS, st.integers(1, 12))
def test_no_row_leaves_without_a_reason(folder: Path, rows: list[tuple[bytes | None, str | None]], size: int) -> None:
    table = pa.table(
        {"text": pa.array([text for text, _ in rows], pa.binary()), "id": pa.array([i for _, i in rows], pa.string())}
    )
    pq.write_table(table, folder / "a.parquet", row_group_size=size)
    documents, drops, records = read(Source("x", ("*",), id="id"), folder)
    good = []
    for text, name in rows:
        try:
            if text is not None and name:
                good.append((document_id("x", name), text.decode()))
        except UnicodeDecodeError:
            continue
    assert records == len(rows)
    assert [(d["id"], d["text"]) for d in documents] == good
    assert len(drops) == len(rows) - len(good)
