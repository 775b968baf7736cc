"""WARC, WET and ARC: every record is found, and those that hold a page or a text become documents.

WARC is ISO 28500 (versions 1.0 and 1.1), ARC the Internet Archive's format before it. Of a crawl's records most are no
documents (requests, images, redirects): they leave as drops of their own kind, so that the counts of any other tool can
be found again. A record whose length cannot be true costs itself: reading goes on at the next one that begins after an
empty line.
"""

import dataclasses
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from tilth.corpus.readers.chunk import DAMAGED, NO_DOCUMENT, UNREADABLE, Chunk, Lost, Refused
from tilth.corpus.readers.html import page
from tilth.corpus.readers.http import Message, decoded_text, message
from tilth.corpus.readers.records import Record, record_chunks, too_large
from tilth.corpus.readers.scanner import Interrupted, Scanner
from tilth.corpus.readers.stream import stream
from tilth.corpus.sources import Source
from tilth.corpus.splits import Slice

MAXIMUM_HEADER = 1 << 20  # bytes; a URL may be some kilobytes, a cookie too
NEXT = b"\r\n\r\nWARC/1."
# ARC 1.0: URL, address, date, type, length. Archives exist whose URLs hold spaces.
ARC_LINE = re.compile(rb"([a-z][a-z0-9+.-]*:.*) (\S+) (\d{14}) (\S+) (\d+)")
HTML = ("text/html", "application/xhtml+xml")


class Header(NamedTuple):
    """What the head of a record says."""

    size: int  # bytes of the head itself
    length: int  # bytes of the content
    kind: str  # warcinfo, request, response, resource, conversion, metadata, revisit, continuation
    fields: dict[str, str]  # names in lower case


NO_HEADER = Header(0, 0, "", {})


def read_warc(source: Source, piece: Slice) -> Iterator[Chunk]:
    """Yield the pages and texts of an archive; ``url`` and ``date`` are those of the archive unless the recipe says."""
    named = dataclasses.replace(source, url=source.url or "url", date=source.date or "date")
    return record_chunks(named, piece.file.relative, warc_records(source, piece))


def warc_records(source: Source, piece: Slice) -> Iterator[Record | Lost]:
    """Yield every record of an archive that begins in ``piece``, as a document's fields or as what is lost."""
    scanner = Scanner(stream(source, piece), piece.place)
    for start, header, found in archive_records(source, scanner, piece.place_end):
        if isinstance(found, Lost):
            yield found
            continue
        try:
            fields = document_fields(source, header, found)
        except Refused as refused:
            yield Lost.refused(start, header.length, refused)
        else:
            yield Record(start, len(fields["text"]), fields)


def archive_records(source: Source, scanner: Scanner, end: int | None) -> Iterator[tuple[int, Header, bytes | Lost]]:
    """Yield (offset, head, content) of the records that begin before ``end``, an empty head where there is none."""
    arc = False
    while True:
        try:
            while scanner.ahead(1) in (b"\r", b"\n"):
                scanner.forward(1)
            if not scanner.ahead(1) or (end is not None and scanner.at >= end):
                return
            arc = arc or scanner.ahead(9) == b"filedesc:"
            start = scanner.at
            header = arc_header(scanner) if arc else warc_header(scanner)
            if header is None:
                yield start, NO_HEADER, no_record(scanner, arc)
                continue
            yield start, header, content(source, scanner, header)
        except Interrupted as broken:
            yield broken.at, NO_HEADER, Lost(broken.at, broken.gap.unread, broken.gap.rule, broken.gap.reason)


def no_record(scanner: Scanner, arc: bool) -> Lost:
    """Go on to the next record and return what was passed over."""
    start = scanner.at
    if arc:
        scanner.forward(1)
        while scanner.skip_to(b"\n"):
            scanner.forward(1)
            if arc_header(scanner) is not None:
                break
    elif scanner.skip_to(NEXT):
        scanner.forward(4)
    return Lost(start, scanner.at - start, UNREADABLE, f"is no {'ARC' if arc else 'WARC'} record")


def warc_header(scanner: Scanner) -> Header | None:
    """Return the head of the record that begins here, or ``None`` where none does."""
    if scanner.ahead(5) != b"WARC/":
        return None
    length = scanner.find(b"\r\n\r\n", MAXIMUM_HEADER)
    if length < 0:
        return None
    fields: dict[str, str] = {}
    name = ""
    for line in scanner.ahead(length).decode("utf-8", "replace").split("\r\n")[1:]:
        if line[:1] in (" ", "\t") and name:
            fields[name] += " " + line.strip()
            continue
        name, colon, value = line.partition(":")
        if not colon:
            return None
        name = name.strip().lower()
        fields[name] = value.strip()
    if not fields.get("content-length", "").isdecimal() or "warc-type" not in fields:
        return None
    return Header(length + 4, int(fields["content-length"]), fields["warc-type"].lower(), fields)


def arc_header(scanner: Scanner) -> Header | None:
    """Return the head line of the ARC record that begins here, or ``None`` where none does."""
    length = scanner.find(b"\n", MAXIMUM_HEADER)
    found = ARC_LINE.fullmatch(scanner.ahead(length).rstrip(b"\r")) if length >= 0 else None
    if found is None:
        return None
    url, _, date, mime, size = (part.decode("utf-8", "replace") for part in found.groups())
    when = f"{date[:4]}-{date[4:6]}-{date[6:8]}T{date[8:10]}:{date[10:12]}:{date[12:]}Z"
    kind = "warcinfo" if url.startswith("filedesc:") else "response" if url.startswith("http") else "resource"
    fields = {"warc-target-uri": url, "warc-date": when, "content-type": mime}
    return Header(length + 1, int(size), kind, fields)


def content(source: Source, scanner: Scanner, header: Header) -> bytes | Lost:
    """Return what the record with this head holds, and go on behind it."""
    start = scanner.at
    if header.length > source.maximum_bytes:
        # its length may be the fault: what begins like a record is taken for one
        scanner.forward(header.size - 4)
        if scanner.skip_to(NEXT):
            scanner.forward(4)
        return too_large(start, max(header.length, scanner.at - start), source.maximum_bytes)
    found = scanner.ahead(header.size + header.length + 4)
    body = found[header.size : header.size + header.length]
    behind = found[header.size + header.length :]
    if len(body) < header.length or behind.strip(b"\r\n"):
        other = found.find(NEXT, header.size - 4)
        if other >= 0 and other + 4 < len(found):
            scanner.forward(other + 4)
            return Lost(start, other + 4, UNREADABLE, "does not end where its Content-Length says")
        if len(body) < header.length:
            scanner.forward(len(found))
            return Lost(start, len(found), DAMAGED, f"ends after {len(body)} of {header.length} bytes")
    scanner.forward(header.size + header.length)
    return body


def document_fields(source: Source, header: Header, body: bytes) -> dict[str, Any]:
    """Return the fields of a record's document; raise ``Refused`` where it holds none."""
    about = header.fields
    url = about.get("warc-target-uri", "").strip("<>")
    if header.kind not in ("response", "resource", "conversion"):
        raise Refused(NO_DOCUMENT, f"is a record of type {header.kind}")
    if url.startswith("metadata:"):
        raise Refused(NO_DOCUMENT, "is a log of its crawler")
    fields: dict[str, Any] = {"url": url or None, "date": about.get("warc-date"), "type": header.kind}
    if "warc-record-id" in about:
        fields["id"] = about["warc-record-id"].strip("<>").removeprefix("urn:uuid:")
    if "warc-identified-content-language" in about:
        fields["language"] = about["warc-identified-content-language"]
    if header.kind == "response":
        received = message(body, source.maximum_bytes)
        if not 200 <= received.status < 300:
            raise Refused(NO_DOCUMENT, f"is an answer with status {received.status}")
        fields["status"] = received.status
    else:
        received = Message.of(200, about.get("content-type", ""), body)
    fields["mime"] = received.mime
    if received.mime in HTML:
        return {**fields, **page(received.body, received.charset, source.maximum_seconds)}
    if received.mime != "text/plain":
        raise Refused(NO_DOCUMENT, f"is of type {received.mime or 'unknown'}")
    return {**fields, "text": decoded_text(received)}
