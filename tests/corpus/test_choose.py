"""Samples, limits and caps of lines: which good documents of a source are wanted, and that the others say why."""

import json
from collections import Counter
from pathlib import Path

import pytest
from example_reading import read

from tilth.corpus.sources import Source


@pytest.fixture
def base(tmp_path: Path) -> Path:
    for file in range(4):
        rows = [json.dumps({"key": f"{file}-{row}", "text": f"text {file} {row}"}) for row in range(500)]
        (tmp_path / f"{file}.jsonl").write_text("\n".join(rows))
    return tmp_path


def test_a_sample_is_of_documents_and_larger_ones_hold_smaller_ones(base: Path) -> None:
    kept: set[str] = set()
    for share in (0.05, 0.2, 0.5, 1.0):
        source = Source("x", ("*.jsonl",), id="key", sample=share)
        found = read(source, base, 1000)
        assert found.records == 2000
        assert abs(len(found.texts) - 2000 * share) < 4 * (2000 * share * (1 - share)) ** 0.5 + 1
        assert set(Counter(rule for rule, _ in found.losses)) <= {"not_sampled"}
        assert all(drop["value"] >= drop["limit"] == share for drop in found.drops)
        assert set(found.texts) == set(read(source, base, 1 << 20).texts)
        assert kept <= set(found.texts)
        kept = set(found.texts)


@pytest.mark.parametrize("limit", [1, 499, 500, 501, 1999, 2000, 3000])
def test_a_limit_takes_the_first_documents_whatever_the_parts(base: Path, limit: int) -> None:
    everything = read(Source("x", ("*.jsonl",)), base).texts
    for part_bytes in (100, 10_000, 1 << 20):
        assert read(Source("x", ("*.jsonl",), limit=limit), base, part_bytes).texts == everything[:limit]


def test_a_limit_counts_what_the_sample_left(base: Path) -> None:
    sampled = read(Source("x", ("*.jsonl",), sample=0.3), base).texts
    assert read(Source("x", ("*.jsonl",), sample=0.3, limit=100), base).texts == sampled[:100]


def test_documents_of_too_many_or_too_long_lines_are_dropped(tmp_path: Path) -> None:
    texts = ["a\nb\nc", "a\nb\nc\nd", "x" * 20, "x" * 21, "x" * 20 + "\n" + "y" * 20, "\n" * 50, "é" * 11]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    found = read(Source("x", ("*",), maximum_lines=3, maximum_line_bytes=20), tmp_path)
    assert found.texts == [texts[0], texts[2], texts[4]]
    assert [(d["rule"], d["value"], d["limit"]) for d in found.drops] == [
        ("too_many_lines", 4, 3),
        ("too_many_lines", 51, 3),
        ("long_line", 21, 20),
        ("long_line", 22, 20),
    ]
    assert found.drops[0]["detail"] == "a.jsonl: has 4 lines, at most 3 are read"


def test_a_million_empty_lines_are_no_document(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n" * 1_000_001)
    ((rule, _),) = read(Source("x", ("*",)), tmp_path).losses
    assert rule == "too_many_lines"
