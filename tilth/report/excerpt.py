"""The beginning of a document as it may be shown on a page: clipped, and with nothing invisible at work in it.

Texts are hostile. HTML is escaped by the template; what is left are characters that no escaping touches: controls,
which a browser drops or replaces, and marks of direction, which can turn the text around them, the page's own
included. They are written out, so that the reader sees what the filter saw.
"""

import re
import unicodedata

import pyarrow as pa
import pyarrow.compute as pc

from tilth.report.model import Excerpt

CHARACTERS = 600

JOINERS = "\u200c\u200d"  # the only format characters that stay: scripts and emoji need them
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
COMBINING = 4  # marks in a row that are shown; more would climb over the lines above


def printable(text: str) -> str:
    """Return ``text`` with its invisible characters written out: controls as pictures, others as [U+202E]."""
    if text.isascii() and not CONTROL.search(text):
        return text
    shown = []
    marks = 0
    for character in text.replace("\r\n", "\n"):
        category = unicodedata.category(character)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        code = ord(character)
        if character in "\n\t":
            shown.append(character)
        elif code < 0x20:
            shown.append(chr(0x2400 + code))
        elif code == 0x7F:
            shown.append("\u2421")
        elif (category in ("Cc", "Cf") and character not in JOINERS) or not_a_character(code) or marks > COMBINING:
            shown.append(f"[U+{code:04X}]")
        else:
            shown.append(character)
    return "".join(shown)


def not_a_character(code: int) -> bool:
    """Tell whether this is one of the code points that Unicode will never give a meaning."""
    return 0xFDD0 <= code <= 0xFDEF or code & 0xFFFE == 0xFFFE


def excerpts(batch: pa.RecordBatch, rows: pa.Array) -> list[Excerpt]:
    """Return the documents of ``batch`` (``id``, ``source``, ``bytes``, ``digest``, ``text``) at ``rows``, in order.

    Texts are clipped in Arrow, so that a document of 10 MB never becomes a Python string.
    """
    chosen = batch.select(["id", "source", "bytes", "digest"]).take(rows)
    texts = batch.column("text").take(rows)
    lengths = pc.utf8_length(texts).to_pylist()
    beginnings = pc.utf8_slice_codeunits(texts, 0, CHARACTERS).to_pylist()
    return [
        Excerpt(
            row["id"].hex(),
            row["source"],
            row["bytes"],
            row["digest"].hex(),
            printable(beginning),
            length > CHARACTERS,
        )
        for row, beginning, length in zip(chosen.to_pylist(), beginnings, lengths, strict=True)
    ]
