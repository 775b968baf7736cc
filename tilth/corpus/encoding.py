"""What encoding a text is in: named by the recipe, or found from its first mebibyte.

UTF-8 proves itself: other encodings with bytes beyond ASCII almost never are valid UTF-8 by chance, so a statistical
guess (uchardet's, through resiliparse) is asked only where a byte order mark and UTF-8 have failed.
"""

import codecs

from tilth.corpus.errors import UserError

DETECT = "detect"
LOOKED_AT = 1 << 20  # bytes of a file
UNDECODABLE = "tilth.undecodable"  # the error handler's name

# What begins like this says what it is: Unicode 16.0, 2.6, table 2-4. UTF-32 before UTF-16, whose mark begins it.
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def mark_undecodable(error: UnicodeError) -> tuple[str, int]:
    """Put a lone surrogate, which no UTF-8 can hold, where bytes cannot be decoded."""
    if isinstance(error, UnicodeDecodeError):
        return "\udcff", error.end
    raise error


codecs.register_error(UNDECODABLE, mark_undecodable)


def known_encoding(source: str, name: str) -> str:
    """Return Python's name of an encoding, or ``detect``; raise ``UserError`` for one that is not known."""
    if name == DETECT:
        return name
    try:
        "".encode(name)  # refuses what is no encoding of text, such as zlib
        found = codecs.lookup(name).name
    except LookupError as error:
        raise UserError(
            f"source {source!r}: encoding {name!r} is not known; expected a name such as utf-8, cp1252, shift_jis, "
            f"utf-16, or {DETECT!r}"
        ) from error
    return "utf-8" if found == "utf-8-sig" else found


def detected(head: bytes) -> str:
    """Return the encoding of a text that begins with ``head``: by its mark, as UTF-8, or by its statistics."""
    for mark, name in MARKS:
        if head.startswith(mark):
            return name
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # a character may be cut at the end
    except UnicodeDecodeError:
        from tilth.corpus.readers.html import guess_encoding

        return guess_encoding(head)
    return "utf-8"


def with_byte_order(encoding: str, head: bytes) -> str:
    """Return UTF-16 and UTF-32 with their byte order: what the text's mark says, little-endian where it has none.

    Python's decoders without an order refuse a text without a mark, and the rest of one behind a gap.
    """
    if encoding not in ("utf-16", "utf-32"):
        return encoding
    big = {"utf-16": codecs.BOM_UTF16_BE, "utf-32": codecs.BOM_UTF32_BE}[encoding]
    return f"{encoding}-{'be' if head.startswith(big) else 'le'}"
