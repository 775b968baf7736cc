"""The page: values in, one HTML file out. Everything that comes from a run passes through the template's escaping.

No script stands in the page and its own policy forbids any, so a text that would slip through the escaping could still
not act. Whole figures are 5 to 20 kB each; a report of a run with ten rules is some 200 kB.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from tilth.report import figures, formats
from tilth.report.excerpt import printable
from tilth.report.model import Distribution, Report, RuleDrops, StageFlow
from tilth.report.selections import selections_figure
from tilth.report.svg import as_svg

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Card:
    """A headline number."""

    name: str
    value: str
    note: str = ""


def render(report: Report) -> str:
    """Return the report as one HTML document. Equal reports give equal text."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": formats.count,
        "count_or_dash": lambda number: formats.count(number) if number else "–",
        "size": formats.size,
        "magnitude": formats.magnitude,
        "duration": formats.duration,
        "decimal": formats.decimal,
        "figure": lambda value: formats.decimal(value) if type(value) in (int, float) else str(value),
    }
    # a name, a path or a reason may hold controls and marks of direction like any text
    environment.finalize = lambda value: printable(value) if type(value) is str else value
    return environment.get_template("page.html").render(
        report=report,
        style=Markup((FOLDER / "style.css").read_text(encoding="utf-8")),
        figures=_figures(report),
        sections=sections(report),
        cards=cards(report),
        summary=summary(report),
        sampled=_sampled(report),
        told=told,
        most_from=most_from,
        share=formats.share,
        change=formats.change,
    )


def sections(report: Report) -> list[tuple[str, str]]:
    """Return anchor and title of every section that the report has, in order."""
    every: list[tuple[str, str, object]] = [
        ("overview", "Overview", True),
        ("stages", "Stages", True),
        ("sources", "Sources", True),
        ("rules", "Rules", report.rules),
        ("duplicates", "Duplicates", report.duplicates),
        ("signals", "Signals", report.signals),
        ("scores", "Scores", report.scores),
        ("scorers", "Scorers", report.scorers),
        ("selections", "Selections", report.selections),
        ("examples", "Examples", report.dropped_examples or report.kept_examples),
        ("unreadable", "Unreadable records", report.unreadable),
        ("edits", "Edits", report.edits),
        ("tokens", "Tokens", report.tokens),
        ("training", "Training", report.training),
        ("evaluation", "Bits per byte", report.evaluation),
        ("reproducibility", "Reproducibility", True),
    ]
    return [(anchor, title) for anchor, title, there in every if there]


def summary(report: Report) -> str:
    """Return the run in two sentences."""
    read, kept = report.read, report.kept
    sources = "one source" if len(report.sources) == 1 else f"{formats.count(len(report.sources))} sources"
    left = f"{formats.size(kept.bytes)}, {formats.share(kept.bytes, read.bytes)} of the bytes"
    text = (
        f"Of {_documents(read.documents)} ({formats.size(read.bytes)}) from {sources}, "
        f"{formats.count(kept.documents)} ({left}) were kept"
    )
    if report.held_out.documents:
        text += f" and {formats.count(report.held_out.documents)} held out for evaluation"
    if report.evaluation and len(report.evaluation.checkpoints) > 1:
        first, last = _first_and_last(report)
        text += f". Training on them took held-out text from {first:.2f} to {last:.2f} bits per byte"
    return text + "."


def cards(report: Report) -> list[Card]:
    """Return the headline numbers."""
    read, kept = report.read, report.kept
    shown = [
        Card("Read", formats.size(read.bytes), _documents(read.documents)),
        Card(
            "Kept", formats.size(kept.bytes), f"{_documents(kept.documents)}, {formats.share(kept.bytes, read.bytes)}"
        ),
    ]
    if report.held_out.documents:
        shown.append(Card("Held out", formats.size(report.held_out.bytes), _documents(report.held_out.documents)))
    if report.tokens:
        size = sum(row.amount.bytes for row in report.tokens.sources)
        note = f"{size / report.tokens.tokens:.2f} bytes a token" if report.tokens.tokens else ""
        shown.append(Card("Tokens", formats.magnitude(report.tokens.tokens), note))
    if report.evaluation:
        first, last = _first_and_last(report)
        if len(report.evaluation.checkpoints) > 1:
            shown.append(Card("Bits per byte", f"{first:.2f} → {last:.2f}", formats.change(first, last)))
        else:
            shown.append(Card("Bits per byte", f"{last:.2f}"))
    if report.seconds:
        slowest = max(report.seconds, key=lambda step: report.seconds[step])
        note = f"longest: {slowest}, {formats.duration(report.seconds[slowest])}"
        shown.append(Card("Time", formats.duration(sum(report.seconds.values())), note))
    return shown


def told(shown: Distribution) -> str:
    """Return what a histogram shows, in words: the limits, the share outside, what was not measured."""
    known = shown.documents - shown.unmeasured
    limits = [f"{word} {formats.decimal(limit)}" for word, limit in shown.limits]
    parts = []
    if limits:
        verb = "breaks" if shown.outside == 1 else "break"
        parts.append(
            f"{' and '.join(limits).capitalize()}: {formats.count(shown.outside)} of {_documents(known)} {verb} it "
            f"({formats.share(shown.outside, known)})"
        )
        if shown.inverted:
            parts.append("The rule is inverted: these are kept")
    else:
        parts.append(f"{_documents(known)}; nothing was cut by it")
    if shown.unmeasured:
        parts.append(f"{formats.count(shown.unmeasured)} could not be measured")
    parts += [
        f"The limit {formats.decimal(limit)} is beyond the picture"
        for _, limit in shown.limits
        if not shown.edges[0] <= limit <= shown.edges[-1]
    ]
    return ". ".join(parts) + "."


def most_from(drops: RuleDrops) -> str:
    """Return the source that lost most documents to a rule, and its share of them."""
    source = max(sorted(drops.by_source), key=lambda name: drops.by_source[name].documents)
    return f"{source} ({formats.share(drops.by_source[source].documents, drops.dropped.documents)})"


def _figures(report: Report) -> Mapping[str, object]:
    drawn: dict[str, object] = {"funnel": _inline(figures.funnel(report.stages), "funnel", _funnel_told(report.stages))}
    if report.rules:
        strictest = max(report.rules, key=lambda drops: drops.dropped.documents)
        alternative = (
            f"Bars of the documents that each rule removed; most by {strictest.rule}: "
            f"{formats.count(strictest.dropped.documents)}. The table below has all numbers."
        )
        drawn["rules"] = _inline(figures.drops_by_rule(report.rules), "rules", alternative)
    for kind, every, thin_tails in (("signals", report.signals, True), ("scores", report.scores, False)):
        drawn[kind] = [
            _inline(
                figures.distribution(one, thin_tails=thin_tails),
                f"{kind}{number}",
                f"Histogram of {one.signal}. {told(one)}",
            )
            for number, one in enumerate(every)
        ]
    drawn["calibration"] = [
        _inline(figures.calibration(one), f"calibration{number}", f"Calibration of the scorer {one.signal}.")
        if one.calibration
        else Markup()
        for number, one in enumerate(report.scorers)
    ]
    if report.selections:
        drawn["selections"] = _inline(
            selections_figure(report.selections.comparison),
            "selections",
            "Share of every source in the pool and in each selection. The table below has all numbers.",
        )
    if report.training:
        alternative = (
            f"Loss over {formats.magnitude(report.training.tokens)} tokens, from {report.training.first_loss:.2f} to "
            f"{report.training.last_loss:.2f}, with the learning rate and the tokens a second below."
        )
        drawn["training"] = _inline(figures.training(report.training), "training", alternative)
    if report.evaluation:
        names = " and ".join(dict.fromkeys((report.evaluation.checkpoints[0], report.evaluation.checkpoints[-1])))
        alternative = f"Bits per byte by source, {names}. The table below has all numbers."
        drawn["bits"] = _inline(figures.bits_per_byte(report.evaluation), "bits", alternative)
    return drawn


def _inline(figure: Figure, name: str, alternative: str) -> Markup:
    return Markup(as_svg(figure, name, printable(alternative)))


def _funnel_told(stages: tuple[StageFlow, ...]) -> str:
    steps = "; ".join(
        f"{stage.name} {formats.size(stage.kept.bytes)}" for stage in stages if stage.effect != "measures"
    )
    return f"Bytes of text left after each stage: {steps}."


def _sampled(report: Report) -> str:
    read, parts = report.measured_parts
    if read == parts:
        return ""
    return f" They show {formats.count(read)} of {formats.count(parts)} parts, evenly spread over the corpus."


def _documents(number: int) -> str:
    return "1 document" if number == 1 else f"{formats.count(number)} documents"


def _first_and_last(report: Report) -> tuple[float, float]:
    if report.evaluation is None:
        raise ValueError("the report has no evaluation")
    values = report.evaluation.total.bits_per_byte
    return values[report.evaluation.checkpoints[0]], values[report.evaluation.checkpoints[-1]]
