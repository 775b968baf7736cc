import json
import re
from pathlib import Path
from typing import Any

import pytest

from tilth.corpus.chain import open_chain
from tilth.corpus.errors import UserError
from tilth.filters.dedup.survivor import Preference
from tilth.filters.exact import ExactDuplicates
from tilth.filters.hold_out import HoldOut
from tilth.report import write_report

RECORDS = {
    "web": [{"text": f"<script>alert({number % 7})</script>\u202e\x00 and more"} for number in range(20)] + ["{broken"],
    "books": [{"text": f"chapter {number}"} for number in range(20)],
}
STAGES = (ExactDuplicates("deduplicate", Preference(("books", "web"))), HoldOut("hold-out", 0.2, 1))


def test_a_run_is_reported_with_its_own_numbers(make_run: Any) -> None:
    root = make_run(RECORDS, STAGES)
    (root / "recipe.lock.yaml").write_text("versions:\n  python: 3.11.9\nrecipe:\n  name: small\n")
    path = write_report(root)
    assert path == root / "report.html"
    html = path.read_text(encoding="utf-8")
    assert "<script" not in html
    assert "&lt;script&gt;alert(" in html
    assert "[U+202E]␀" in html
    assert "3.11.9" in html
    for stored in open_chain(root):
        assert stored.manifest.fingerprint in html
        assert stored.manifest.account.set_digest in html
    assert "exact_duplicate" in html
    assert "web.jsonl" in html


def test_the_same_run_gives_the_same_bytes(make_run: Any) -> None:
    root = make_run(RECORDS, STAGES, seconds={"read": 1.0})
    first = write_report(root).read_bytes()
    run = json.loads((root / "run.json").read_bytes())
    run["seconds"]["report"] = 12.0  # known only after the first report was written
    (root / "run.json").write_text(json.dumps(run))
    assert write_report(root).read_bytes() == first


def test_the_bytes_do_not_depend_on_where_the_run_lies(make_run: Any, tmp_path: Path) -> None:
    root = make_run(RECORDS, STAGES)
    first = write_report(root).read_bytes()
    moved = root.rename(tmp_path / "elsewhere")
    assert write_report(moved).read_bytes() == first


def test_a_text_of_10_mb_is_clipped(make_run: Any) -> None:
    root = make_run({"web": [{"text": "ä" * 5_000_000}, {"text": "short"}]})
    html = write_report(root).read_text(encoding="utf-8")
    assert len(html) < 200_000
    assert "10.0\u202fMB in all" in html


def test_an_unfinished_run_is_reported_as_far_as_it_came(make_run: Any) -> None:
    root = make_run(RECORDS, STAGES)
    (open_chain(root)[-1].folder / "_manifest.json").unlink()
    html = write_report(root).read_text(encoding="utf-8")
    assert "This run is not finished: 02-hold-out" in html


def test_a_folder_without_a_run_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        write_report(tmp_path)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_run_of_which_nothing_is_finished_is_refused_in_one_line(make_run: Any) -> None:
    root = make_run(RECORDS)
    (open_chain(root)[0].folder / "_manifest.json").unlink()
    with pytest.raises(UserError, match="no stage of this run is finished"):
        write_report(root)


def test_a_damaged_lock_file_is_told_in_one_line(make_run: Any) -> None:
    root = make_run(RECORDS)
    (root / "recipe.lock.yaml").write_text("a: [1\nb: {")
    with pytest.raises(UserError, match=r"recipe\.lock\.yaml: not valid YAML") as error:
        write_report(root)
    assert "\n" not in str(error.value)


def test_a_report_is_whole_or_absent(make_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_run(RECORDS)
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_report(root)
    assert not list(root.glob("*report.html*"))


def test_the_code_of_the_documentation_runs(make_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs").mkdir()
    make_run(RECORDS, STAGES).rename(tmp_path / "runs" / "demo")
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[2] / "docs" / "report.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block, "docs/report.md", "exec"), {})
    assert (tmp_path / "runs" / "demo" / "report.html").is_file()
    assert (tmp_path / "funnel.svg").read_bytes().startswith(b"<?xml")
    assert (tmp_path / "funnel.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_that_kept_nothing_is_reported_too(make_run: Any) -> None:
    html = write_report(make_run(RECORDS, [HoldOut("hold-out", 1.0, 1)])).read_text(encoding="utf-8")
    assert "0 (0\u202fB, 0\u202f% of the bytes) were kept and 40 held out for evaluation" in html
