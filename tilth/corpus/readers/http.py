"""What a server answered, as a crawl recorded it: status, type, and the body without its transfer and content coding.

Crawlers differ in whether the body they keep is still coded as the head says (Common Crawl's is not), so a coding that
does not fit is taken as undone already. RFC 9110 and 9112.
"""

import zlib
from typing import Any, NamedTuple

from tilth.corpus.errors import UserError
from tilth.corpus.readers.chunk import NO_DOCUMENT, TOO_LARGE, UNREADABLE, Refused
from tilth.corpus.readers.extract import known
from tilth.corpus.readers.html import guess_encoding


class Message(NamedTuple):
    """An answer: its status, its media type, the charset its head names, and its body."""

    status: int
    mime: str
    charset: str | None
    body: bytes

    @staticmethod
    def of(status: int, content_type: str, body: bytes) -> "Message":
        """Build a message from the value of a Content-Type; where there is none, HTML is known by its looks."""
        mime, *parameters = (part.strip() for part in content_type.split(";"))
        charset = next((p.split("=", 1)[1].strip("\"' ") for p in parameters if p.lower().startswith("charset=")), None)
        head = body[:1024].lower()
        if not mime and (b"<html" in head or b"<!doctype html" in head):
            mime = "text/html"
        return Message(status, mime.lower(), charset or None, body)


def message(data: bytes, cap: int) -> Message:
    """Return the answer that ``data`` is. Raises ``Refused`` where it is none, or beyond ``cap`` bytes decoded."""
    head, found, body = data.partition(b"\r\n\r\n")
    if not found:
        head, found, body = data.partition(b"\n\n")
    first, *lines = head.decode("latin-1").splitlines() or [""]
    words = first.split(None, 2)
    if len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].isdecimal():
        raise Refused(UNREADABLE, "holds no HTTP answer")
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if "chunked" in fields.get("transfer-encoding", "").lower():
        body = unchunked(body)
    for coding in reversed(fields.get("content-encoding", "").lower().split(",")):
        body = uncoded(body, coding.strip(), cap)
    return Message.of(int(words[1]), fields.get("content-type", ""), body)


def unchunked(body: bytes) -> bytes:
    """Return a body without its chunks' sizes (RFC 9112, 7.1), or as it is where it has none."""
    pieces: list[bytes] = []
    at = 0
    while True:
        end = body.find(b"\r\n", at, at + 64)
        try:
            size = int(body[at:end].split(b";")[0], 16) if end >= 0 else -1
        except ValueError:
            size = -1
        if size < 0:
            return b"".join(pieces) + body[at:] if pieces else body
        if size == 0:
            return b"".join(pieces)
        pieces.append(body[end + 2 : end + 2 + size])
        at = end + 2 + size + 2


def uncoded(body: bytes, coding: str, cap: int) -> bytes:
    """Return a body without one content coding, or as it is where it is not coded so (any more)."""
    if coding in ("gzip", "x-gzip", "deflate"):
        wbits = 31 if coding != "deflate" else 15 if body[:1] == b"\x78" else -15
        if coding != "deflate" and not body.startswith(b"\x1f\x8b"):
            return body
        try:
            found = zlib.decompressobj(wbits).decompress(body, cap + 1)
        except zlib.error as error:
            raise Refused(UNREADABLE, f"has a body that is no {coding} ({error})") from error
    elif coding == "br":
        found = unbrotli(body, cap)
    else:
        return body
    if len(found) > cap:
        raise Refused(TOO_LARGE, f"expands to more than {cap} bytes")
    return found


def unbrotli(body: bytes, cap: int) -> bytes:
    """Return a body without its brotli coding (RFC 7932), at most about ``cap`` bytes of it, or as it is."""
    try:
        import brotli
    except ImportError as error:
        raise UserError("brotli needs a library; install it with: pip install 'tilth[web]'") from error
    coder: Any = brotli.Decompressor()
    try:
        found: bytes = coder.process(body, output_buffer_limit=cap + 1)
    except brotli.error:
        return body
    return found


def decoded_text(received: Message) -> str:
    """Return a plain text's characters; raise ``Refused`` where it is empty or in no encoding that is likely."""
    names = [received.charset] if received.charset and known(received.charset) else ["utf-8", None]
    for name in names:
        try:
            text = received.body.decode(name or guess_encoding(received.body))
        except ValueError:
            continue
        if not text.strip():
            raise Refused(NO_DOCUMENT, "has no text")
        return text.removeprefix("\ufeff")
    raise Refused(UNREADABLE, f"is not {received.charset or 'in a known encoding'}")
