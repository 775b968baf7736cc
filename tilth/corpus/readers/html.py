"""The main text of an HTML page, by resiliparse: chosen by measurement, see docs/decisions/html-extraction.md.

Parsing HTML as browsers do takes quadratic time where a page nests without end: 10,000 open ``div`` cost 1.5 s, a
million did not end in a minute (resiliparse 2.0.1). A limit in seconds would make the corpus depend on the machine, so
pages are refused by what takes the time, counted before they are parsed: tags and depth. At both limits a page takes
about two seconds.
"""

import re
from typing import Any

import numpy as np

from tilth.corpus.errors import UserError

MAXIMUM_TAGS = 500_000
MAXIMUM_DEPTH = 512  # of elements that stay open; browsers put what is deeper beside each other (WebKit, Blink: 512)

TAG = re.compile(rb"<(/?)([a-zA-Z][a-zA-Z0-9]*)")
# Elements that never hold others, or whose end may be left out (HTML Living Standard, 13.1.2 and 13.1.2.4).
UNCOUNTED = frozenset(
    b"area base br col embed hr img input link meta param source track wbr "
    b"html head body p li dt dd rt rp optgroup option thead tbody tfoot tr td th colgroup caption".split()
)


def page(data: bytes, charset: str | None) -> dict[str, Any] | str:
    """Return the fields ``text`` and ``title`` of a page, or the reason why it is no document.

    ``charset`` is what the server said; without it the page's own declaration counts, then statistics.
    """
    reason = too_much(data)
    if reason is not None:
        return reason
    extract, parse, detect, decode = library()
    encoding = charset if charset and known(charset) else detect(data, from_html_meta=True)
    tree = parse(decode(data, encoding if encoding and known(encoding) else "utf-8", "replace"))
    text = extract(tree, main_content=True).strip()
    if not text:
        return "has no text"
    return {"title": " ".join((tree.title or "").split()), "text": text}


def too_much(data: bytes) -> str | None:
    """Say why a page is not parsed: too many tags, or too many of them open at once; ``None`` where it may be."""
    begins = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("<"))
    if len(begins) > MAXIMUM_TAGS:
        return f"has {len(begins)} tags, at most {MAXIMUM_TAGS} are parsed"
    if len(begins) <= MAXIMUM_DEPTH:
        return None
    depth = deepest = 0
    for closing, name in TAG.findall(data):
        if name.lower() in UNCOUNTED:
            continue
        depth = max(0, depth - 1) if closing else depth + 1
        deepest = max(deepest, depth)
    if deepest > MAXIMUM_DEPTH:
        return f"nests {deepest} elements, at most {MAXIMUM_DEPTH} are parsed"
    return None


def guess_encoding(head: bytes) -> str:
    """Return the likely encoding of bytes that are no UTF-8; Windows-1252 where nothing else is likely."""
    _, _, detect, _ = library()
    found = detect(head, max_len=0)
    return str(found) if found and found != "utf-8" and known(found) else "cp1252"


def known(encoding: str) -> bool:
    """Tell whether Python can decode an encoding of that name."""
    try:
        b"".decode(encoding)
    except (LookupError, ValueError):
        return False
    return True


def library() -> tuple[Any, Any, Any, Any]:
    """Return resiliparse's functions; raise ``UserError`` where it is not installed."""
    try:
        from resiliparse.extract.html2text import extract_plain_text
        from resiliparse.parse.encoding import bytes_to_str, detect_encoding
        from resiliparse.parse.html import HTMLTree
    except ImportError as error:
        raise UserError("HTML needs the library resiliparse; install it with: pip install 'tilth[web]'") from error
    return extract_plain_text, HTMLTree.parse, detect_encoding, bytes_to_str
