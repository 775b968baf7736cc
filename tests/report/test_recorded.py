from pathlib import Path

import pytest

from tilth.corpus.errors import UserError
from tilth.report.recorded import field_of, read_lines, read_object


def test_a_missing_or_damaged_file_is_told_in_one_line(tmp_path: Path) -> None:
    for content in (None, b"{", b"[1]", b"\xff"):
        path = tmp_path / "run.json"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(UserError) as error:
            read_object(path)
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)


def test_a_line_that_a_killed_run_left_half_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"step": 1}\n{"step": 2}\n{"ste')
    assert list(read_lines(path)) == [{"step": 1}, {"step": 2}]


def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"step": 1}\nnonsense\n{"step": 3}\n')
    with pytest.raises(UserError, match=r"log\.jsonl:2: not valid JSON"):
        list(read_lines(path))


def test_a_missing_field_is_named_with_those_that_are_there() -> None:
    with pytest.raises(UserError, match="field 'tokens' not found; found step, loss"):
        field_of({"step": 1, "loss": 2.0}, "tokens", Path("log.jsonl"))
