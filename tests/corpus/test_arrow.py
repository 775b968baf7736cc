"""Arrow IPC: the rows of files and streams, under the rules of Parquet's rows."""

from pathlib import Path

import pyarrow as pa
import pyarrow.feather
import pytest
from example_reading import read

from tilth.corpus.document import document_id
from tilth.corpus.readers import check_fields, first_record
from tilth.corpus.sources import Source, find_files

ALL = Source("x", ("*.arrow",))


def write(path: Path, batches: list[pa.RecordBatch], stream: bool = False, codec: str | None = None) -> None:
    make = pa.ipc.new_stream if stream else pa.ipc.new_file
    with make(str(path), batches[0].schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as writer:
        for batch in batches:
            writer.write_batch(batch)


def batches(count: int, rows: int) -> list[pa.RecordBatch]:
    return [
        pa.record_batch(
            {"n": list(range(b * rows, (b + 1) * rows)), "text": [f"{b} {i} é" for i in range(rows)]},
        )
        for b in range(count)
    ]


@pytest.mark.parametrize("codec", [None, "zstd", "lz4"])
@pytest.mark.parametrize("stream", [False, True])
def test_every_row_is_read_however_it_is_cut(tmp_path: Path, stream: bool, codec: str | None) -> None:
    write(tmp_path / "a.arrow", batches(5, 40), stream, codec)
    expected = [f"{b} {i} é" for b in range(5) for i in range(40)]
    for part_bytes in (1 << 30, 1000, 100, 7):
        found = read(ALL, tmp_path, part_bytes)
        assert found.losses == []
        assert found.texts == expected
        assert [d["id"] for d in found.documents] == [document_id("x", f"a.arrow#{row}") for row in range(200)]
    (file,) = find_files(ALL, tmp_path)
    assert first_record(ALL, file) == {"n": 0, "text": "0 0 é"}
    check_fields(Source("x", ("*",), date="n"), [file])


def test_feather_is_an_arrow_file(tmp_path: Path) -> None:
    pyarrow.feather.write_feather(pa.Table.from_batches(batches(2, 3)), tmp_path / "a.feather")
    assert len(read(Source("x", ("*.feather",)), tmp_path).texts) == 6


def test_a_damaged_batch_costs_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.arrow"
    write(path, batches(5, 40), codec="zstd")
    data = bytearray(path.read_bytes())
    magic = b"\x28\xb5\x2f\xfd"
    places = [i for i in range(len(data)) if data[i : i + 4] == magic]
    at = places[len(places) // 2]  # a buffer of the third batch
    data[at + 6 : at + 30] = bytes(24)
    path.write_bytes(data)
    found = read(ALL, tmp_path)
    assert len(found.texts) == 160
    ((rule, detail),) = found.losses
    assert rule == "damaged"
    assert detail.startswith("a.arrow:80: ")


def test_a_stream_that_breaks_keeps_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "a.arrow"
    write(path, batches(5, 40), stream=True)
    path.write_bytes(path.read_bytes()[:-2000])
    found = read(ALL, tmp_path)
    assert found.texts == [f"{b} {i} é" for b in range(5) for i in range(40)][: len(found.texts)]
    assert len(found.texts) in (80, 120, 160)
    assert [rule for rule, _ in found.losses] == ["damaged"]


@pytest.mark.parametrize("data", [b"", b"ARROW1", b"ARROW1\0\0" + bytes(50), b"no arrow at all"])
def test_what_is_no_arrow_is_one_drop(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.arrow").write_bytes(data)
    found = read(ALL, tmp_path)
    assert [rule for rule, _ in found.losses] == ["damaged"]
    assert found.drops[0]["bytes"] == len(data)
