import re
import xml.etree.ElementTree as ElementTree

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from tilth.report import figures
from tilth.report.model import (
    Amount,
    Distribution,
    Evaluation,
    RuleDrops,
    Scale,
    ScorerMetrics,
    SourceBits,
    StageFlow,
    TrainingCurve,
)
from tilth.report.svg import DROPPED, KEPT, as_svg

NOTHING = Amount()


def stage(name: str, effect: str, entered: int, kept: int, held_out: int = 0) -> StageFlow:
    dropped = entered - kept - held_out
    amounts = [Amount(1, entered), Amount(1, kept), Amount(1, dropped), Amount(1, held_out)]
    return StageFlow(name, "Kind", effect, *amounts, 0, 1, "f" * 32, "d" * 32)


def histogram(
    low: float | None, high: float | None, *, logarithmic: bool = False, inverted: bool = False
) -> Distribution:
    scale: Scale = "logarithmic" if logarithmic else "linear"
    edges = np.geomspace(1, 1000, 11) if logarithmic else np.linspace(0, 1, 11)
    counts = tuple(range(10, 0, -1))
    return Distribution("signal", "stage", "rule", tuple(edges), counts, scale, low, high, False, inverted, 55, 9, 0)


EVERY = {
    "funnel": figures.funnel([stage("read", "edits", 100, 90), stage("hold-out", "drops", 90, 80, 5)]),
    "rules": figures.drops_by_rule([RuleDrops("stage", f"rule{n}", Amount(n, 1), {}) for n in range(1, 30)]),
    "share": figures.distribution(histogram(0.15, 0.75)),
    "count": figures.distribution(histogram(5, 500, logarithmic=True)),
    "calibration": figures.calibration(ScorerMetrics("quality", (), (), ((0.1, 0.0, 5), (0.9, 1.0, 9)))),
    "training": figures.training(TrainingCurve(2, 20, 1.0, 9.0, 3.0, 2.0, 1, (10, 20), (3.0, 2.0), (0.1, 0.2), (9, 9))),
    "bits": figures.bits_per_byte(
        Evaluation(
            ("before", "after"),
            (SourceBits("a", Amount(1, 1), {"before": 4.0, "after": 2.0}),),
            SourceBits("all", Amount(1, 1), {"before": 4.0, "after": 2.0}),
        )
    ),
}


@pytest.mark.parametrize("name", EVERY)
def test_a_figure_is_one_whole_element_that_needs_no_other_file(name: str) -> None:
    text = as_svg(EVERY[name], name, "What it shows")
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("role") == "img"
    assert root.get("aria-label") == "What it shows"
    assert "<script" not in text
    assert "<style" not in text
    assert not re.findall(r'(?:href="|url\()(?!#)', text)
    assert all(place.startswith(f"{name}-") for place in re.findall(r'id="([^"]*)"', text))
    defined, used = set(re.findall(r'id="([^"]*)"', text)), set(re.findall(r'(?:href="#|url\(#)([^")]*)', text))
    assert used <= defined


def test_the_same_figure_gives_the_same_bytes_whatever_the_users_style() -> None:
    drawn = as_svg(figures.distribution(histogram(0.2, None)), "a", "b")
    with matplotlib.rc_context(
        {"font.size": 30, "axes.facecolor": "black", "svg.hashsalt": None, "svg.fonttype": "path"}
    ):
        assert as_svg(figures.distribution(histogram(0.2, None)), "a", "b") == drawn


def test_drawing_leaves_the_users_style_alone() -> None:
    with matplotlib.rc_context({"font.size": 30}):
        as_svg(figures.distribution(histogram(0.2, None)), "a", "b")
        assert matplotlib.rcParams["font.size"] == 30


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=60))
def test_a_hostile_name_stays_text(name: str) -> None:
    root = ElementTree.fromstring(as_svg(figures.funnel([stage(name, "edits", 100, 90)]), "funnel", "What it shows"))
    words = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert figures.short(name).strip() in [word.strip() for word in words if word] or not name.strip()


def colours(figure: Figure) -> dict[str, int]:
    """Return the counts drawn in each colour."""
    totals = {}
    for patch in figure.axes[0].patches:
        totals[matplotlib.colors.to_hex(patch.get_facecolor())] = int(patch.get_data().values.sum())
    return totals


def test_bars_outside_the_limits_have_the_colour_of_drops() -> None:
    # bins of 10, 9, ... 1 documents; limits on edges
    assert colours(figures.distribution(histogram(0.2, 0.9))) == {KEPT: 35, DROPPED: 20}
    assert colours(figures.distribution(histogram(0.2, 0.9, inverted=True))) == {KEPT: 20, DROPPED: 35}
    assert colours(figures.distribution(histogram(None, None))) == {KEPT: 55, DROPPED: 0}


@pytest.mark.parametrize(
    ("low", "high", "strict", "kept"),
    [
        (2, 7, False, 8 + 7 + 6 + 5 + 4 + 3),
        (2, 7, True, 7 + 6 + 5 + 4),
        (2.5, 6.5, False, 7 + 6 + 5 + 4),
        (None, 0, False, 10),
    ],
)
def test_a_limit_of_whole_numbers_lies_between_bars(low: float, high: float, strict: bool, kept: int) -> None:
    edges = tuple(number - 0.5 for number in range(11))
    shown = Distribution("s", "s", "r", edges, tuple(range(10, 0, -1)), "whole", low, high, strict, False, 55, 9, 0)
    assert colours(figures.distribution(shown)) == {KEPT: kept, DROPPED: 55 - kept}


def test_a_measuring_stage_is_no_step_of_the_funnel() -> None:
    drawn = figures.funnel([stage("read", "edits", 100, 90), stage("signals", "measures", 90, 90)])
    words = [text.get_text() for text in drawn.axes[0].texts]
    assert "read" in words
    assert "signals" not in words


def test_a_figure_has_no_more_rows_than_a_reader_can_take_in() -> None:
    assert len(EVERY["rules"].axes[0].patches) == figures.ROWS


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.003, "0.003"), (20, "20"), (5000, "5,000"), (10_000, "10k"), (1.5e6, "1.5M"), (0, "0")],
)
def test_ticks_are_short(value: float, text: str) -> None:
    assert figures.tick(value) == text
