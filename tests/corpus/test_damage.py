"""Damage is data: whatever is done to a file, what can be read is read, and the loss is one line that says where."""

import bz2
import gzip
import json
import lzma
import random
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from tilth.corpus.errors import UserError
from tilth.corpus.readers import read_part
from tilth.corpus.sources import Source, find_files
from tilth.corpus.splits import plan_parts

WORDS = random.Random(1)
TEXTS = ["".join(WORDS.choices("abcdé \n", k=WORDS.randrange(60))) for _ in range(150)]
RECORDS = [{"id": f"r{i}", "text": text, "meta": {"n": [i], "s": text[:3]}} for i, text in enumerate(TEXTS)]
BODY = b"".join(json.dumps(record).encode() + b"\n" for record in RECORDS)


def parquet(**options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(RECORDS), sink, row_group_size=40, **options)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def zstd(data: bytes, checksum: bool) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=checksum).compress(data)


FILES = {
    "plain.jsonl": BODY,
    "one.jsonl.gz": gzip.compress(BODY, mtime=0),
    "many.jsonl.gz": b"".join(gzip.compress(BODY[i : i + 3000], mtime=0) for i in range(0, len(BODY), 3000)),
    "one.jsonl.bz2": bz2.compress(BODY),
    "many.jsonl.bz2": b"".join(bz2.compress(BODY[i : i + 3000]) for i in range(0, len(BODY), 3000)),
    "one.jsonl.xz": lzma.compress(BODY),
    "many.jsonl.xz": b"".join(lzma.compress(BODY[i : i + 3000]) for i in range(0, len(BODY), 3000)),
    "one.jsonl.zst": zstd(BODY, True),
    "many.jsonl.zst": b"".join(zstd(BODY[i : i + 3000], False) for i in range(0, len(BODY), 3000)),
    "snappy.parquet": parquet(),
    "zstd.parquet": parquet(compression="zstd", write_page_checksum=True),
    "plain.parquet": parquet(compression="none", use_dictionary=False),
    "delta.parquet": parquet(
        compression="none", use_dictionary=False, column_encoding={"text": "DELTA_BYTE_ARRAY", "id": "PLAIN"}
    ),
    "paged.parquet": parquet(compression="gzip", data_page_version="2.0", data_page_size=200),
}


def read(name: str, data: bytes, base: Path, **options: Any) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the texts and drops of a file that holds ``data``; the ledger must hold in every chunk."""
    (base / name).write_bytes(data)
    source = Source("x", (name,), **options)
    texts, drops = [], []
    for part in plan_parts(find_files(source, base), 1 << 30):
        for chunk in read_part({"x": source}, part):
            assert chunk.records == chunk.documents.num_rows + chunk.drops.num_rows > 0
            chunk.documents.validate(full=True)
            chunk.drops.validate(full=True)
            texts += chunk.documents["text"].to_pylist()
            drops += chunk.drops.to_pylist()
    for drop in drops:
        assert drop["rule"] in ("unreadable", "too_large", "damaged", "decompression_bomb")
        assert drop["detail"].startswith(f"{name}:")
        assert "\n" not in drop["detail"]
        assert 0 <= drop["bytes"] <= len(data) or drop["rule"] in ("unreadable", "too_large")
    return texts, drops


def flips(data: bytes, seed: int, count: int) -> Iterator[bytes]:
    """Yield ``count`` damaged copies of ``data``: bits flipped, bytes overwritten, at the ends more than elsewhere."""
    chance = random.Random(seed)
    for _ in range(count):
        damaged = bytearray(data)
        low, high = chance.choice([(0, len(data)), (0, 100), (len(data) - 600, len(data))])
        for _ in range(chance.choice([1, 1, 3, 20])):
            at = chance.randrange(max(0, low), min(high, len(data)))
            damaged[at] = chance.choice([damaged[at] ^ 1 << chance.randrange(8), 0, 255, chance.randrange(256)])
        yield bytes(damaged)


@pytest.mark.parametrize("name", sorted(FILES))
def test_an_undamaged_file_is_read_whole(tmp_path: Path, name: str) -> None:
    assert read(name, FILES[name], tmp_path) == (TEXTS, [])


@pytest.mark.parametrize("name", sorted(FILES))
@pytest.mark.parametrize("options", [{}, {"id": "id", "metadata": ()}], ids=["all", "few"])
def test_flipped_bytes_never_raise(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    for seed, damaged in enumerate(flips(FILES[name], seed=len(name), count=50)):
        try:
            read(name, damaged, tmp_path, **options)
        except UserError as error:  # a plain file that now begins like an archive
            assert "rename it" in str(error), seed


@pytest.mark.parametrize("name", ["one.jsonl.gz", "many.jsonl.gz", "one.jsonl.zst", "many.jsonl.zst"])
def test_a_stream_cut_anywhere_gives_its_beginning_and_one_drop(tmp_path: Path, name: str) -> None:
    data = FILES[name]
    previous = 0
    for cut in [0, 1, 5, *range(7, len(data), max(1, len(data) // 120)), len(data) - 1]:
        texts, drops = read(name, data[:cut], tmp_path)
        assert texts == TEXTS[: len(texts)]
        assert len(texts) >= previous
        previous = len(texts)
        if "one" in name:
            (drop,) = drops
            offset = int(drop["detail"].split(":")[1])
            assert drop["rule"] == "damaged"
            assert BODY[:offset].count(b"\n") == len(texts)
        else:  # where a member ends the cut cannot be seen, but the record that it went through can
            assert len(drops) <= 1
    # a zstd block is all or nothing: 128 KiB hold all of one file, 3,000 bytes a tenth of the other
    assert previous >= {"one.jsonl.gz": 149, "many.jsonl.gz": 149, "one.jsonl.zst": 0, "many.jsonl.zst": 120}[name]


@pytest.mark.parametrize("name", ["one.jsonl.gz", "many.jsonl.gz", "one.jsonl.zst", "many.jsonl.zst"])
def test_what_follows_the_data_is_one_drop(tmp_path: Path, name: str) -> None:
    texts, (drop,) = read(name, FILES[name] + b"garbage", tmp_path)
    assert texts == TEXTS
    assert (drop["rule"], drop["bytes"]) == ("damaged", 7)
    assert drop["detail"].startswith(f"{name}:{len(BODY)}: ")


@pytest.mark.parametrize("name", sorted(set(FILES) - {"plain.jsonl"}))
def test_a_broken_file_does_not_end_the_part(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(FILES[name][: len(FILES[name]) // 2])
    (tmp_path / "zz.jsonl").write_bytes(b'{"text":"after"}\n')
    (tmp_path / "a.jsonl").write_bytes(b'{"text":"before"}\n')
    source = Source("x", ("*",))
    (part,) = plan_parts(find_files(source, tmp_path), 1 << 30)
    chunks = list(read_part({"x": source}, part))
    assert chunks[0].documents["text"].to_pylist() == ["before"]
    assert chunks[-1].documents["text"].to_pylist() == ["after"]
    assert [d["rule"] for chunk in chunks for d in chunk.drops.to_pylist()] == ["damaged"]


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst", "a.parquet"])
@pytest.mark.parametrize("data", [b"", bytes(30), b'{"text":"a"}\n', b"PAR1PAR1"])
def test_a_file_that_is_not_what_its_name_says_is_one_drop(tmp_path: Path, name: str, data: bytes) -> None:
    texts, (drop,) = read(name, data, tmp_path)
    assert texts == []
    assert (drop["rule"], drop["bytes"]) == ("damaged", len(data))


def bomb(size: int) -> bytes:
    """Return a zstd frame of ``size`` zeros in run-length blocks: 4 bytes for every 128 KiB. RFC 8878, 3.1.1."""
    block = 1 << 17
    header = b"\x28\xb5\x2f\xfd" + b"\x00" + b"\x38"  # no content size, window of 128 KiB
    run = (block << 3 | 1 << 1).to_bytes(3, "little") + b"\0"
    last = (block << 3 | 1 << 1 | 1).to_bytes(3, "little") + b"\0"
    return header + run * (size // block - 1) + last


def test_the_bomb_of_these_tests_is_one() -> None:
    data = zstandard.ZstdDecompressor().decompressobj().decompress(bomb(1 << 20))
    assert data == bytes(1 << 20)


@pytest.mark.parametrize("before", [b"", BODY], ids=["first", "after good data"])
def test_a_zstd_bomb_is_stopped_in_bounded_memory(tmp_path: Path, before: bytes) -> None:
    data = zstd(before, True) + bomb(1 << 36)  # 2 MiB that would expand to 64 GiB
    tracemalloc.start()
    texts, drops = read("a.jsonl.zst", data, tmp_path, maximum_bytes=1 << 20)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert texts == (TEXTS if before else [])
    assert drops[-1]["rule"] == "decompression_bomb"
    assert drops[-1]["detail"] == f"a.jsonl.zst:{len(before)}: expands more than 1000 times"
    assert peak < 100 << 20


def test_a_gzip_bomb_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = zlib.compressobj(9, wbits=31)
    data = b"".join(stream.compress(b"\n" * (1 << 20)) for _ in range(64)) + stream.flush()
    assert read("a.jsonl.gz", data, tmp_path) == ([], [])  # 64 MiB of blank lines may be odd, but no danger
    monkeypatch.setattr("tilth.corpus.readers.decompress.BOMB_EXCESS", 1 << 20)  # deflate passes 1000 to 1 by little
    texts, (drop,) = read("a.jsonl.gz", data, tmp_path)
    assert texts == []
    assert drop["rule"] == "decompression_bomb"
    assert 0 < drop["bytes"] < len(data)


def test_a_parquet_bomb_is_stopped(tmp_path: Path) -> None:
    values = pa.array(["x" * (1 << 18), "y"])
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 200_000, pa.int32()), values)  # 52 GB of text in some KB
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"text": column}), sink, compression="zstd")
    texts, (drop,) = read("a.parquet", sink.getvalue().to_pybytes(), tmp_path)
    assert len(texts) < 2000
    assert (drop["rule"], drop["value"]) == ("decompression_bomb", 200_000 - len(texts))
