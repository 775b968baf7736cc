from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.report.model import (
    Amount,
    Distribution,
    DropExample,
    Evaluation,
    Excerpt,
    Report,
    RuleDrops,
    RuleEdits,
    RuleExamples,
    ScorerMetrics,
    SourceBits,
    SourceFlow,
    StageFlow,
    TokenCount,
    TokenSummary,
    TrainingCurve,
    UnreadableRecord,
)
from tilth.report.page import render, sections, summary, told

VOID = {"meta", "br", "path", "use", "rect", "circle", "line"}


class Page(HTMLParser):
    """The outline of a page: elements with their attributes, text outside of style, and what is not closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return "".join(self.words)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def corpus_only(name: str = "small", text: str = "A text.", source: str = "web") -> Report:
    """Return the report of a run that only read and deduplicated."""
    document = Excerpt("0" * 32, source, 7, "d" * 32, text, False)
    drops = RuleDrops("deduplicate", "exact_duplicate", Amount(2, 20), {source: Amount(2, 20)})
    example = DropExample(document, None, None, "1" * 32, None)
    whole, left, none = Amount(10, 100), Amount(8, 80), Amount()
    return Report(
        name=name,
        unfinished=(),
        stages=(
            StageFlow("read", "Read", "edits", whole, whole, none, none, 0, 2, "f" * 32, "a" * 32),
            StageFlow("once", "ExactDuplicates", "drops", whole, left, drops.dropped, none, 0, 2, "e" * 32, "b" * 32),
        ),
        sources=(SourceFlow(source, Amount(10, 100), Amount(2, 20), Amount(), Amount(8, 80)),),
        rules=(drops,),
        edits=(),
        signals=(),
        scores=(),
        measured_parts=(0, 2),
        dropped_examples=(RuleExamples("deduplicate", "exact_duplicate", drops.dropped, (example,)),),
        kept_examples=(document,),
        unreadable=(),
        unreadable_total=Amount(),
        scorers=(),
        tokens=None,
        training=None,
        evaluation=None,
        seconds={},
        recipe=None,
    )


def whole() -> Report:
    """Return the report of a run that did everything."""
    shown = Distribution(
        "gopher.words", "rules", "gopher.words", (0, 1, 2), (3, 4), "linear", 1.0, None, False, False, 8, 3, 1
    )
    return replace(
        corpus_only(),
        edits=(RuleEdits("normalise", "line_ending", 5),),
        signals=(shown,),
        scores=(replace(shown, signal="quality", rule="below_cut"),),
        measured_parts=(1, 2),
        unreadable=(UnreadableRecord("web", "unreadable", 9, "web.jsonl", 17, "is not JSON"),),
        unreadable_total=Amount(1, 9),
        scorers=(ScorerMetrics("quality", (("area under ROC", 0.9),), (("dim", 8),), ((0.1, 0.0, 5), (0.9, 1.0, 5))),),
        tokens=TokenSummary(300, "c" * 32, (TokenCount("web", Amount(8, 80), 20),)),
        training=TrainingCurve(2, 20, 1.0, 9.0, 3.0, 2.0, 1, (10, 20), (3.0, 2.0), (0.1, 0.2), (9, 9)),
        evaluation=Evaluation(
            ("before", "after"),
            (SourceBits("web", Amount(1, 1), {"before": 4.0, "after": 2.0}),),
            SourceBits("all sources", Amount(1, 1), {"before": 4.0, "after": 2.0}),
        ),
        seconds={"read": 1.0, "train": 60.0},
        recipe="recipe:\n  name: small\n",
        versions={"python": "3.11"},
    )


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</pre></details></main><h1>taken over</h1>",
    "{{ 7 * 7 }}{% raw %}",
    "a\u202eb\u2066\x00\x1b[31m\x08",
    "&lt;b&gt;",
    "<!-- ",
    "]]>",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_is_shown_and_does_nothing(text: str) -> None:
    html = render(corpus_only(name=text, text=text, source=text))
    page, harmless = Page(html), Page(render(corpus_only()))
    assert not page.open
    assert [tag for tag, _ in page.elements if tag not in ("path", "text")] == [
        tag for tag, _ in harmless.elements if tag not in ("path", "text")
    ]
    assert not {"script", "img", "iframe", "object", "link"} & {tag for tag, _ in page.elements}
    assert all(not name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert not set("\u202e\u2066\x00\x1b\x08") & set(html)
    if text.isprintable():
        assert page.text.count(text) >= 4


@settings(max_examples=10, deadline=None)
@given(st.text(max_size=40))
def test_no_text_changes_the_structure_of_the_page(text: str) -> None:
    page = Page(render(corpus_only(text=text)))
    assert not page.open
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in Page(render(corpus_only())).elements]


def test_the_page_needs_nothing_but_itself() -> None:
    html = render(whole())
    page = Page(html)
    for _, attributes in page.elements:
        for name in ("src", "href", "xlink:href", "action", "data", "srcset"):
            assert (attributes.get(name) or "#").startswith("#")
    assert "@import" not in html
    assert all(place.startswith("#") for place in (piece.split(")")[0] for piece in html.split("url(")[1:]))
    (policy,) = (meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"


def test_equal_reports_give_equal_bytes() -> None:
    assert render(whole()) == render(whole())


def test_absent_sections_are_left_out_cleanly() -> None:
    full, small = Page(render(whole())), Page(render(corpus_only()))
    here = {attributes["id"] for attributes in small.all("section")}
    assert here == {"overview", "stages", "sources", "rules", "examples", "reproducibility"}
    assert {attributes["id"] for attributes in full.all("section")} > here
    assert "None" not in small.text


@pytest.mark.parametrize("report", [corpus_only(), whole()], ids=["corpus", "whole"])
def test_every_section_is_in_the_contents_and_every_link_leads_somewhere(report: Report) -> None:
    page = Page(render(report))
    anchors = [attributes["id"] for attributes in page.all("section")]
    assert anchors == [anchor for anchor, _ in sections(report)]
    targets = {attributes["id"] for _, attributes in page.elements if attributes.get("id")}
    assert {(link["href"] or "")[1:] for link in page.all("a")} <= targets
    identities = [attributes["id"] for _, attributes in page.elements if attributes.get("id")]
    assert len(identities) == len(set(identities))


def test_tables_and_figures_can_be_read_aloud() -> None:
    page = Page(render(whole()))
    assert all(attributes.get("scope") in ("col", "row") for attributes in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))
    assert len(page.all("svg")) == len(page.all("figure")) == 7
    for attributes in page.all("svg"):
        assert attributes["role"] == "img"
        assert attributes["aria-label"]
    assert page.all("html") == [{"lang": "en"}]


def test_wide_tables_scroll_inside_their_own_box() -> None:
    page = Page(render(whole()))
    boxes = [attributes for attributes in page.all("div") if attributes.get("class") == "scroll"]
    assert len(boxes) == len(page.all("table"))
    assert all(box["tabindex"] == "0" and box["aria-label"] for box in boxes)


def test_the_headline_says_what_was_kept_and_what_it_brought() -> None:
    text = summary(whole()).replace("\u202f", " ")
    assert text == (
        "Of 10 documents (100 B) from one source, 8 (80 B, 80.0 % of the bytes) were kept. "
        "Training on them took held-out text from 4.00 to 2.00 bits per byte."
    )


def test_a_histogram_tells_limits_and_what_lies_outside() -> None:
    (shown,) = whole().signals
    assert told(shown).replace("\u202f", " ") == (
        "At least 1: 3 of 7 documents break it (42.9 %). 1 could not be measured."
    )
    far = replace(shown, high=1e6, inverted=True)
    assert "The rule is inverted: these are kept" in told(far)
    assert "The limit 1,000,000 is beyond the picture" in told(far)


def test_an_unfinished_run_says_what_is_missing() -> None:
    assert "This run is not finished: 03-select" in Page(render(replace(corpus_only(), unfinished=("03-select",)))).text
