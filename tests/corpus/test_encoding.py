"""Encodings: named or detected, text comes out as the same characters; what cannot be decoded costs its record."""

import gzip
import json
from pathlib import Path

import pytest
from example_reading import read

from tilth.corpus.encoding import detected
from tilth.corpus.sources import Source

GERMAN = "Der Boden ist tief, und über den Äckern fällt der Regen; größer wird die Mühe nicht. "
RUSSIAN = "Почва глубока, и медленно идёт дождь над полями; никто не торопит червя. "
JAPANESE = "土は深く、雨はゆっくりと降り、だれも虫を急がせない。"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (GERMAN, "cp1252"),
        (GERMAN, "utf-8"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8-r"),
        (JAPANESE, "shift_jis"),
        (JAPANESE, "euc_jp"),
        (GERMAN, "utf-16"),
        (RUSSIAN, "utf-32"),
    ],
)
@pytest.mark.parametrize("suffix", ["jsonl", "txt", "csv", "jsonl.gz"])
def test_named_and_detected_encodings_give_the_same_text(tmp_path: Path, text: str, encoding: str, suffix: str) -> None:
    pytest.importorskip("resiliparse", reason="the extra 'web' is not installed")
    texts = [text * 20, text * 3]
    body = {
        "txt": texts[0],
        "csv": "text\n" + "".join(f'"{one}"\n' for one in texts),
    }.get(suffix, "".join(json.dumps({"text": one}, ensure_ascii=False) + "\n" for one in texts))
    data = body.encode(encoding)
    (tmp_path / f"a.{suffix}").write_bytes(gzip.compress(data) if suffix.endswith("gz") else data)
    for name in (encoding, "detect"):
        found = read(Source("x", ("a.*",), encoding=name), tmp_path, part_bytes=100)
        assert found.losses == []
        assert found.texts == (texts[:1] if suffix == "txt" else texts), name


@pytest.mark.parametrize("encoding", ["shift_jis", "cp1252", "utf-16-le"])
def test_what_cannot_be_decoded_costs_its_record(tmp_path: Path, encoding: str) -> None:
    lines = [f'{{"text":"{word}"}}\n'.encode(encoding) for word in ("before", "b#d", "after")]
    bad = {"shift_jis": b"\xfd\xfe", "cp1252": b"\x81", "utf-16-le": b"\x00\xdc"}[encoding]
    lines[1] = lines[1].replace("#".encode(encoding), bad)
    (tmp_path / "a.jsonl").write_bytes(b"".join(lines))
    found = read(Source("x", ("a.jsonl",), encoding=encoding), tmp_path)
    assert found.texts == ["before", "after"]
    ((rule, detail),) = found.losses
    assert rule == "unreadable"
    assert "is not UTF-8" in detail


def test_a_character_cut_at_the_end_of_what_is_looked_at_is_no_doubt() -> None:
    assert detected("é".encode()[:1]) == "utf-8"
    assert detected(b"") == "utf-8"
    assert detected("\ufeffé".encode("utf-16")) == "utf-16"
