"""Finding files: one order, one name each, and an answer for every pattern that finds nothing."""

import os
import stat
import tempfile
from pathlib import Path

import pytest
import xxhash

from tilth.corpus.errors import UserError
from tilth.corpus.sources import Source, check_allowance, find_files, input_digests, open_unchanged

NOBODY = 65534


def write(path: Path, data: bytes = b'{"text":"a"}\n') -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_files_are_sorted_by_relative_path_whatever_the_order_of_patterns(tmp_path: Path) -> None:
    for name in ("b/2.jsonl", "a/10.jsonl", "a/9.jsonl.zst", "c.parquet"):
        write(tmp_path / name)
    one = find_files(Source("x", ("c.parquet", "b/*", "a/*")), tmp_path)
    two = find_files(Source("x", ("a/*", "**/*.jsonl", "c.parquet")), tmp_path)
    assert [file.relative for file in one] == ["a/10.jsonl", "a/9.jsonl.zst", "b/2.jsonl", "c.parquet"]
    assert one == two
    assert [(file.format, file.compression) for file in one] == [
        ("jsonl", None),
        ("jsonl", "zst"),
        ("jsonl", None),
        ("parquet", None),
    ]


def test_names_stay_when_the_whole_moves(tmp_path: Path) -> None:
    for home in ("here", "there/deep"):
        write(tmp_path / home / "data/wiki/a.jsonl")
    relative = [find_files(Source("x", ("data/**/*.jsonl",)), tmp_path / home) for home in ("here", "there/deep")]
    absolute = [find_files(Source("x", (f"{tmp_path}/{home}/data/*/*.jsonl",)), "/") for home in ("here", "there/deep")]
    assert [f.relative for (f,) in relative] == ["data/wiki/a.jsonl"] * 2
    assert [f.relative for (f,) in absolute] == ["wiki/a.jsonl"] * 2


def test_two_files_never_share_a_name(tmp_path: Path) -> None:
    one, two = write(tmp_path / "a/x.jsonl"), write(tmp_path / "b/x.jsonl")
    with pytest.raises(UserError, match=r"both be called 'x.jsonl'"):
        find_files(Source("x", (str(one), str(two))), tmp_path)


def test_a_name_with_brackets_is_a_name_first(tmp_path: Path) -> None:
    write(tmp_path / "part[1].jsonl")
    assert [f.relative for f in find_files(Source("x", ("part[1].jsonl",)), tmp_path)] == ["part[1].jsonl"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("data/wki/*.jsonl", r"nothing matches 'data/wki/\*.jsonl'; in '.*data' the nearest names are 'wiki'"),
        ("data/wiki/pages.jsonl", r"nearest names are 'page.jsonl'"),
        ("data/none/*", r"in '.*data' the nearest names are"),
        ("data/empty/*.jsonl", r"'.*empty' is empty"),
        ("data/wiki", r"'data/wiki' is a folder; expected files, e.g. 'data/wiki/\*\*/\*.jsonl'"),
        ("data/notes.doc", r"no suffix that is read; expected .jsonl, .* .parquet"),
        ("data/README", r"no suffix that is read"),
        ("data/t.parquet.gz", r"no suffix that is read"),
        ("nowhere://bucket/a.jsonl", r"nowhere.* expected s3://, gs://, hf:// or http"),
        ("data/really.jsonl", r"holds .gz data"),
        ("data/pipe.jsonl", r"not a regular file"),
        ("data/gone.jsonl*", r"cannot be opened: No such file"),
    ],
)
def test_a_path_that_cannot_be_read_says_what_lies_nearest(tmp_path: Path, pattern: str, message: str) -> None:
    for name in ("wiki/page.jsonl", "notes.doc", "README", "t.parquet.gz"):
        write(tmp_path / "data" / name)
    write(tmp_path / "data/really.jsonl", b"\x1f\x8b\x08\x00")
    (tmp_path / "data/empty").mkdir()
    os.mkfifo(tmp_path / "data/pipe.jsonl")
    (tmp_path / "data/gone.jsonl").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match=message) as caught:
        find_files(Source("wiki", (pattern,)), tmp_path)
    assert "source 'wiki'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_format_overrides_the_suffix(tmp_path: Path) -> None:
    write(tmp_path / "a.txt")
    write(tmp_path / "b.dump.gz")
    files = find_files(Source("x", ("*",), format="jsonl"), tmp_path)
    assert [(f.relative, f.format, f.compression) for f in files] == [
        ("a.txt", "jsonl", None),
        ("b.dump.gz", "jsonl", "gz"),
    ]


@pytest.mark.parametrize("closed", ["data/a.jsonl", "data"])
@pytest.mark.parametrize("pattern", ["data/a.jsonl", "data/*.jsonl", "**/*.jsonl"])
def test_what_is_closed_to_us_is_never_skipped_in_silence(closed: str, pattern: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        base.chmod(0o755)
        write(base / "data/a.jsonl")
        write(base / "open/b.jsonl")
        (base / closed).chmod(0)
        user = os.geteuid()
        if user == 0:  # root may open everything
            os.seteuid(NOBODY)
        try:
            with pytest.raises(UserError, match=r"cannot be|nothing matches"):
                find_files(Source("x", (pattern,)), base)
        finally:
            os.seteuid(user)
            (base / closed).chmod(stat.S_IRWXU)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"allowance": 1.5}, "allowance is 1.5"),
        ({"maximum_bytes": 0}, "maximum_bytes is 0"),
        ({"maximum_bytes": 1 << 40}, "maximum_bytes"),
        ({"format": "doc"}, "format is 'doc'"),
        ({"encoding": "latin-zero"}, "encoding 'latin-zero' is not known"),
        ({"encoding": "zlib"}, "encoding 'zlib' is not known"),
        ({"sample": 0.0}, "sample is 0.0"),
        ({"limit": 0}, "limit is 0"),
        ({"separator": ""}, "separator is empty"),
        ({"delimiter": "||"}, "delimiter is"),
        ({"paths": ()}, "at least one path"),
        ({"name": ""}, "expected a name"),
    ],
)
def test_a_source_that_makes_no_sense_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Source(**{"name": "x", "paths": ("a",), **change})


def test_digests_are_of_content_and_a_second_run_reads_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "data/a.jsonl", b"one")
    (tmp_path / "elsewhere").mkdir()
    cache = tmp_path / "cache/digests.json"
    files = find_files(Source("x", ("data/*",)), tmp_path)
    expected = {"data/a.jsonl": xxhash.xxh3_128_hexdigest(b"one")}
    done: list[int] = []
    assert input_digests(files, cache, done.append) == expected
    assert done == [3]

    path.write_bytes(b"two")  # same size; put its time back, so that only a reader could know
    os.utime(path, ns=(files[0].mtime_ns, files[0].mtime_ns))
    assert input_digests(files, cache) == expected

    os.utime(path, ns=(0, files[0].mtime_ns + 1))
    changed = find_files(Source("x", ("data/*",)), tmp_path)
    assert input_digests(changed, cache) == {"data/a.jsonl": xxhash.xxh3_128_hexdigest(b"two")}


@pytest.mark.parametrize("broken", [b"", b"{", b"[1]", b'{"a":1}', b"\xff"])
def test_a_broken_cache_is_built_anew(tmp_path: Path, broken: bytes) -> None:
    write(tmp_path / "a.jsonl", b"one")
    cache = tmp_path / "digests.json"
    cache.write_bytes(broken)
    files = find_files(Source("x", ("*.jsonl",)), tmp_path)
    assert input_digests(files, cache) == {"a.jsonl": xxhash.xxh3_128_hexdigest(b"one")}


def test_a_file_that_changed_since_it_was_found_stops_the_run(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl")
    (file,) = find_files(Source("x", ("a.jsonl",)), tmp_path)
    path.write_bytes(b"other")
    with pytest.raises(UserError, match="has changed since this run began"):
        open_unchanged(file)
    path.unlink()
    with pytest.raises(UserError, match="cannot be opened: No such file"):
        open_unchanged(file)


def test_a_source_that_loses_more_than_its_allowance_stops_the_run() -> None:
    source = Source("x", ("a",), allowance=0.01)
    check_allowance(source, 1000, 10)
    check_allowance(source, 0, 0)
    with pytest.raises(
        UserError, match=r"11 of 1000 records cannot be read, allowance is 0.01; the first: a.jsonl:7: w"
    ):
        check_allowance(source, 1000, 11, "a.jsonl:7: why")
    check_allowance(source, 1000, 1, size=1_000_000, unread=10_000)
    with pytest.raises(UserError, match=r"200000 of 1000000 bytes cannot be read"):
        check_allowance(source, 1000, 1, size=1_000_000, unread=200_000)  # one drop: the rest of a broken file
