"""Answers of the ledger as text for a terminal: one document's story, and what another limit would keep."""

from tilth.corpus.errors import UserError
from tilth.corpus.why import Event, Story
from tilth.filters.edits import Edit, apply_edits
from tilth.filters.what_if import WhatIf

CLIP = 200  # characters of a text's beginning
CONTEXT = 40  # bytes of text on both sides of an edit


def story_text(story: Story) -> str:
    """Return a document's story: one line a stage, its measures and edits below it."""
    lines = [f"document {story.id}", f"source   {story.source}, part {story.part}"]
    if story.text is not None:
        begin = " ".join(story.text[: 2 * CLIP].split())[:CLIP]
        lines.append(f"text     {len(story.text.encode()):,} bytes: {begin}{'…' if len(story.text) > CLIP else ''}")
    lines.append("")
    for event in story.events:
        lines += _event_lines(event)
    return "\n".join(lines)


def _event_lines(event: Event) -> list[str]:
    said = event.verdict
    if event.drop is not None:
        drop = event.drop
        said += f" by {drop['rule']}"
        if drop["value"] is not None and drop["limit"] is not None:
            said += f": {drop['value']:.6g}, limit {drop['limit']:.6g}"
        if drop["other"]:
            said += f": {drop['other']} stayed"
        if drop["detail"]:
            said += f": {drop['detail']}"
    lines = [f"{event.stage:<18} {said}"]
    lines += [f"{'':<18}   {name} = {value:.6g}" for name, value in event.signals.items()]
    for edit in event.edits:
        change = f"{edit['original']!r} -> {edit['replacement']!r}"
        stays = f" ({edit['other']} keeps it)" if edit["other"] else ""
        lines.append(f"{'':<18}   {edit['rule']} at {edit['start']}..{edit['end']}{stays}: {change}")
    return lines


def diff_text(story: Story) -> str:
    """Return every edit of a document in its place: ``[-what stood there-]{+what stands there+}``, stage by stage.

    Raises ``UserError`` where the edits do not fit the text that was read.
    """
    lines = [f"document {story.id}", f"source   {story.source}, part {story.part}"]
    text = (story.text or "").encode()
    for event in story.events:
        if not event.edits:
            continue
        lines += ["", f"{event.stage}: {len(event.edits)} edits"]
        for edit in event.edits:
            before = text[max(0, edit["start"] - CONTEXT) : edit["start"]].decode(errors="ignore")
            after = text[edit["end"] : edit["end"] + CONTEXT].decode(errors="ignore")
            change = f"[-{edit['original']}-]" if edit["original"] else ""
            change += f"{{+{edit['replacement']}+}}" if edit["replacement"] else ""
            shown = f"{before}{change}{after}".encode("unicode_escape").decode() if not _plain(change) else None
            lines.append(f"  {edit['start']:>8}  {edit['rule']}: {shown or _one_line(before + change + after)}")
        try:
            text = apply_edits(text, [Edit(**{**edit, "other": None}) for edit in event.edits])
        except ValueError as error:
            raise UserError(f"{event.stage}: {error}; run the same command again to write it anew") from error
    if len(lines) == 2:
        lines += ["", "no stage edited it"]
    return "\n".join(lines)


def _plain(text: str) -> bool:
    """Tell whether a terminal can show a text as it is, but for its line ends."""
    return all(mark.isprintable() or mark in "\n\t" for mark in text)


def _one_line(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t")


def what_if_text(answer: WhatIf) -> str:
    """Return what a changed limit keeps, beside what the run kept, by source."""
    asked = ", ".join(f"{rule} in [{_bound(low)}, {_bound(high)}]" for rule, low, high in answer.limits)
    lines = [
        f"{answer.stage}: {asked}",
        "documents that pass this stage; what later stages would make of them is not counted",
        "",
        f"{'source':<20} {'entered':>10} {'kept now':>10} {'kept then':>10} {'change':>8} {'MB now':>9} {'MB then':>9}",
    ]
    for name, row in [*answer.sources.items(), ("all", answer.total)]:
        change = row.documents_then - row.documents_now
        lines.append(
            f"{name:<20} {row.documents:>10,} {row.documents_now:>10,} {row.documents_then:>10,} {change:>+8,} "
            f"{row.bytes_now / 1e6:>9,.2f} {row.bytes_then / 1e6:>9,.2f}"
        )
    return "\n".join(lines)


def _bound(limit: float | None) -> str:
    return "" if limit is None else f"{limit:g}"
