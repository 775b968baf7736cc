"""Plain text with many documents in one file, something between them: a blank line, a form feed, ``<|endoftext|>``.

A document belongs to the slice that holds its first byte, so a large file is read by many workers, as long as the
separator cannot overlap itself: of ``\\n\\n`` in ``\\n\\n\\n`` nobody can tell from the middle which two are meant.
"""

from collections.abc import Iterator

from tilth.corpus.readers.chunk import UNREADABLE, Lost
from tilth.corpus.readers.decompress import Gap
from tilth.corpus.readers.records import Record, too_large
from tilth.corpus.readers.stream import stream
from tilth.corpus.sources import Source
from tilth.corpus.splits import Slice


def separated_records(source: Source, piece: Slice) -> Iterator[Record | Lost]:
    """Yield the documents of a text file whose first byte lies in ``piece``; what is blank is none."""
    for position, data in pieces(source, piece, str(source.separator).encode()):
        if isinstance(data, Lost):
            yield data
            continue
        if position == 0:
            data = data.removeprefix(b"\xef\xbb\xbf")
        if not data.strip():
            continue
        try:
            yield Record(position, len(data), {"text": data.decode(), "path": piece.file.relative})
        except UnicodeDecodeError as error:
            reason = f"is not {source.encoding} (byte {error.start} of the record)"
            yield Lost(position, len(data), UNREADABLE, reason)


def pieces(source: Source, piece: Slice, mark: bytes) -> Iterator[tuple[int, bytes | Lost]]:
    """Yield (offset, bytes) of what stands between two marks and begins in ``piece``, and ``Lost`` for what is lost.

    A piece longer than the source's cap is counted and not held.
    """
    before = min(len(mark), piece.start)
    end = piece.end if piece.file.splittable else None
    at = piece.start - before  # offset of the piece that is being put together
    foreign = piece.start > 0  # whether it began before the slice, so that the slice before this one reads it
    held = b""
    size = 0  # of the piece so far; held keeps the end of a longer one, in which a mark may have begun
    for block in stream(source, piece, before):
        if isinstance(block, Gap):
            yield at, Lost(at, block.unread, block.rule, block.reason)
            at, held, size = at + size + max(1, block.unread), b"", 0
            continue
        searched = max(0, len(held) - len(mark) + 1)
        held += block
        size += len(block)
        first = 0
        while (found := held.find(mark, max(first, searched))) >= 0:
            length = size - (len(held) - found)
            if not foreign:
                whole = length <= source.maximum_bytes
                yield at, held[first:found] if whole else too_large(at, length, source.maximum_bytes)
            foreign = False
            first = found + len(mark)
            at += length + len(mark)
            size = len(held) - first
            if end is not None and at >= end:
                return
        held = held[first:]
        if foreign and end is not None and at + size >= end:
            return
        if foreign or size > source.maximum_bytes:
            held = held[-len(mark) :]
    if not foreign and size:
        yield at, held if size <= source.maximum_bytes else too_large(at, size, source.maximum_bytes)
