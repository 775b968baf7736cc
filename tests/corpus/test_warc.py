"""WARC, WET and ARC: the records of good, damaged and truncated archives, counted exactly."""

import gzip
import io
import tarfile
import zlib
from collections import Counter
from pathlib import Path

import pytest
import zstandard
from example_reading import Outcome, read

from tilth.corpus.sources import Source

pytest.importorskip("resiliparse", reason="the extra 'web' is not installed")

PEERS = Path(__file__).parents[2].parent / "shared/data/peer_tests/cc_whirlwind_dolma_warcio_data.tar.zst"
PROSE = b"<p>The loam is deep, the rain is slow, and nobody hurries the worm. " * 8
PAGE = b"<html><title>Loam</title><nav>menu</nav><main>" + PROSE + b"</main></html>"


def answer(body: bytes, *fields: str, status: str = "200 OK") -> bytes:
    head = [f"HTTP/1.1 {status}", *fields]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def record(kind: str, content: bytes, number: int = 0, **fields: str) -> bytes:
    lines = [
        "WARC/1.0",
        f"WARC-Type: {kind}",
        f"WARC-Target-URI: http://field.example/{number}",
        "WARC-Date: 2020-01-02T03:04:05Z",
        f"WARC-Record-ID: <urn:uuid:{number}>",
        *[f"{name.replace('_', '-')}: {value}" for name, value in fields.items()],
        f"Content-Length: {len(content)}",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content + b"\r\n\r\n"


def archive(base: Path, *records: bytes, name: str = "a.warc") -> Outcome:
    (base / name).write_bytes(b"".join(records))
    return read(Source("x", (name,)), base)


def test_a_page_becomes_a_document_with_its_url_and_date(tmp_path: Path) -> None:
    html = record("response", answer(PAGE, "Content-Type: text/html; charset=utf-8"), 1)
    found = archive(tmp_path, record("warcinfo", b"software: x"), record("request", b"GET / HTTP/1.1\r\n\r\n"), html)
    (document,) = found.documents
    assert document["text"].startswith("The loam is deep")
    assert "menu" not in document["text"]
    assert (document["url"], document["date"]) == ("http://field.example/1", "2020-01-02T03:04:05Z")
    assert document["metadata"] == '{"id":"1","mime":"text/html","status":200,"title":"Loam","type":"response"}'
    assert [rule for rule, _ in found.losses] == ["no_document"] * 2


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (gzip.compress(PAGE), ["Content-Encoding: gzip"]),
        (zlib.compress(PAGE), ["Content-Encoding: deflate"]),
        (zlib.compress(PAGE)[2:-4], ["Content-Encoding: deflate"]),
        (PAGE, ["Content-Encoding: gzip"]),  # undone by the crawler
        (PAGE, ["Content-Encoding: br"]),
        (b"%x\r\n" % len(PAGE) + PAGE + b"\r\n0\r\n\r\n", ["Transfer-Encoding: chunked"]),
        (PAGE, ["Transfer-Encoding: chunked"]),
        (b"5;x=y\r\n" + PAGE[:5] + b"\r\n" + PAGE[5:], ["Transfer-Encoding: chunked"]),
        (b"\xef\xbb\xbf" + PAGE, []),
    ],
)
def test_every_coding_of_a_body_is_undone(tmp_path: Path, body: bytes, fields: list[str]) -> None:
    found = archive(tmp_path, record("response", answer(body, "Content-Type: text/html", *fields)))
    assert found.texts[0].startswith("The loam is deep"), found.losses


def test_brotli_is_undone(tmp_path: Path) -> None:
    brotli = pytest.importorskip("brotli", reason="the extra 'web' is not installed")
    body = brotli.compress(PAGE)
    found = archive(tmp_path, record("response", answer(body, "Content-Type: text/html", "Content-Encoding: br")))
    assert found.texts[0].startswith("The loam is deep")


@pytest.mark.parametrize(
    ("content", "rule", "reason"),
    [
        (
            answer(PAGE, "Content-Type: text/html", status="404 Not Found"),
            "no_document",
            "is an answer with status 404",
        ),
        (answer(b"\x89PNG", "Content-Type: image/png"), "no_document", "is of type image/png"),
        (answer(b"", "Content-Type: text/html"), "no_document", "has no text"),
        (answer(b"\x1f\x8bxx", "Content-Type: text/html", "Content-Encoding: gzip"), "unreadable", "has a body that"),
        (b"not http", "unreadable", "holds no HTTP answer"),
        (answer(b"\xff", "Content-Type: text/plain; charset=utf-8"), "unreadable", "is not utf-8"),
    ],
)
def test_a_record_without_a_document_says_why(tmp_path: Path, content: bytes, rule: str, reason: str) -> None:
    good = record("conversion", b"text", 2, Content_Type="text/plain")
    found = archive(tmp_path, record("response", content, 1), good)
    assert found.texts == ["text"]
    ((was, detail),) = found.losses
    assert (was, detail.startswith(f"a.warc:0: {reason}")) == (rule, True), detail


def test_a_bomb_in_a_page_is_stopped(tmp_path: Path) -> None:
    body = gzip.compress(b" " * (1 << 22))
    (tmp_path / "a.warc").write_bytes(
        record("response", answer(body, "Content-Type: text/html", "Content-Encoding: gzip"))
    )
    found = read(Source("x", ("a.warc",), maximum_bytes=1 << 20), tmp_path)
    assert found.losses == [("too_large", f"a.warc:0: expands to more than {1 << 20} bytes")]


def texts(*numbers: int) -> list[bytes]:
    return [record("conversion", f"text {n}".encode(), n, Content_Type="text/plain") for n in numbers]


@pytest.mark.parametrize("change", [(b"Length: 6", b"Length: 5"), (b"Length: 6", b"Length: 600"), (b"Length: 6", b"L")])
def test_a_wrong_length_costs_its_record(tmp_path: Path, change: tuple[bytes, bytes]) -> None:
    one, two, three = texts(1, 2, 3)
    found = archive(tmp_path, one, two.replace(*change), three)
    assert [text for text in found.texts if text != "text "] == ["text 1", "text 3"]
    assert len(found.losses) == 1
    assert found.losses[0][0] == "unreadable"


def test_a_length_beyond_the_cap_costs_its_record(tmp_path: Path) -> None:
    one, two, three = texts(1, 2, 3)
    found = archive(tmp_path, one, two.replace(b"Length: 6", b"Length: 6000000000000"), three)
    assert found.texts == ["text 1", "text 3"]
    assert [rule for rule, _ in found.losses] == ["too_large"]


def test_an_archive_cut_anywhere_keeps_what_is_before(tmp_path: Path) -> None:
    whole = b"".join(texts(1, 2, 3))
    for cut in range(0, len(whole), 7):
        found = archive(tmp_path, whole[:cut])
        assert found.texts == ["text 1", "text 2", "text 3"][: len(found.texts)]
        assert len(found.losses) <= 1


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor().compress], ids=["gz", "zst"])
def test_a_broken_member_costs_itself(tmp_path: Path, pack: object) -> None:
    members = [pack(one) for one in texts(1, 2, 3, 4)]  # type: ignore[operator]
    broken = bytearray(members[1])
    broken[len(broken) // 2 : len(broken) // 2 + 20] = b"\xff" * 20
    name = "a.warc.gz" if pack is gzip.compress else "a.warc.zst"
    for damaged in (bytes(broken), members[1][:40], b"garbage"):
        found = archive(tmp_path, members[0], damaged, members[2], members[3], name=name)
        assert found.texts == ["text 1", "text 3", "text 4"]
        assert {rule for rule, _ in found.losses} <= {"damaged", "unreadable"}
        assert 1 <= len(found.losses) <= 2
        unread = sum(d["bytes"] for d in found.drops if d["rule"] == "damaged")
        assert 0 < unread <= len(damaged)


# name -> records, documents, drops by rule; where it differs from what warcio reads, a word on it
COUNTS: dict[str, tuple[int, int, dict[str, int]]] = {
    "cc_whirlwind/whirlwind.warc": (4, 1, {"no_document": 3}),
    "cc_whirlwind/whirlwind.warc.gz": (4, 1, {"no_document": 3}),
    "cc_whirlwind/whirlwind.warc.wet": (2, 1, {"no_document": 1}),
    "cc_whirlwind/whirlwind.warc.wet.gz": (2, 1, {"no_document": 1}),
    "cc_whirlwind/whirlwind.warc.wat.gz": (2, 0, {"no_document": 2}),
    "dolma_tests/tests/data/warc/sample-0000.warc.gz": (48, 22, {"no_document": 26}),
    "dolma_tests/tests/data/warc/sample-0001.warc.gz": (34, 15, {"no_document": 19}),
    "warcio_tests/test/data/example.warc": (6, 1, {"no_document": 5}),
    "warcio_tests/test/data/example.warc.gz": (6, 1, {"no_document": 5}),
    "warcio_tests/test/data/example.arc": (2, 1, {"no_document": 1}),
    "warcio_tests/test/data/example.arc.gz": (2, 1, {"no_document": 1}),
    "warcio_tests/test/data/example-space-in-url.arc": (2, 0, {"no_document": 1, "damaged": 1}),  # 12 bytes are missing
    "warcio_tests/test/data/example-digest.warc": (4, 0, {"no_document": 4}),
    "warcio_tests/test/data/example-iana.org-chunked.warc": (3, 1, {"no_document": 2}),
    "warcio_tests/test/data/example-resource.warc.gz": (3, 1, {"no_document": 2}),
    "warcio_tests/test/data/example-space-in-target-uri.warc.gz": (2, 0, {"no_document": 2}),
    "warcio_tests/test/data/example-wget-bad-target-uri.warc.gz": (6, 1, {"no_document": 5}),
    "warcio_tests/test/data/post-test.warc.gz": (6, 0, {"no_document": 6}),
    # the bytes between two records belong to none: warcio warns of them
    "warcio_tests/test/data/example-trunc.warc": (5, 1, {"no_document": 3, "unreadable": 1}),
    # warcio gives up after the first record of these
    "warcio_tests/test/data/example-bad-non-chunked.warc.gz": (6, 1, {"no_document": 5}),
    "warcio_tests/test/data/example-bad.warc.gz.bad": (6, 1, {"no_document": 5}),
    "warcio_tests/test/data/example-wrong-chunks.warc.gz": (2, 1, {"no_document": 1}),
    # lengths of -1 and 'abc', dates of 18 digits
    "warcio_tests/test/data/bad.arc": (3, 0, {"unreadable": 3}),
}


@pytest.fixture(scope="module")
def peers() -> dict[str, bytes]:
    if not PEERS.is_file():
        pytest.skip("the peers' test archives are not beside the repository (../shared/data)")
    with PEERS.open("rb") as packed:
        plain = zstandard.ZstdDecompressor().stream_reader(packed).read()
    with tarfile.open(fileobj=io.BytesIO(plain)) as opened:
        members = [member for member in opened.getmembers() if member.isfile()]
        return {member.name: opened.extractfile(member).read() for member in members}  # type: ignore[union-attr]


@pytest.mark.parametrize("name", COUNTS)
def test_archives_of_other_tools_are_read_with_exact_counts(peers: dict[str, bytes], tmp_path: Path, name: str) -> None:
    (tmp_path / Path(name).name.removesuffix(".bad")).write_bytes(peers[name])
    found = read(Source("x", ("*",), format="warc"), tmp_path)
    drops = Counter(rule for rule, _ in found.losses)
    assert (found.records, len(found.documents), dict(drops)) == COUNTS[name]
    assert all(document["url"] and document["date"] for document in found.documents)
