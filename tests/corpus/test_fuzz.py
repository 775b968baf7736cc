"""Bytes flipped, overwritten, cut out and doubled in every format: nothing raises or hangs, and the ledger's law holds.

500 cases by default; ``TILTH_FUZZ_CASES=10000`` is the long suite. A case is reproducible by its name and number.
"""

import bz2
import gzip
import json
import lzma
import os
import random
import signal
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from tilth.corpus.errors import UserError
from tilth.corpus.readers import read_part
from tilth.corpus.readers.chunk import BOMB, DAMAGED, LEFT_OUT, TOO_LARGE, TOO_MANY_LINES, UNREADABLE
from tilth.corpus.readers.entries import find_entries, is_worth_entering
from tilth.corpus.sources import Source, find_files
from tilth.corpus.splits import plan_parts
from tilth.corpus.stage import Effect
from tilth.corpus.store import PartWriter

CASES = int(os.environ.get("TILTH_FUZZ_CASES", "500"))
HANG_SECONDS = 60
RULES = {UNREADABLE, TOO_LARGE, TOO_MANY_LINES, DAMAGED, BOMB, *LEFT_OUT}
WEB = find_spec("resiliparse") is not None and find_spec("mwparserfromhell") is not None

WORDS = random.Random(1)
TEXTS = [
    " ".join(WORDS.choices(["loam", "räin", "worm", "\n", '"', "土"], k=WORDS.randrange(1, 40))) for _ in range(60)
]
ROWS = [{"id": f"r{i}", "text": text, "n": i} for i, text in enumerate(TEXTS)]
TABLE = pa.Table.from_pylist(ROWS)
LINES = b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)
CSV = b"id,text,n\n" + "".join(f'r{i},"{t.replace(chr(34), chr(34) * 2)}",{i}\n' for i, t in enumerate(TEXTS)).encode()
PAGE = "<html><title>t</title><nav>menu</nav><main>" + "".join(f"<p>{text}</p>" for text in TEXTS) + "</main></html>"
MARKDOWN = f"---\ntitle: loam\ntags: [a, b]\nnested: {{a: {{b: 1}}}}\n---\n{TEXTS[3]}\n".encode()
WIKI = b'<mediawiki xmlns="x">\n' + b"".join(
    f"<page><title>{i}</title><ns>{i % 3 // 2}</ns><id>{i}</id><revision><id>1</id>"
    f"<text>'''{{{{a|b}}}}''' [[loam|{i}]] rain &amp; worm</text></revision></page>\n".encode()
    for i in range(30)
)


def warc(number: int) -> bytes:
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(
        PAGE.encode(), mtime=0
    )
    kind, content = [("response", answer), ("conversion", TEXTS[number].encode()), ("request", b"GET / HTTP/1.1")][
        number % 3
    ]
    head = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: http://field.example/{number}\r\n"
        f"Content-Type: text/plain\r\nWARC-Date: 2020-01-01T00:00:00Z\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content + b"\r\n\r\n"


def parquet() -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(TABLE, sink, row_group_size=20)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def arrow(make: object, codec: str | None) -> bytes:
    sink = pa.BufferOutputStream()
    with make(sink, TABLE.schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as writer:  # type: ignore[operator]
        writer.write_table(TABLE, max_chunksize=20)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def members(pack: object, pieces: list[bytes]) -> bytes:
    return b"".join(map(pack, pieces))  # type: ignore[arg-type]


zst = zstandard.ZstdCompressor(write_checksum=True).compress
gz = partial(gzip.compress, mtime=0)
CHUNKS = [LINES[i : i + 1500] for i in range(0, len(LINES), 1500)]
ARCHIVE = [warc(number) for number in range(12)]
ARC = b"filedesc://a.arc 0.0.0.0 20200101000000 text/plain 4\nabcd\n" + b"".join(
    b"http://field.example/%d 1.2.3.4 20200101000000 text/html %d\n" % (i, 40 + len(PAGE.encode()))
    + b"HTTP/1.1 200 OK\r\nContent-Type:text/html\r\n\r\n"[:40].ljust(40)
    + PAGE.encode()
    + b"\n"
    for i in range(4)
)
# name -> content and what the source says beyond its path
FILES: dict[str, tuple[bytes, dict[str, object]]] = {
    "a.jsonl": (LINES, {"id": "id"}),
    "a.jsonl.gz": (members(gz, CHUNKS), {}),
    "a.jsonl.bz2": (members(bz2.compress, CHUNKS), {}),
    "a.jsonl.xz": (members(lzma.compress, CHUNKS), {}),
    "a.jsonl.zst": (members(zst, CHUNKS), {}),
    "b.jsonl": (LINES.decode().encode("utf-16"), {"encoding": "utf-16"}),
    "c.jsonl": (LINES, {"encoding": "shift_jis", "sample": 0.5}),
    "a.parquet": (parquet(), {}),
    "a.arrow": (arrow(pa.ipc.new_file, "zstd"), {"id": "id"}),
    "b.arrow": (arrow(pa.ipc.new_file, None), {}),
    "c.arrow": (arrow(pa.ipc.new_stream, "lz4"), {}),
    "a.csv": (CSV, {"id": "id"}),
    "a.tsv.gz": (gz(CSV.replace(b",", b"\t")), {}),
    "a.txt": ("\n---\n".join(TEXTS).encode(), {"separator": "\n---\n"}),
    "b.txt": (TEXTS[5].encode(), {}),
    "a.md": (MARKDOWN, {}),
}
if WEB:
    FILES |= {
        "a.html": (PAGE.encode(), {}),
        "a.warc": (b"".join(ARCHIVE), {}),
        "a.warc.gz": (members(gz, ARCHIVE), {}),
        "a.warc.zst": (members(zst, ARCHIVE), {}),
        "a.arc": (ARC, {}),
        "a.xml": (WIKI, {}),
        "a.xml.bz2": (bz2.compress(WIKI), {"id": "id"}),
        "d.jsonl": (LINES, {"encoding": "detect"}),
    }


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    def give_up(*_: object) -> None:
        raise TimeoutError(f"still reading after {HANG_SECONDS} s")

    before = signal.signal(signal.SIGALRM, give_up)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Return a copy of ``data`` with one to twenty wounds, at its ends more often than elsewhere."""
    wounded = bytearray(data)
    low, high = chance.choice([(0, len(data)), (0, 200), (len(data) - 400, len(data))])
    for _ in range(chance.choice([1, 1, 1, 3, 20])):
        if not wounded:
            break
        at = chance.randrange(max(0, min(low, len(wounded) - 1)), max(1, min(high, len(wounded))))
        kind = chance.randrange(8)
        if kind < 3:
            wounded[at] ^= 1 << chance.randrange(8)
        elif kind < 5:
            wounded[at] = chance.choice([0, 10, 34, 60, 255, chance.randrange(256)])
        elif kind == 5:
            del wounded[at : at + chance.choice([1, 7, 300])]
        elif kind == 6:
            wounded[at:at] = wounded[at : at + chance.choice([1, 7, 300])]
        else:
            wounded[at : at + 16] = bytes(16)
    return bytes(wounded)


def law_holds(name: str, data: bytes, base: Path, part_bytes: int, options: dict[str, object]) -> None:
    """Read a file as a run reads it, commit the parts, and check what every drop must say."""
    (base / name).write_bytes(data)
    source = Source("x", (name,), maximum_bytes=1 << 20, **options)  # type: ignore[arg-type]
    (file,) = find_files(source, base)
    worth = is_worth_entering(source, file, file.size, part_bytes)
    entries = {file: find_entries(source, file, part_bytes)} if worth else {}
    ids: list[bytes] = []
    for number, part in enumerate(plan_parts([file], part_bytes, (), entries)):
        with PartWriter(base / "out", number, "fuzz", Effect.EDITS) as writer:
            for chunk in read_part({"x": source}, part):
                chunk.documents.validate(full=True)
                chunk.drops.validate(full=True)
                if source.id is None:
                    ids += [*chunk.documents["id"].to_pylist(), *chunk.drops["id"].to_pylist()]
                for drop in chunk.drops.to_pylist():
                    assert drop["rule"] in RULES
                    assert drop["detail"].startswith(f"{name}:")
                    assert "\n" not in drop["detail"]
                    assert drop["bytes"] >= 0
                writer.read(chunk.documents, chunk.drops, chunk.records)
            writer.commit()
    assert len(ids) == len(set(ids)), "two records have one identity"


@pytest.mark.parametrize("name", FILES)
def test_a_wounded_file_never_raises_and_the_ledger_holds(name: str, tmp_path: Path) -> None:
    data, options = FILES[name]
    for case in range(-(-CASES // len(FILES))):
        chance = random.Random(f"{name} {case}")
        signal.alarm(HANG_SECONDS)
        wounded = damaged(data, chance)
        try:
            law_holds(name, wounded, tmp_path, chance.choice([1 + len(data) // 3, 1 << 30]), options)
        except UserError as error:  # a plain file that now begins like a packed one
            assert "rename it" in str(error), case
        except BaseException as error:
            error.add_note(f"{name}, case {case}")
            raise
