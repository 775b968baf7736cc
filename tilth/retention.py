"""A limit that is moved: where it stands in a sweep, what it keeps as text and as a curve, and who lives next to it."""

import math
from pathlib import Path

from tilth.corpus.errors import UserError
from tilth.corpus.store import write_atomically
from tilth.filters.near import Near
from tilth.filters.what_if import Sweep

BAR = 30  # characters of a bar that stands for all documents
CLIP = 160  # characters of a text's beginning


def sweep_limits(asked: str, points: int, side: str | None) -> tuple[str, list[str]]:
    """Read ``RULE=FROM..TO`` as limits at even distances; ``side`` says which of two limits moves: low or high.

    Raises ``UserError`` where it is not so written.
    """
    rule, equals, value = asked.partition("=")
    first, dots, last = value.partition("..")
    try:
        low, high = float(first), float(last)
        if not (equals and dots and math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError
    except ValueError as error:
        raise UserError(f"--sweep: '{asked}': expected RULE=FROM..TO, such as words=10..100") from error
    limits = [f"{low + (high - low) * place / (points - 1):.6g}" for place in range(points)]
    if side is not None:
        limits = [f"{limit}.." if side == "low" else f"..{limit}" for limit in limits]
    return rule, limits


def _limit(bounds: tuple[float | None, float | None]) -> float:
    """Return the limit that a sweep moves."""
    return next(bound for bound in bounds if bound is not None)


def sweep_text(sweep: Sweep) -> str:
    """Return a sweep as a table: a line a limit, a bar for all documents, the share of each source."""
    names = list(sweep.entered)
    total = sum(documents for documents, _ in sweep.entered.values())
    lines = [
        f"{sweep.stage}: {sweep.rule}, {total:,} documents",
        "share of documents that pass this stage; what later stages would make of them is not counted",
        "",
        f"{'limit':>10}  {'all':>7}  {'':<{BAR}}  " + "  ".join(f"{name:>12}" for name in names),
    ]
    for place, bounds in enumerate(sweep.limits):
        share = sweep.share(place)
        bar = "#" * round(share * BAR)
        cells = "  ".join(f"{sweep.share(place, name):>12.2%}" for name in names)
        lines.append(f"{_limit(bounds):>10.6g}  {share:>7.2%}  {bar:<{BAR}}  {cells}")
    return "\n".join(lines)


def draw_sweep(sweep: Sweep, path: Path) -> None:
    """Draw the share of documents that each limit keeps, a curve for each source, as an SVG file."""
    from matplotlib.figure import Figure

    from tilth.report.svg import INK, as_svg, style

    places = range(len(sweep.limits))
    at = [_limit(bounds) for bounds in sweep.limits]
    with style():
        figure = Figure(figsize=(6.4, 4.0))
        axes = figure.subplots()
        for name in sweep.entered:
            axes.plot(at, [sweep.share(place, name) for place in places], label=name)
        axes.plot(at, [sweep.share(place) for place in places], color=INK, linestyle="--", label="all")
        for bound in sweep.now:
            if bound is not None and at[0] <= bound <= at[-1]:
                axes.axvline(bound, color=INK, linewidth=0.8)
        axes.set_xlabel(sweep.rule)
        axes.set_ylabel("share of documents kept")
        axes.set_ylim(0, 1.02)
        axes.legend()
        text = as_svg(figure, "retention", f"What limits of {sweep.rule} keep")
    write_atomically(path, text.encode())


def near_text(found: Near) -> str:
    """Return the documents on both sides of a rule's limits, in the order of their values."""
    low = "" if found.low is None else f"{found.low:g}"
    high = "" if found.high is None else f"{found.high:g}"
    lines = [f"{found.stage}: {found.rule} in [{low}, {high}]"]
    for document in found.documents:
        begin = " ".join(document.text[: 2 * CLIP].split())[:CLIP]
        verdict = "passes" if document.passes else "refused"
        lines += ["", f"{document.value:.6g}  {verdict}  {document.id}  {document.source}", f"    {begin}"]
    return "\n".join(lines)
