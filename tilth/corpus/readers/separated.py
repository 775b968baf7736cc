"""Plain text with many documents in one file, something between them: a blank line, a form feed, ``<|endoftext|>``.

A document belongs to the slice that holds its first byte, so a large file is read by many workers, as long as the
separator cannot overlap itself: of ``\\n\\n`` in ``\\n\\n\\n`` nobody can tell from the middle which two are meant.
"""

from collections.abc import Iterable, Iterator

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
    """Yield (offset, bytes) of what stands between two marks and begins in ``piece``, and ``Lost`` for what is lost."""
    at, end = piece.bounds(len(mark))
    blocks = stream(source, piece, len(mark))
    yield from split_blocks(blocks, mark, at, end, source.maximum_bytes, foreign=piece.start > 0)


def split_blocks(
    blocks: Iterable[bytes | Gap], mark: bytes, at: int, end: int | None, cap: int, *, foreign: bool = False
) -> Iterator[tuple[int, bytes | Lost]]:
    """Split ``blocks``, which begin at offset ``at``, into what stands between marks and begins before ``end``.

    What stands before the first mark is left out where it is ``foreign``: the slice before this one reads it. A piece
    longer than ``cap`` bytes is counted and not held.
    """
    held = b""
    size = 0  # of the piece so far; held keeps the end of a longer one, in which a mark may have begun
    for block in blocks:
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
                yield at, held[first:found] if length <= cap else too_large(at, length, cap)
            foreign = False
            first = found + len(mark)
            at += length + len(mark)
            size = len(held) - first
            if end is not None and at >= end:
                return
        held = held[first:]
        if foreign and end is not None and at + size >= end:
            return
        if foreign or size > cap:
            held = held[-len(mark) :]
    if not foreign and size:
        yield at, held if size <= cap else too_large(at, size, cap)
