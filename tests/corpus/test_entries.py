"""A file of several members is many tasks, and nothing that comes out of it tells how many it was."""

import bz2
import gzip
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tilth.corpus.readers import read_part
from tilth.corpus.readers.entries import find_entries, known_entries
from tilth.corpus.sources import Source, find_files
from tilth.corpus.splits import plan_parts

PACK: dict[str, Callable[[bytes], bytes]] = {
    "gz": lambda data: gzip.compress(data, mtime=0),
    "zst": zstandard.ZstdCompressor(write_checksum=True).compress,
    "bz2": bz2.compress,
}
SKIPPABLE = b"\x50\x2a\x4d\x18\x03\0\0\0abc"  # RFC 8878, 3.1.2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("entries")


def read(source: Source, base: Path, part_bytes: int | None) -> tuple[list[dict[str, Any]], list[dict[str, Any]], int]:
    """Return documents, drops and the number of parts; the file is one part where ``part_bytes`` is None."""
    (file,) = find_files(source, base)
    entries = {} if part_bytes is None else {file: find_entries(source, file, part_bytes)}
    parts = plan_parts([file], part_bytes or 1 << 30, (), entries)
    assert parts[0].slices[0].start == 0
    assert sum(part.size for part in parts) == file.size
    chunks = [chunk for part in parts for chunk in read_part({source.name: source}, part)]
    documents = [row for chunk in chunks for row in chunk.documents.to_pylist()]
    return documents, [row for chunk in chunks for row in chunk.drops.to_pylist()], len(parts)


def silent(done: int, total: int) -> None:
    assert 0 <= done < total


def cut(data: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(bounds)]


LINE = st.sampled_from([b'{"text":"loam"}', b"", b"no", b'{"text":"' + b"x" * 90 + b'"}'])
WIKI = b"<page><title>a</title><ns>0</ns><id>1</id><revision><text>rain</text></revision></page>\n"


@settings(max_examples=150, deadline=None)
@given(
    lines=st.lists(LINE, min_size=1, max_size=12),
    places=st.lists(st.integers(0, 10_000), min_size=1, max_size=6),
    packing=st.sampled_from(["gz", "zst"]),
    part_bytes=st.integers(1, 150),
    wound=st.none() | st.integers(0, 10_000),
)
@example(
    lines=[b'{"text":"a"}'] * 2, places=[12], packing="gz", part_bytes=1, wound=None
)  # the newline begins a member
@example(lines=[b'{"text":"a"}'] * 2, places=[13], packing="zst", part_bytes=1, wound=None)
@example(lines=[b'{"text":"a"}'] * 2, places=[3, 5, 7], packing="gz", part_bytes=1, wound=None)
def test_members_read_apart_are_what_they_are_read_together(
    folder: Path, lines: list[bytes], places: list[int], packing: str, part_bytes: int, wound: int | None
) -> None:
    data = bytearray(b"".join(map(PACK[packing], cut(b"\n".join(lines), places))))
    if wound is not None:
        data[4 + wound % (len(data) - 4)] ^= 8
    (folder / f"a.jsonl.{packing}").write_bytes(data)
    source = Source("x", (f"a.jsonl.{packing}",), maximum_bytes=60)
    assert read(source, folder, part_bytes)[:2] == read(source, folder, None)[:2]


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.text("ab|\n", max_size=12), min_size=1, max_size=10),
    mark=st.sampled_from(["\n", "<end>", "|", "a|"]),
    places=st.lists(st.integers(0, 10_000), min_size=1, max_size=6),
    part_bytes=st.integers(1, 150),
)
def test_separators_across_members_are_found(
    folder: Path, texts: list[str], mark: str, places: list[int], part_bytes: int
) -> None:
    (folder / "a.txt.gz").write_bytes(b"".join(map(PACK["gz"], cut(mark.join(texts).encode(), places))))
    source = Source("x", ("a.txt.gz",), separator=mark)
    assert read(source, folder, part_bytes)[:2] == read(source, folder, None)[:2]


def archived(number: int) -> bytes:
    content = b"rain %d WARC/1.0\r\n\r\nWARC/1.0\r\n" % number
    head = b"WARC/1.0\r\nWARC-Type: conversion\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n"
    return head % len(content) + content + b"\r\n\r\n"


@settings(max_examples=60, deadline=None)
@given(places=st.lists(st.integers(0, 10_000), max_size=6), part_bytes=st.integers(1, 300))
def test_an_archive_is_entered_only_where_a_record_begins(folder: Path, places: list[int], part_bytes: int) -> None:
    (folder / "a.warc.zst").write_bytes(b"".join(map(PACK["zst"], cut(b"".join(map(archived, range(6))), places))))
    source = Source("x", ("a.warc.zst",))
    documents, drops, _ = read(source, folder, part_bytes)
    assert (documents, drops) == read(source, folder, None)[:2]
    assert (len(documents), drops) == (6, [])


@pytest.mark.parametrize(
    ("name", "members", "parts"),
    [
        ("a.jsonl.gz", [b'{"text":"a"}\n'] * 6, 6),
        ("a.jsonl.zst", [b'{"text":"a"}\n'] * 6, 6),
        ("a.warc.gz", [archived(number) for number in range(6)], 6),
        ("a.xml.bz2", [b"<mediawiki>", *[WIKI] * 5], 6),
        ("a.csv.gz", [b"text\n", *[b"a\n"] * 5], 1),  # a line break may stand in quotes
        ("a.jsonl.bz2", [b'{"text":"a"}\n'] * 6, 1),  # looking would take longer than reading
        ("a.jsonl.gz", [b'{"text":"a"}\n' * 6], 1),
        ("a.jsonl.gz", [gzip.compress(b'{"text":"a"}', 0, mtime=0) + b"\n"], 1),  # what looks like a member is none
    ],
)
def test_what_has_several_members_is_several_parts(tmp_path: Path, name: str, members: list[bytes], parts: int) -> None:
    if name.startswith("a.xml"):
        pytest.importorskip("mwparserfromhell", reason="the extra 'web' is not installed")
    (tmp_path / name).write_bytes(b"".join(map(PACK[name.split(".")[-1]], members)))
    source = Source("x", (name,))
    files = find_files(source, tmp_path)
    entries = known_entries({"x": source}, files, 1, tmp_path / "cache.json", look=silent)
    assert len(plan_parts(files, 1, (), entries)) == parts
    assert known_entries({"x": source}, files, 1, tmp_path / "cache.json", look=None) == entries


def test_members_that_wget_wrote_are_found(tmp_path: Path) -> None:
    member = PACK["gz"](b'{"text":"a"}\n')
    (tmp_path / "a.jsonl.gz").write_bytes((member[:8] + b"\x02\x13" + member[10:]) * 3)  # XFL, and a system of its own
    assert read(Source("x", ("a.jsonl.gz",)), tmp_path, 1)[2] == 3


def test_frames_that_are_skipped_are_entered_as_any(tmp_path: Path) -> None:
    pack = PACK["zst"]
    (tmp_path / "a.jsonl.zst").write_bytes(SKIPPABLE + pack(b'{"text":"a"}\n') + SKIPPABLE + pack(b'{"text":"b"}'))
    documents, drops, parts = read(Source("x", ("a.jsonl.zst",)), tmp_path, 1)
    assert ([row["text"] for row in documents], drops, parts) == (["a", "b"], [], 4)


def test_a_file_of_many_is_not_looked_into(tmp_path: Path) -> None:
    for number in range(17):
        (tmp_path / f"{number}.jsonl.gz").write_bytes(PACK["gz"](b'{"text":"a"}\n') * 2)
    source = Source("x", ("*.gz",))
    files = find_files(source, tmp_path)
    assert known_entries({"x": source}, files, 1, tmp_path / "cache.json", look=silent) == {}
    assert len(known_entries({"x": source}, files[:16], 1, tmp_path / "cache.json", look=silent)) == 16
