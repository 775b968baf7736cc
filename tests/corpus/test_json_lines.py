"""JSON lines: what becomes a document, what becomes a drop, and that nothing becomes neither."""

import gzip
import json
import random
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tilth.corpus.document import document_id
from tilth.corpus.errors import UserError
from tilth.corpus.readers import Chunk, check_fields, field_names, first_record, read_part
from tilth.corpus.readers.chunk import CHUNK_BYTES, CHUNK_ROWS
from tilth.corpus.sources import Source, find_files
from tilth.corpus.splits import plan_parts

CORPORA = Path(__file__).parents[2].parent / "shared/data/corpora"
COMPRESS = {
    "": lambda data: data,
    ".gz": gzip.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}


def chunks(source: Source, base: Path) -> Iterator[Chunk]:
    for part in plan_parts(find_files(source, base), 1 << 30):
        yield from read_part({source.name: source}, part)


def read(source: Source, base: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]], int]:
    documents, drops, records = [], [], 0
    for chunk in chunks(source, base):
        chunk.documents.validate(full=True)
        chunk.drops.validate(full=True)
        documents += chunk.documents.to_pylist()
        drops += chunk.drops.to_pylist()
        assert chunk.records == chunk.documents.num_rows + chunk.drops.num_rows
        records += chunk.records
    return documents, drops, records


def put(base: Path, name: str, *lines: bytes) -> None:
    (base / name).write_bytes(b"\n".join(lines) + b"\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lines")


def test_a_record_becomes_a_document_with_all_its_columns(tmp_path: Path) -> None:
    record = {"key": 7, "body": {"text": "Grüße\x00", "lang": "de"}, "when": 1984, "link": None, "b": [1], "a": 0.5}
    put(tmp_path, "a.jsonl", json.dumps(record).encode())
    source = Source("x", ("a.jsonl",), text="body.text", id="key", date="when", url="link", language="body.lang")
    (document,), drops, _ = read(source, tmp_path)
    assert drops == []
    assert document["id"] == document_id("x", "7")
    assert document["text"] == "Grüße\x00"
    assert (document["source"], document["date"], document["url"], document["language"]) == ("x", "1984", None, "de")
    assert document["metadata"] == '{"a":0.5,"b":[1],"body":{},"key":7}'
    assert document["bytes"] == 8


def test_identity_without_an_id_field_is_the_place_in_the_decompressed_file(tmp_path: Path) -> None:
    lines = [b'{"text":"a"}', b"", '{"text":"é"}'.encode(), b'{"text":"c"}']
    for suffix, compress in COMPRESS.items():
        (tmp_path / f"f.jsonl{suffix}").write_bytes(compress(b"\n".join(lines)))
        documents, drops, records = read(Source("x", (f"f.jsonl{suffix}",)), tmp_path)
        assert drops == []
        assert records == 3
        assert [d["id"] for d in documents] == [document_id("x", f"f.jsonl{suffix}#{at}") for at in (0, 14, 28)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text":"a"', "is not valid JSON"),
        (b'{"text":NaN}', "is not valid JSON"),
        (b'{"text":"\xff"}', "is not UTF-8 (byte 9 of the record)"),
        (b'{"text":"\xed\xa0\x80"}', "is not UTF-8"),
        (b'{"text":"\\ud800"}', "is not valid JSON"),
        (b'{"text":"\\udc00\\ud800"}', "is not valid JSON"),
        (b'{"text":"a","other":"\\ud83d"}', "is not valid JSON"),
        (b'{"title":"a"}', "field 'text' is missing"),
        (b'{"text":null}', "field 'text' is null, expected a string"),
        (b'{"text":["a"]}', "field 'text' is a list, expected a string"),
        (b'{"text":true}', "field 'text' is a boolean"),
        (b'{"text":1}', "field 'text' is a number"),
        (b'["text"]', "is a list, expected an object"),
        (b'"text"', "is a string, expected an object"),
        (b"null", "is null, expected an object"),
        (b"[" * 5000, "is not valid JSON"),
        (b'{"text":"a","date":["2020"]}', "field 'date' is a list, expected a string"),
        (b'{"text":"a","date":true}', "field 'date' is a boolean"),
        (b"\x00" * 40, "is not valid JSON"),
    ],
)
def test_a_bad_record_is_a_drop_with_its_reason_and_costs_nothing_else(
    tmp_path: Path, line: bytes, reason: str
) -> None:
    put(tmp_path, "a.jsonl", b'{"text":"before"}', line, b'{"text":"after"}')
    documents, (drop,), records = read(Source("x", ("a.jsonl",), date="date"), tmp_path)
    assert [d["text"] for d in documents] == ["before", "after"]
    assert records == 3
    assert (drop["stage"], drop["rule"], drop["bytes"], drop["source"]) == ("read", "unreadable", len(line), "x")
    assert drop["detail"].startswith(f"a.jsonl:18: {reason}")
    assert drop["id"] == document_id("x", "a.jsonl#18")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text":"a"}', "field 'meta.id' is missing"),
        (b'{"text":"a","meta":7}', "field 'meta.id' is missing"),
        (b'{"text":"a","meta":{"id":null}}', "field 'meta.id' is null"),
        (b'{"text":"a","meta":{"id":1.5}}', "field 'meta.id' is a number, expected a string or a whole number"),
        (b'{"text":"a","meta":{"id":true}}', "field 'meta.id' is a boolean"),
        (b'{"text":"a","meta":{"id":""}}', "field 'meta.id' is empty"),
    ],
)
def test_a_record_without_its_identity_is_a_drop(tmp_path: Path, line: bytes, reason: str) -> None:
    put(tmp_path, "a.jsonl", b'{"text":"b","meta.id":"x"}', b'{"text":"c","meta":{"id":"y"}}', line)
    documents, (drop,), _ = read(Source("x", ("a.jsonl",), id="meta.id"), tmp_path)
    assert [d["id"] for d in documents] == [document_id("x", "x"), document_id("x", "y")]
    assert reason in drop["detail"]


def test_bad_bytes_in_the_middle_leave_all_other_records(tmp_path: Path) -> None:
    lines = [json.dumps({"text": f"line {i} " + "é" * 50}).encode() for i in range(20_000)]
    bad = [5, 9_000, 9_001, 19_999]
    for i in bad:
        lines[i] = lines[i][:-5] + b"\xc3" + lines[i][-4:]
    put(tmp_path, "a.jsonl", *lines)
    documents, drops, records = read(Source("x", ("a.jsonl",)), tmp_path)
    assert records == 20_000
    assert len(documents) == 20_000 - len(bad)
    starts = [sum(len(line) + 1 for line in lines[:i]) for i in bad]
    assert [d["detail"].split(":")[1] for d in drops] == [str(start) for start in starts]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
RECORDS = st.one_of(
    st.fixed_dictionaries({"text": st.text(max_size=30)}, optional={"id": st.text(max_size=3), "meta": VALUES}),
    st.fixed_dictionaries({}, optional={"text": VALUES, "id": VALUES, "date": VALUES}),
    VALUES,
)
LINES = st.one_of(
    st.builds(lambda record, ascii: json.dumps(record, ensure_ascii=ascii).encode(), RECORDS, st.booleans()),
    st.binary(max_size=20).map(lambda data: b"." + data.replace(b"\n", b" ")),  # not the first bytes of an archive
    st.sampled_from([b"", b" ", b"\r", b'{"text":"\\ud800"}', b'{"text":"a"}\r']),
)


def plain_reader(line: bytes) -> tuple[str, str] | None:
    """The rules again, slowly: return (id, text) of a good record, ``None`` for any other."""
    try:
        record = json.loads(line.decode())
        json.dumps(record, ensure_ascii=False).encode()  # fails on a lone surrogate
    except ValueError:
        return None
    if not isinstance(record, dict) or not isinstance(record.get("text"), str):
        return None
    name, date = record.get("id"), record.get("date")
    if type(name) not in (str, int) or name == "" or type(date) in (bool, list, dict):
        return None
    return str(name), record["text"]


@settings(max_examples=200, deadline=None)
@given(st.lists(LINES, max_size=15), st.sampled_from(sorted(COMPRESS)))
@example([b"\xef\xbb\xbf" + b'{"text":"a","id":"b"}'], "")
def test_no_record_leaves_without_a_reason(folder: Path, lines: list[bytes], suffix: str) -> None:
    body = b"\n".join(lines)
    (folder / f"a.jsonl{suffix}").write_bytes(COMPRESS[suffix](body))
    documents, drops, records = read(Source("x", (f"a.jsonl{suffix}",), id="id", date="date"), folder)
    bare = [line.removeprefix(b"\xef\xbb\xbf") if i == 0 else line for i, line in enumerate(lines)]
    filled = [line for line in bare if line.strip(b" \t\r\n")]
    good = [pair for line in filled if (pair := plain_reader(line))]
    assert records == len(filled)
    assert [(d["id"], d["text"]) for d in documents] == [(document_id("x", name), text) for name, text in good]
    assert [d["bytes"] for d in drops] == [len(line) for line in filled if plain_reader(line) is None]
    assert all(d["rule"] == "unreadable" for d in drops)


def test_a_line_beyond_the_cap_is_counted_and_not_held(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "a.jsonl.gz", "wb", compresslevel=1) as file:
        file.write(b'{"text":"before"}\n{"text":"')
        for _ in range(40):
            file.write(b"0123456789abcdef" * (1 << 16))
        file.write(b'"}\n{"text":"after"}\n')
    tracemalloc.start()
    documents, (drop,), _ = read(Source("x", ("*.gz",), maximum_bytes=4 << 20), tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [d["text"] for d in documents] == ["before", "after"]
    size = (40 << 20) + 11
    assert (drop["rule"], drop["bytes"], drop["value"], drop["limit"]) == ("too_large", size, size, 4 << 20)
    assert drop["detail"] == f"a.jsonl.gz:18: is {size} bytes long, at most {4 << 20} are read"
    assert peak < 20 << 20


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_a_long_stream_is_read_in_bounded_memory(tmp_path: Path, suffix: str) -> None:
    source = random.Random(0)
    opened: Any = {"": open, ".gz": gzip.open, ".zst": zstandard.open}[suffix]
    options = {"compresslevel": 1} if suffix == ".gz" else {}
    with opened(tmp_path / f"a.jsonl{suffix}", "wb", **options) as file:
        for _ in range(9000):
            file.write(b'{"n":1,"text":"%s"}\n' % source.randbytes(3500).hex().encode())
    total = 0
    tracemalloc.start()
    for chunk in chunks(Source("x", ("a*",)), tmp_path):
        assert chunk.documents.num_rows <= CHUNK_ROWS
        size = pc.sum(chunk.documents["bytes"]).as_py()
        assert size <= CHUNK_BYTES
        total += size
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total == 9000 * 7000
    assert peak < 24 << 20  # a block of 2 MiB some times over: its pieces, its lines, their records


def test_many_short_records_are_cut_by_rows(tmp_path: Path) -> None:
    put(tmp_path, "a.jsonl", *[b'{"text":""}'] * 20_000)
    assert [c.records for c in chunks(Source("x", ("*",)), tmp_path)] == [8192, 8192, 20_000 - 2 * 8192]


def test_members_and_frames_follow_each_other(tmp_path: Path) -> None:
    lines = [json.dumps({"text": f"{i}"}).encode() + b"\n" for i in range(100)]
    cut = 11  # not at the end of a line
    body = b"".join(lines)
    pieces = [body[i : i + cut] for i in range(0, len(body), cut)]
    frame = zstandard.ZstdCompressor().compress
    skippable = b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"  # RFC 8878, 3.1.2: what seekable zstd files end with
    (tmp_path / "a.jsonl.gz").write_bytes(b"".join(map(gzip.compress, pieces)) + b"\0" * 5000)
    (tmp_path / "b.jsonl.zst").write_bytes(skippable + b"".join(map(frame, pieces)) + skippable)
    for name in ("a*", "b*"):
        documents, drops, _ = read(Source("x", (name,)), tmp_path)
        assert drops == []
        assert [d["text"] for d in documents] == [f"{i}" for i in range(100)]


def test_a_window_of_two_gigabytes_is_read(tmp_path: Path) -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=31, enable_ldm=False, hash_log=6, chain_log=6)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    data = stream.compress(b'{"text":"a"}\n') + stream.flush()
    assert zstandard.get_frame_parameters(data).window_size == 1 << 31
    (tmp_path / "a.jsonl.zst").write_bytes(data)
    assert len(read(Source("x", ("*",)), tmp_path)[0]) == 1


def test_metadata_is_what_the_recipe_asks_for(tmp_path: Path) -> None:
    put(tmp_path, "a.jsonl", b'{"text":"a","c":1,"b":{"z":1,"a":2},"id":"q"}')
    kept = {
        None: '{"b":{"a":2,"z":1},"c":1,"id":"q"}',
        ("b", "absent"): '{"b":{"a":2,"z":1}}',
        (): None,
    }
    for fields, expected in kept.items():
        ((document,), _, _) = read(Source("x", ("*",), id="id", metadata=fields), tmp_path)
        assert document["metadata"] == expected


def test_a_missing_field_is_named_before_the_run_starts(tmp_path: Path) -> None:
    put(tmp_path, "a.jsonl", b"", b"broken", b'{"txt":"a","meta":{"url":"u"}}')
    (file,) = find_files(Source("x", ("*",)), tmp_path)
    assert first_record(Source("x", ("*",)), file) == {"txt": "a", "meta": {"url": "u"}}
    assert field_names({"txt": "a", "meta": {"url": {"path": 1}}}) == ("txt", "meta", "meta.url", "meta.url.path")
    check_fields(Source("x", ("*",), text="txt", url="meta.url"), [file])
    with pytest.raises(UserError, match=r"no field 'text' for text; .* have txt, meta, meta.url; did you mean 'txt'"):
        check_fields(Source("x", ("*",)), [file])
    with pytest.raises(UserError, match=r"no field 'published' for date; .*; set date to one of them"):
        check_fields(Source("x", ("*",), text="txt", date="published"), [file])


def test_a_field_that_few_records_have_is_a_field(tmp_path: Path) -> None:
    put(tmp_path, "a.jsonl", *[b'{"text":"a"}'] * 50, b'{"text":"b","url":"u"}')
    source = Source("x", ("*",), url="url")
    (file,) = find_files(source, tmp_path)
    check_fields(source, [file])
    assert [d["url"] for d in read(source, tmp_path)[0]] == [None] * 50 + ["u"]


@pytest.mark.parametrize("body", [b"", b"\n\n", b"[\n1,\n2]\n", b"\xff\n"])
def test_a_file_without_a_readable_record_is_named_before_the_run_starts(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "a.json").write_bytes(body)
    (file,) = find_files(Source("x", ("*",)), tmp_path)
    with pytest.raises(UserError, match=r"a.json' has no readable record .*expected one JSON object a line"):
        first_record(Source("x", ("*",)), file)


@pytest.mark.skipif(not CORPORA.is_dir(), reason="the shared corpora are not here")
def test_real_corpora_load_without_a_drop() -> None:
    paths = sorted(CORPORA.glob("*.jsonl.zst"))
    assert len(paths) == 6
    for path in paths:
        source = Source("x", (path.name,), id="id", date="date")
        with zstandard.open(path, "rt", encoding="utf-8", newline="\n") as file:
            expected = [json.loads(line) for line in file]
        seen = 0
        for chunk in chunks(source, CORPORA):
            part = expected[seen : seen + chunk.records]
            assert chunk.drops.num_rows == 0
            assert chunk.documents["text"].to_pylist() == [record["text"] for record in part]
            assert chunk.documents["date"].to_pylist() == [record["date"] for record in part]
            assert chunk.documents["id"].to_pylist() == [document_id("x", record["id"]) for record in part]
            seen += chunk.records
        assert seen == len(expected)
