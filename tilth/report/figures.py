"""The pictures of the report: values of ``tilth.report.model`` in, matplotlib figures out.

Every figure is 4.6 inches wide, so that its text keeps its size on a phone, and puts names above bars instead of beside
them: a column of names would take half of that width. ``tilth.report.svg.as_svg`` makes them part of a page; to save
one as a file, call ``figure.savefig("funnel.svg")`` within ``tilth.report.svg.style()``.
"""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from tilth.report import formats
from tilth.report.model import Distribution, Evaluation, RuleDrops, ScorerMetrics, StageFlow, TrainingCurve
from tilth.report.svg import DROPPED, FAINT, GRID, HELD_OUT, INK, KEPT, WIDTH, style

ROW = 0.5  # inches: a bar and the line of text above it
NAME = 24  # characters of a name that fit above a bar
SLIVER = 0.004  # of the width: about a point, so that a single document can be seen
ROWS = 15  # bars; the tables have them all


def short(name: str, characters: int = NAME) -> str:
    """Return a name as it may stand in a figure: one line, clipped."""
    line = "".join(character if character.isprintable() else "\ufffd" for character in name)
    return line if len(line) <= characters else line[: characters - 1] + "…"


def tick(value: float, _: object = None) -> str:
    """Return the label of a tick: 0.003, 20, 10k, 1.5M."""
    for step, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= step:
            return f"{value / (1e3 if unit == 'k' else step):g}{unit}"
    return f"{value:,.0f}" if value == round(value) else f"{value:g}"


def funnel(stages: Sequence[StageFlow]) -> Figure:
    """Draw what is left after every stage that can change the corpus: bytes as bars, documents and bytes in words."""
    rows = [stage for stage in stages if stage.effect != "measures"]
    whole = max(1, max(stage.entered.bytes for stage in rows))
    with style():
        figure, axes = _bars(len(rows), legend=True)
        for place, stage in enumerate(rows):
            left = 0.0
            for amount, colour in ((stage.kept, KEPT), (stage.held_out, HELD_OUT), (stage.dropped, DROPPED)):
                axes.barh(place, amount.bytes / whole, left=left, height=0.36, color=colour)
                left += amount.bytes / whole
            axes.text(0, place - 0.27, short(stage.name), va="bottom")
            words = f"{formats.count(stage.kept.documents)} documents · {formats.size(stage.kept.bytes)}"
            axes.text(1, place - 0.27, words, va="bottom", ha="right", color=INK)
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100"])
        axes.set_xlabel("% of the bytes read")
        _legend(figure, [("goes on", KEPT), ("held out", HELD_OUT), ("dropped", DROPPED)], "s")
    return figure


def drops_by_rule(rules: Sequence[RuleDrops]) -> Figure:
    """Draw the documents that each rule removed, the strictest first."""
    rows = sorted(rules, key=lambda drops: (-drops.dropped.documents, drops.stage, drops.rule))[:ROWS]
    with style():
        figure, axes = _bars(len(rows))
        most = max(drops.dropped.documents for drops in rows)
        for place, drops in enumerate(rows):
            axes.barh(place, max(drops.dropped.documents / most, SLIVER), height=0.36, color=DROPPED)
            axes.text(0, place - 0.27, short(drops.rule, 36), va="bottom")
            axes.text(1, place - 0.27, formats.count(drops.dropped.documents), va="bottom", ha="right")
        axes.set_xlim(0, 1)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
    return figure


def distribution(shown: Distribution, *, thin_tails: bool = True) -> Figure:
    """Draw a histogram of a signal with its limits; bars of documents that leave have the colour of drops.

    ``thin_tails`` counts documents on a logarithmic scale: limits are about the few, cuts of a score about the many.
    """
    edges = np.asarray(shown.edges)
    counts = np.asarray(shown.counts)
    low, high = _cuts(shown)
    with style():
        figure = Figure(figsize=(WIDTH, 2.6))
        axes = figure.add_subplot()
        for cut in (low, high):
            if edges[0] < cut < edges[-1] and cut not in edges:
                # a bar that the limit cuts shows both colours
                place = int(np.searchsorted(edges, cut))
                edges, counts = np.insert(edges, place, cut), np.insert(counts, place - 1, counts[place - 1])
        middle = np.sqrt(edges[:-1] * edges[1:]) if shown.scale == "logarithmic" else (edges[:-1] + edges[1:]) / 2
        stays = ((middle >= low) & (middle <= high)) != shown.inverted
        axes.stairs(np.where(stays, counts, 0), edges, fill=True, color=KEPT, linewidth=0)
        axes.stairs(np.where(stays, 0, counts), edges, fill=True, color=DROPPED, linewidth=0)
        # above the bars there is room for a line of words a limit
        if thin_tails:
            axes.set_yscale("symlog", linthresh=1)
            axes.set_ylim(0, max(10, counts.max()) * 8 ** len(shown.limits))
        else:
            axes.set_ylim(0, max(10, counts.max()) * (1 + 0.2 * len(shown.limits)))
        if shown.scale == "logarithmic":
            axes.set_xscale("log")
        axes.set_xlim(edges[0], edges[-1])
        cuts = [cut for cut in (low, high) if np.isfinite(cut)]
        for line, ((word, limit), cut) in enumerate(zip(shown.limits, cuts, strict=True)):
            if edges[0] <= cut <= edges[-1]:
                axes.axvline(cut, color=INK, linewidth=1.2, linestyle=(0, (4, 2)))
                right = _place(cut, shown) > 0.5
                axes.annotate(
                    f"{word} {formats.decimal(limit)}",
                    (cut, 1),
                    xycoords=("data", "axes fraction"),
                    xytext=(-4 if right else 4, -2 - 15 * line),
                    textcoords="offset points",
                    ha="right" if right else "left",
                    va="top",
                    bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5, "alpha": 0.85},
                )
        axes.yaxis.set_major_formatter(FuncFormatter(tick))
        if shown.scale == "logarithmic":
            axes.xaxis.set_major_formatter(FuncFormatter(tick))
        else:
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=shown.scale == "whole"))
        axes.grid(axis="y")
        axes.set_ylabel("documents")
    return figure


def calibration(scorer: ScorerMetrics) -> Figure:
    """Draw the share of positives against the mean score of a bin; on the diagonal a score is a probability."""
    scores, shares, documents = (np.asarray(column, float) for column in zip(*scorer.calibration, strict=True))
    with style():
        figure = Figure(figsize=(WIDTH, 2.8))
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=(0, (4, 2)))
        axes.plot(scores, shares, color=KEPT, linewidth=1.5)
        axes.scatter(scores, shares, s=12 + 60 * documents / documents.max(), color=KEPT, zorder=3)
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.04, 1.04)
        axes.set_xlabel("mean score")
        axes.set_ylabel("share of positives")
        axes.grid()
    return figure


def training(curve: TrainingCurve) -> Figure:
    """Draw loss, learning rate and speed over the tokens seen, one under the other with a common axis."""
    tokens = np.asarray(curve.at_tokens)
    with style():
        figure = Figure(figsize=(WIDTH, 4.6))
        loss, rate, speed = figure.subplots(3, 1, sharex=True, height_ratios=(3, 1.2, 1.2))
        loss.plot(tokens, curve.loss, color=KEPT, linewidth=1.5)
        if curve.held_out:
            at, held_out = zip(*curve.held_out, strict=True)
            loss.scatter(at, held_out, s=22, facecolor="white", edgecolor=INK, linewidth=1.2, zorder=3)
        loss.set_title("loss, nats a token" + (" (circles: held out)" if curve.held_out else ""), loc="left")
        rate.plot(tokens, curve.learning_rate, color=INK, linewidth=1.2)
        rate.set_title("learning rate", loc="left")
        rate.yaxis.set_major_formatter(FuncFormatter(tick))
        speed.plot(tokens, curve.tokens_per_second, color=INK, linewidth=1.2)
        speed.set_title("tokens a second", loc="left")
        speed.yaxis.set_major_formatter(FuncFormatter(tick))
        for axes in (rate, speed):
            axes.set_ylim(bottom=0)
            axes.yaxis.set_major_locator(MaxNLocator(3))
        for axes in (loss, rate, speed):
            axes.grid()
            axes.margins(x=0.01)
        speed.xaxis.set_major_locator(MaxNLocator(5))
        speed.xaxis.set_major_formatter(FuncFormatter(tick))
        speed.set_xlabel("tokens seen")
    return figure


def bits_per_byte(evaluation: Evaluation) -> Figure:
    """Draw bits per byte by source, first checkpoint to last: the shorter way to zero, the better."""
    largest = sorted(evaluation.sources, key=lambda row: (-row.amount.bytes, row.source))[:ROWS]
    rows = [*(row for row in evaluation.sources if row in largest and row.amount.bytes), evaluation.total]
    first, last = evaluation.checkpoints[0], evaluation.checkpoints[-1]
    highest = max(row.bits_per_byte[name] for row in rows for name in (first, last))
    with style():
        figure, axes = _bars(len(rows), legend=True)
        for place, row in enumerate(rows):
            before, after = row.bits_per_byte[first], row.bits_per_byte[last]
            axes.plot([before, after], [place, place], color=GRID, linewidth=5, solid_capstyle="butt", zorder=1)
            axes.scatter([before], [place], s=46, facecolor="white", edgecolor=INK, linewidth=1.4, zorder=2)
            axes.scatter([after], [place], s=46, color=KEPT, zorder=3)
            weight = "bold" if row is evaluation.total else "normal"
            axes.text(0, place - 0.24, short(row.source), va="bottom", fontweight=weight)
            words = f"{before:.2f} → {after:.2f}" if first != last else f"{after:.2f}"
            axes.text(highest * 1.05, place - 0.24, words, va="bottom", ha="right")
        axes.set_xlim(0, highest * 1.05)
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        axes.grid(axis="x")
        axes.set_xlabel("bits per byte")
        if first != last:
            _legend(figure, [(first, "white"), (last, KEPT)], "o")
    return figure


def _cuts(shown: Distribution) -> tuple[float, float]:
    """Return where the limits are drawn, infinite where there is none. Between whole numbers, not in a bar."""
    low = -math.inf if shown.low is None else shown.low
    high = math.inf if shown.high is None else shown.high
    if shown.scale != "whole":
        return low, high
    if shown.strict:
        return np.floor(low) + 0.5, np.ceil(high) - 0.5
    return np.ceil(low) - 0.5, np.floor(high) + 0.5


def _place(value: float, shown: Distribution) -> float:
    """Return where a value lies along the axis: 0 at its left end, 1 at its right end."""
    points = np.asarray([shown.edges[0], value, shown.edges[-1]])
    first, at, last = np.log(points) if shown.scale == "logarithmic" else points
    return float((at - first) / (last - first))


def _bars(rows: int, *, legend: bool = False) -> tuple[Figure, Axes]:
    """Return axes for horizontal bars, the first on top, with a line of text above each."""
    figure = Figure(figsize=(WIDTH, 0.45 + ROW * rows + (0.3 if legend else 0)))
    axes = figure.add_subplot()
    axes.set_ylim(rows - 0.6, -0.75)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    return figure, axes


def _legend(figure: Figure, entries: Sequence[tuple[str, str]], marker: str) -> None:
    """Name the colours above the axes; white stands for an outline."""
    handles = [
        Line2D([], [], marker=marker, linestyle="", markersize=7, color=INK if colour == "white" else colour,
               markerfacecolor=colour)
        for _, colour in entries
    ]  # fmt: skip
    names = [short(name) for name, _ in entries]
    figure.legend(
        handles, names, loc="outside upper left", ncols=len(entries), handletextpad=0.3, columnspacing=1.4, borderpad=0
    )
