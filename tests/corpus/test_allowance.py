"""The allowance of damage: by records and by bytes, of what is damaged and of nothing else."""

import gzip
import json
from pathlib import Path

import pytest
from example_chains import run

from tilth.corpus.errors import UserError
from tilth.corpus.sources import Source


def test_the_unread_rest_of_a_file_counts_by_its_bytes(tmp_path: Path) -> None:
    # one drop among many records, and half of the bytes
    lines = b"".join(json.dumps({"text": f"{i} " * 50}).encode() + b"\n" for i in range(2000))
    packed = bytearray(gzip.compress(lines, mtime=0))
    middle = len(packed) // 2
    packed[middle : middle + 40] = b"\xff" * 40
    (tmp_path / "a.jsonl.gz").write_bytes(packed)
    (tmp_path / "b.jsonl").write_text('{"text":"loam"}\n' * 500)
    source = Source("farm", ("*",), allowance=0.01)
    with pytest.raises(UserError, match=r"source 'farm': \d+ of \d+ bytes cannot be read, allowance is 0.01"):
        run(tmp_path / "run", tmp_path, [source], [], part_bytes=1 << 30)


def test_what_is_no_document_is_no_damage(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text":"loam"}\n' * 500)
    (stored,) = run(tmp_path / "run", tmp_path, [Source("farm", ("*",), allowance=0.0, sample=0.5)], [])
    assert stored.manifest.account.documents_dropped > 200
