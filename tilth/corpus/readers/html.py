"""The main text of an HTML page, by resiliparse: chosen by measurement, see docs/decisions/html-extraction.md.

Parsing HTML as browsers do takes quadratic time where a page nests without end: 10,000 open ``div`` cost 1.5 s, a
million did not end in a minute (resiliparse 2.0.1). A limit in seconds alone would make the corpus depend on the
machine, so pages are refused first by what takes the time, counted before they are parsed: tags and depth. At both
limits a page takes about two seconds; what takes longer in other ways meets the limit of seconds.
"""

import re
from typing import Any

import numpy as np

from tilth.corpus.errors import UserError
from tilth.corpus.readers.chunk import NO_DOCUMENT, Refused
from tilth.corpus.readers.extract import PAGE, known
from tilth.corpus.readers.extractor import extracted

MAXIMUM_TAGS = 500_000
MAXIMUM_DEPTH = 512  # of elements that stay open; browsers put what is deeper beside each other (WebKit, Blink: 512)

TAG = re.compile(rb"<(/?)([a-zA-Z][a-zA-Z0-9]*)")
# Elements that never hold others, or whose end may be left out (HTML Living Standard, 13.1.2 and 13.1.2.4).
UNCOUNTED = frozenset(
    b"area base br col embed hr img input link meta param source track wbr "
    b"html head body p li dt dd rt rp optgroup option thead tbody tfoot tr td th colgroup caption".split()
)


def page(data: bytes, charset: str | None, seconds: float) -> dict[str, Any]:
    """Return the fields ``text`` and ``title`` of a page; ``charset`` is what the server said.

    Raises ``Refused`` where it is no document, or takes more than ``seconds`` of processor time.
    """
    reason = too_much(data)
    if reason is not None:
        raise Refused(NO_DOCUMENT, reason)
    title, text = extracted(PAGE, data, charset or "", seconds)
    if not text:
        raise Refused(NO_DOCUMENT, "has no text")
    return {"title": title, "text": text}


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
    try:
        from resiliparse.parse.encoding import detect_encoding
    except ImportError as error:
        raise UserError(
            "detecting an encoding needs the library resiliparse; install it with: pip install 'tilth[web]'"
        ) from error
    found = detect_encoding(head, max_len=0)
    return str(found) if found and found != "utf-8" and known(found) else "cp1252"
