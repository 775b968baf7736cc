"""CSV and TSV: every row is a document or a drop, and a stray quote costs its line."""

import csv
import io
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from example_reading import read
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tilth.corpus.readers import check_fields
from tilth.corpus.readers.chunk import Chunk
from tilth.corpus.readers.delimited import delimited_chunks, layout_of, named_records
from tilth.corpus.readers.records import record_chunks
from tilth.corpus.sources import Source, SourceFile, find_files

ALL = Source("x", ("*.csv",))


def put(base: Path, data: bytes, name: str = "a.csv") -> None:
    (base / name).write_bytes(data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("csv")


def test_a_row_becomes_a_document_with_its_columns(tmp_path: Path) -> None:
    put(tmp_path, b'\xef\xbb\xbfkey,text,when,link\r\n7,"a ""quoted""\r\nword, and more",2020-01-02,\r\n\r\n8,,,u\r\n')
    source = Source("x", ("*.csv",), id="key", date="when", url="link")
    found = read(source, tmp_path)
    assert found.losses == []
    assert found.texts == ['a "quoted"\nword, and more', ""]
    assert [(d["date"], d["url"]) for d in found.documents] == [("2020-01-02", None), (None, "u")]
    check_fields(source, find_files(source, tmp_path))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"a,b,c", "has 3 fields, expected 2"),
        (b"a", "has 1 fields, expected 2"),
        (b"\xff,b", "is not UTF-8 (byte 0 of the record)"),
        (b'"a"b,c', "is not valid CSV"),
        (b'"never closed,b', "opens a quote that is not closed"),
    ],
)
def test_a_bad_row_costs_itself(tmp_path: Path, row: bytes, reason: str) -> None:
    put(tmp_path, b"text,n\nbefore,1\n" + row + b'\nafter,2\n"and\nafter",3\n')
    found = read(ALL, tmp_path)
    assert found.texts == ["before", "after", "and\nafter"]
    ((rule, detail),) = found.losses
    assert (rule, detail.startswith(f"a.csv:16: {reason}")) == ("unreadable", True), detail


def test_tabs_separate_and_quotes_are_letters_in_tsv(tmp_path: Path) -> None:
    put(tmp_path, b'text\tn\n"a\t1\nb"c\t2\n', "a.tsv")
    assert read(Source("x", ("*.tsv",)), tmp_path).texts == ['"a', 'b"c']
    put(tmp_path, b'text;n\n"a;b";1\n', "b.csv")
    assert read(Source("x", ("b.csv",), delimiter=";"), tmp_path).texts == ["a;b"]


def by_row(source: Source, file: SourceFile, blocks: list[bytes]) -> Iterator[Chunk]:
    """Read as the reader does from the first irregular row on."""
    data = b"".join(blocks)
    at = 3 if data.startswith(b"\xef\xbb\xbf") else 0
    records = named_records(source, layout_of(source, file), [data[at:]], at, None)
    return record_chunks(source, file.relative, records)


@settings(max_examples=250, deadline=None)
@given(
    body=st.lists(
        st.sampled_from(
            [b"a", b"b c", b",", b"\n", b'"', b'""', b'"x,\ny"', b',"q"\n', b"\r\n", b"\r", b"\t", b"\xff", b" ", b"\0"]
        ),
        max_size=30,
    ),
    head=st.sampled_from([b"text,n\n", b"text\n", b"\xef\xbb\xbfn,text\r\n", b"text\tn\n", b""]),
    cuts=st.lists(st.integers(0, 80), max_size=4),
    name=st.sampled_from(["a.csv", "a.tsv"]),
    cap=st.sampled_from([12, 1 << 20]),
)
@example(body=[b'"a"\n'] * 3, head=b"text\n", cuts=[9], name="a.csv", cap=12)
@example(
    body=[b"a,1\n", b'"\xff\n', b'b",1\n', b'"c', b'",2\n'], head=b"text,n\n", cuts=[20], name="a.csv", cap=1 << 20
)
def test_rows_read_at_once_are_those_read_one_by_one(
    folder: Path, body: list[bytes], head: bytes, cuts: list[int], name: str, cap: int
) -> None:
    data = head + b"".join(body)
    put(folder, data, name)
    source = Source("x", (name,), maximum_bytes=cap, format="csv" if name == "a.csv" else "tsv")
    (file,) = find_files(source, folder)
    bounds = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    blocks = [data[start:end] for start, end in pairwise(bounds)]
    assert rows_of(delimited_chunks(source, file, iter(blocks))) == rows_of(by_row(source, file, blocks))


def rows_of(chunks: Iterator[Chunk]) -> tuple[list[object], list[object], int]:
    """Return documents, drops and the number of records, however they were cut into chunks."""
    documents: list[object] = []
    drops: list[object] = []
    records = 0
    for chunk in chunks:
        documents += chunk.documents.to_pylist()
        drops += chunk.drops.to_pylist()
        records += chunk.records
    return documents, drops, records


CELL = st.text(st.sampled_from('ab",\n é'), max_size=8)


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(st.tuples(CELL, CELL), max_size=10), part_bytes=st.integers(1, 100))
def test_what_a_writer_of_csv_wrote_is_read_back(folder: Path, rows: list[tuple[str, str]], part_bytes: int) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerows([("text", "n"), *rows])
    put(folder, out.getvalue().encode())
    found = read(ALL, folder, part_bytes)
    assert found.losses == []
    assert found.texts == [text for text, _ in rows]


@settings(max_examples=200, deadline=None)
@given(body=st.text(st.sampled_from('ab",\n'), max_size=60))
def test_no_line_disappears(folder: Path, body: str) -> None:
    put(folder, b"text,n\n" + body.encode())
    found = read(ALL, folder)
    kept = "".join(found.texts) + "".join(str(d["metadata"]) for d in found.documents)
    lost = sum(d["bytes"] for d in found.drops)
    letters = sum(body.count(letter) for letter in "ab")
    assert sum(kept.count(letter) for letter in "ab") <= letters <= len(kept) + lost
