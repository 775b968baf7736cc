"""MediaWiki XML dumps: the articles of a wiki, wikitext turned into plain text by mwparserfromhell.

A dump is one XML document of many gigabytes, and an XML parser must stop at the first bad byte. But ``<page>`` cannot
occur inside a page (its text is escaped), so pages are cut out by these bytes and parsed one by one: a bad page costs
itself, and a plain dump is read by many workers.
"""

import dataclasses
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from typing import Any

from tilth.corpus.readers.chunk import NO_DOCUMENT, UNREADABLE, Chunk, Lost, Refused
from tilth.corpus.readers.extract import ARTICLE
from tilth.corpus.readers.extractor import extracted
from tilth.corpus.readers.records import Record, record_chunks
from tilth.corpus.readers.separated import pieces
from tilth.corpus.sources import Source
from tilth.corpus.splits import Slice

BEGIN, END = b"<page>", b"</page>"


def read_mediawiki(source: Source, piece: Slice) -> Iterator[Chunk]:
    """Yield the articles of a dump; ``date`` is that of the revision unless the recipe says otherwise."""
    named = dataclasses.replace(source, date=source.date or "date")
    return record_chunks(named, piece.file.relative, page_records(source, piece))


def page_records(source: Source, piece: Slice) -> Iterator[Record | Lost]:
    """Yield the pages that begin in ``piece``, as an article's fields or as what is lost."""
    for position, data in pieces(source, piece, BEGIN):
        if isinstance(data, Lost):
            yield data
        elif position == 0 and END not in data:
            if b"<mediawiki" not in data:
                yield Lost(0, len(data), UNREADABLE, "is no MediaWiki dump")
        else:
            try:
                yield page_record(position, data, source.maximum_seconds)
            except Refused as refused:
                yield Lost.refused(position, len(data), refused)


def page_record(position: int, data: bytes, seconds: float) -> Record | Lost:
    """Return the article of a page, the bytes behind its first tag, or why it is none.

    Raises ``Refused`` where extracting takes more than ``seconds`` of processor time.
    """
    size = data.find(END)
    if size < 0:
        return Lost(position, len(data), UNREADABLE, "is a page that does not end")
    try:
        page = ElementTree.fromstring(BEGIN + data[: size + len(END)])
    except (ElementTree.ParseError, ValueError) as error:
        return Lost(position, size, UNREADABLE, f"is not valid XML ({error})")
    namespace = page.findtext("ns") or "0"
    revisions = page.findall("revision")
    if namespace.strip() != "0":
        return Lost(position, size, NO_DOCUMENT, f"is a page of namespace {namespace}")
    if page.find("redirect") is not None:
        return Lost(position, size, NO_DOCUMENT, "is a redirect")
    if not revisions:
        return Lost(position, size, UNREADABLE, "has no revision")
    _, text = extracted(ARTICLE, (revisions[-1].findtext("text") or "").encode(), "", seconds)
    if not text:
        return Lost(position, size, NO_DOCUMENT, "has no text")
    fields: dict[str, Any] = {
        "id": page.findtext("id"),
        "title": page.findtext("title"),
        "date": revisions[-1].findtext("timestamp"),
        "revision": revisions[-1].findtext("id"),
        "text": text,
    }
    return Record(position, size, fields)
