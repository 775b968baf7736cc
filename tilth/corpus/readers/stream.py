"""The bytes of a slice as UTF-8, whatever the file is packed in and however it is encoded; gaps say what is missing.

Text that is not UTF-8 is turned into it while it streams, so every reader behind knows one encoding. What cannot be
decoded becomes bytes that are no UTF-8 either: the record that holds them is refused, and no other.
"""

import codecs
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from typing import BinaryIO

from tilth.corpus.encoding import DETECT, LOOKED_AT, UNDECODABLE, detected, with_byte_order
from tilth.corpus.errors import UserError
from tilth.corpus.readers.decompress import BLOCK, Gap, decompressed
from tilth.corpus.sources import Source, SourceFile, open_unchanged
from tilth.corpus.splits import Slice


def stream(source: Source, piece: Slice, before: int = 0) -> Generator[bytes | Gap, None, None]:
    """Yield the bytes of ``piece`` in blocks, beginning ``before`` bytes before it, as UTF-8.

    ``before`` counts in plain files only: a packed one is entered where a member begins. The blocks of a file that can
    be split go on to its end: whoever reads them stops when what began in the slice is complete. Raises ``UserError``
    where the disk fails.
    """
    file = piece.file
    with open_unchanged(file) as handle:
        blocks: Generator[bytes | Gap, None, None]
        if file.compression is not None:
            blocks = decompressed(handle, file.size, file.compression, piece.start)
        else:
            blocks = plain(handle, piece.start, piece.end, before)
        try:
            with closing(blocks):
                yield from blocks if source.encoding == "utf-8" else transcoded(blocks, source)
        except OSError as error:
            raise unreadable_file(file, error) from error


def plain(file: BinaryIO, start: int, end: int, before: int) -> Generator[bytes, None, None]:
    """Yield blocks of an uncompressed file, from ``before`` bytes before ``start`` on, to its end."""
    if start >= end:
        return
    at = max(0, start - before)
    file.seek(at)
    while block := file.read(min(BLOCK, max(end - at, 64 << 10))):
        yield block
        at += len(block)


def transcoded(blocks: Iterator[bytes | Gap], source: Source) -> Iterator[bytes | Gap]:
    """Turn ``blocks`` in the source's encoding, named or to be detected, into UTF-8."""
    first: list[bytes | Gap] = []
    encoding = source.encoding
    head = b""
    for block in blocks:
        first.append(block)
        head += b"" if isinstance(block, Gap) else block
        if len(head) >= (LOOKED_AT if encoding == DETECT else 4):
            break
    encoding = with_byte_order(detected(head[:LOOKED_AT]) if encoding == DETECT else encoding, head)
    decoder = codecs.getincrementaldecoder(encoding)(UNDECODABLE)
    for block in chained(first, blocks):
        if isinstance(block, Gap):
            decoder.reset()
            yield block
        elif text := decoder.decode(block):
            yield text.encode("utf-8", "surrogatepass")
    if text := decoder.decode(b"", final=True):
        yield text.encode("utf-8", "surrogatepass")


def chained(first: Iterable[bytes | Gap], rest: Iterable[bytes | Gap]) -> Iterator[bytes | Gap]:
    """Yield what was taken already, then the rest."""
    yield from first
    yield from rest


def unreadable_file(file: SourceFile, error: OSError) -> UserError:
    """Say that the disk, not the data, is at fault: such a loss must stop the run."""
    return UserError(f"source {file.source!r}: reading {file.path!r} failed: {error.strerror or error}; run again")
