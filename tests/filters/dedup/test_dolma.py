"""Dolma's own golden inputs: what its deduper marks, ours cuts or drops; where the two differ, the test says why.

Its three runs over ten pages (paragraphs, addresses, n-grams of paragraphs) lie in the shared data. Dolma keeps what
arrives first; here the pages are dated in their order and the oldest stays, which is the same said as an order.
"""

import gzip
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import zstandard

from tilth.corpus.chain import Stored
from tilth.corpus.document import document_id, documents
from tilth.corpus.store import EDITS, part_name, read_arrow
from tilth.filters.dedup.passages import Anchors, RepeatedPassages
from tilth.filters.dedup.repeated_lines import RepeatedLines
from tilth.filters.dedup.survivor import Preference
from tilth.filters.exact import SameAddress

ARCHIVE = Path(__file__).parents[3].parent / "shared/data/peer_tests/cc_whirlwind_dolma_warcio_data.tar.zst"
DATA = "dolma_tests/tests/data"
OLDEST = Preference((), ("oldest",))

Run = Callable[..., Stored]
Marks = list[set[int]]  # of every page, the characters that are marked


def lines_of(name: str) -> list[dict[str, Any]]:
    """Return the records of a gzipped file of the archive."""
    if not ARCHIVE.is_file():
        pytest.skip("dolma's golden inputs lie in ../shared/data beside the repository")
    with ARCHIVE.open("rb") as raw:
        unpacked = io.BytesIO(zstandard.ZstdDecompressor().stream_reader(raw).read())
    with tarfile.open(fileobj=unpacked) as archive:
        (member,) = (one for one in archive if one.name.removeprefix("./") == f"{DATA}/{name}")
        found = archive.extractfile(member)
        assert found is not None
        return [json.loads(line) for line in gzip.decompress(found.read()).splitlines()]


@pytest.fixture(scope="module")
def pages() -> list[dict[str, Any]]:
    """The ten pages."""
    return lines_of("provided/deduper/documents/000.json.gz")


def golden(name: str, attribute: str, pages: list[dict[str, Any]]) -> Marks:
    """Return the characters that dolma marked; the last span of a page ends one behind its text."""
    rows = lines_of(f"expected/{name}.json.gz")
    return [
        {place for start, end, _ in row["attributes"].get(attribute, []) for place in range(start, end)}
        & set(range(len(page["text"])))
        for row, page in zip(rows, pages, strict=True)
    ]


def cut(run_stages: Run, pages: list[dict[str, Any]], *stages: Any) -> Marks:
    """Return the characters that the last of the stages cuts."""
    records = [
        {"id": str(number), "text": page["text"], "date": f"2000-01-{number + 1:02d}"}
        for number, page in enumerate(pages)
    ]
    stored = run_stages({"web": records}, [lambda head, stage=stage: stage for stage in stages], part_bytes=20_000)
    number_of = {document_id("web", str(number)): number for number in range(len(pages))}
    marks: Marks = [set() for _ in pages]
    for part in range(stored.parts):
        for batch in read_arrow(stored.folder / EDITS / part_name(part), missing_is_empty=True):
            for edit in batch.to_pylist():
                number = number_of[edit["id"]]
                text = pages[number]["text"].encode()
                marks[number] |= set(range(*(len(text[: edit[side]].decode()) for side in ("start", "end"))))
                assert number_of[edit["other"]] < number or edit["other"] == edit["id"]
    return marks


def test_dolmas_repeated_paragraphs_are_cut(run_stages: Run, pages: list[dict[str, Any]]) -> None:
    # dolma calls a line a paragraph
    expected = golden("dedupe-paragraphs", "bff_duplicate_paragraph_spans", pages)
    assert sum(map(len, expected)) > 3000
    assert cut(run_stages, pages, RepeatedLines("lines", "lines", 1, 0, OLDEST)) == expected


def test_dolmas_repeated_addresses_are_dropped(pages: list[dict[str, Any]]) -> None:
    expected = [bool(row["attributes"]) for row in lines_of("expected/dedupe-by-url.json.gz")]
    batch = documents(
        {
            "id": [document_id("web", str(number)) for number in range(len(pages))],
            "text": [page["text"] for page in pages],
            "source": ["web"] * len(pages),
            "url": [page["metadata"]["url"] for page in pages],
            "date": [f"2000-01-{number + 1:02d}" for number in range(len(pages))],
        }
    )
    stage = SameAddress("url", OLDEST)
    keyed = stage.keys(batch).append_column("home", pa.array([0] * len(pages), pa.int32()))
    rows = pa.Table.from_batches([keyed])
    outcome = stage.apply(batch, stage.reduce(rows.sort_by([(name, "ascending") for name in rows.column_names])))
    gone = set(outcome.drops.column("id").to_pylist())
    marked = [identity in gone for identity in batch.column("id").to_pylist()]
    assert marked == expected


def test_what_dolma_finds_by_ngrams_is_cut_by_lines_and_passages(run_stages: Run, pages: list[dict[str, Any]]) -> None:
    expected = golden("dedupe-paragraph-ngrams", "bff_duplicate_paragraph_spans", pages)
    lines = cut(run_stages, pages, RepeatedLines("lines", "lines", 1, 0, OLDEST))
    rest = [mine ^ theirs for mine, theirs in zip(lines, expected, strict=True)]
    # one line more: a list of months that stands in an earlier page but for some words, which is what passages are for
    assert [number for number, more in enumerate(rest) if more] == [7]
    anchors, passages = Anchors("anchors", "p.anchors", 8), RepeatedPassages("passages", "p.anchors", 8, OLDEST)
    found = cut(run_stages, pages, anchors, passages)
    assert len(found[7] & rest[7]) > 0.8 * len(rest[7])
    # dolma takes every third n-gram, so what was moved by a word is new to it: 700 characters of the last page
    missed = set(range(7650, 8377))
    assert not missed & expected[9]
    assert len(found[9] & missed) > 0.9 * len(missed)
