"""Selections side by side: ``comparison.json`` of a run as values of the report, and the picture of their sources."""

from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from tilth.report.excerpt import printable
from tilth.report.model import Excerpt, SelectionsCompared
from tilth.report.svg import INK, WIDTH, style
from tilth.selection.compare import Comparison, read_comparison

# Okabe and Ito 2008, as far as they are told apart on white; sources beyond share the last
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#8c959f")


def selections_compared(path: Path) -> SelectionsCompared:
    """Return the comparison in a file. Raises ``UserError`` where it is damaged."""
    found, examples = read_comparison(path)
    shown = {
        name: Excerpt(name, one.source, len(one.text.encode()), "", printable(one.text), clipped=True)
        for name, one in examples.items()
    }
    return SelectionsCompared(found, shown)


def selections_figure(found: Comparison) -> Figure:
    """Draw one bar a selection, divided by the share of every source, the pool's own on top."""
    rows = (found.pool, *found.methods)
    with style():
        figure = Figure(figsize=(WIDTH, 0.9 + 0.34 * len(rows)))
        axes = figure.add_subplot()
        for place, each in enumerate(rows):
            left = 0.0
            for number, row in enumerate(each.sources):
                colour = COLOURS[min(number, len(COLOURS) - 1)]
                axes.barh(place, row.kept_share, left=left, color=colour, height=0.62, edgecolor="white", linewidth=0.8)
                left += row.kept_share
        axes.set_yticks(range(len(rows)), [each.name[:24] for each in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlim(0, 1)
        axes.set_xlabel("share of the bytes")
        axes.tick_params(left=False)
        axes.spines["left"].set_visible(False)
        colours = [COLOURS[min(number, len(COLOURS) - 1)] for number in range(len(found.pool.sources))]
        handles = [Patch(color=colour) for colour in colours]
        names = [row.source[:16] for row in found.pool.sources]
        figure.legend(handles, names, loc="outside upper left", ncols=3, labelcolor=INK, borderpad=0)
    return figure
