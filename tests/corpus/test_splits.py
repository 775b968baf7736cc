"""However a file is cut, the same records come out, under the same identities."""

import json
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tilth.corpus.errors import UserError
from tilth.corpus.readers import read_part
from tilth.corpus.sources import Source, SourceFile, find_files
from tilth.corpus.splits import plan_parts

LINE = st.one_of(
    st.text(max_size=20).map(lambda text: json.dumps({"text": text}).encode()),
    st.binary(max_size=12).map(lambda data: b"?" + data.replace(b"\n", b"")),  # not the first bytes of an archive
    st.sampled_from([b"", b"\r", b"  ", b"x" * 50]),
)


def read(source: Source, base: Path, part_bytes: int) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]], int]:
    """Return (id, text) of all documents, (id, bytes, rule, detail) of all drops, and the number of records."""
    documents, drops, records = [], [], 0
    for part in plan_parts(find_files(source, base), part_bytes):
        for chunk in read_part({source.name: source}, part):
            documents += list(zip(chunk.documents["id"].to_pylist(), chunk.documents["text"].to_pylist(), strict=True))
            drops += [(d["id"], d["bytes"], d["rule"], d["detail"]) for d in chunk.drops.to_pylist()]
            records += chunk.records
    return documents, drops, records


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("splits")


@settings(max_examples=150, deadline=None)
@given(lines=st.lists(LINE, max_size=12), end=st.booleans(), part_bytes=st.integers(1, 200), cap=st.integers(30, 60))
@example(lines=[b'{"text":"a"}', b'{"text":"b"}'], end=True, part_bytes=13, cap=60)  # a cut on a first byte
@example(lines=[b"\xef\xbb\xbf" + b'{"text":"a"}', b'{"text":"b"}'], end=False, part_bytes=1, cap=60)
@example(lines=[b"x" * 300, b'{"text":"b"}'], end=False, part_bytes=7, cap=60)  # a record larger than many parts
def test_every_part_size_reads_the_same(folder: Path, lines: list[bytes], end: bool, part_bytes: int, cap: int) -> None:
    (folder / "a.jsonl").write_bytes(b"\n".join(lines) + (b"\n" if end else b""))
    source = Source("x", ("a.jsonl",), maximum_bytes=cap)
    assert read(source, folder, part_bytes) == read(source, folder, 1 << 30)


@settings(max_examples=30, deadline=None)
@given(groups=st.lists(st.integers(1, 40), min_size=1, max_size=6), part_bytes=st.integers(1, 5000))
def test_every_part_size_reads_the_same_parquet(folder: Path, groups: list[int], part_bytes: int) -> None:
    schema = pa.schema([("text", pa.string())])
    with pq.ParquetWriter(folder / "a.parquet", schema) as writer:
        for group, rows in enumerate(groups):
            writer.write_table(pa.table({"text": [f"{group} {row} " * row for row in range(rows)]}, schema=schema))
    source = Source("x", ("a.parquet",))
    whole = read(source, folder, 1 << 30)
    assert whole[2] == len(set(whole[0])) == sum(groups)
    assert read(source, folder, part_bytes) == whole


FILES = st.lists(
    st.builds(
        lambda source, size, compression: (source, size, compression),
        st.sampled_from("ab"),
        st.integers(0, 1000),
        st.sampled_from([None, "gz"]),
    ),
    max_size=15,
)


@given(FILES, st.integers(1, 700))
def test_every_byte_is_in_one_slice_and_no_part_is_larger_than_it_must_be(
    described: list[tuple[str, int, None]], part_bytes: int
) -> None:
    files = [SourceFile(s, f"/{i}", str(i), size, 0, "jsonl", c) for i, (s, size, c) in enumerate(described)]
    parts = plan_parts(files, part_bytes)
    assert parts == plan_parts(iter(files), part_bytes)
    for file in files:
        pieces = [piece for part in parts for piece in part.slices if piece.file == file]
        assert pieces[0].start == 0
        assert pieces[-1].end == file.size
        assert all(one.end == two.start for one, two in pairwise(pieces))
        assert file.compression is None or len(pieces) == 1
    for part in parts:
        assert part.slices
        assert {piece.source for piece in part.slices} == {part.source}
        assert part.size <= part_bytes or (len(part.slices) == 1 and part.slices[0].file.compression)
    for one, two in pairwise(parts):
        assert one.source != two.source or one.size + two.slices[0].size > part_bytes


def test_parts_of_no_size_are_refused() -> None:
    with pytest.raises(UserError, match="part_bytes is 0"):
        plan_parts([], 0)
