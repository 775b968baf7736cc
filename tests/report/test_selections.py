"""Selections side by side in the report: every number in the table, every text escaped, the same picture each time."""

from pathlib import Path

import pytest

from tilth.corpus.errors import UserError
from tilth.report.selections import selections_compared, selections_figure
from tilth.report.svg import as_svg
from tilth.selection.compare import Agreement, Comparison, Example, Method, write_comparison
from tilth.selection.gains import Gain

FARM, WEB = "00" * 16, "11" * 16


def method(name: str, farm: float) -> Method:
    rows = (Gain("farm", 10, 500, 5, 250, 0.5, farm), Gain("web", 10, 500, 5, 250, 0.5, 1 - farm))
    return Method(name, "highest", 10, 500, rows, (10.0, 50.0, 90.0), (1900.0, 1950.0, 2000.0))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    pair = Agreement("quality", "random", 0.25, 0.11, -0.5, (FARM,), (WEB,))
    found = Comparison(0.2, method("pool", 0.5), (method("quality", 0.9), method("random", 0.5)), (pair,))
    examples = {FARM: Example(FARM, "farm", "<b>rows of rye\x1b"), WEB: Example(WEB, "web", "offers")}
    write_comparison(tmp_path / "comparison.json", found, examples)
    return tmp_path / "comparison.json"


def test_what_was_written_is_shown_and_controls_are_not(path: Path) -> None:
    shown = selections_compared(path)
    assert [each.name for each in shown.comparison.methods] == ["quality", "random"]
    assert shown.examples[WEB].text == "offers"
    assert "\x1b" not in shown.examples[FARM].text


def test_the_picture_names_every_selection_and_source_and_stays_the_same(path: Path) -> None:
    found = selections_compared(path).comparison
    one, two = (as_svg(selections_figure(found), "selections", "told") for _ in range(2))
    assert one == two
    for word in ("pool", "quality", "random", "farm", "web", "share of the bytes"):
        assert word in one


def test_a_damaged_file_is_one_clear_line(path: Path) -> None:
    path.write_text("{")
    with pytest.raises(UserError, match="not a comparison") as caught:
        selections_compared(path)
    assert "\n" not in str(caught.value)
