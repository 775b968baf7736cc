"""Decompression as a stream that says where it broke and goes on behind it, in bounded memory whatever the file claims.

Compressed bytes are fed to the decoder in steps so small that no step can expand beyond 32 MiB; that is the bound, and
it costs little (zstd 1.2 GB/s of text in steps of 1 KiB, 1.5 GB/s in steps of 64 KiB). The libraries' own file readers
were left aside: zstandard's says nothing about a file that ends too early, Arrow's refuses windows above 128 MiB
(``zstd --long=31`` writes 2 GiB), and neither says how far it came.

Files are often many members or frames one after the other (WARC keeps a record in each), so a broken one costs itself:
the next place that begins like a member, and that a trial decodes, is where reading goes on.
"""

import bz2
import lzma
import zlib
from collections.abc import Callable, Generator, Iterator
from typing import BinaryIO, NamedTuple, Protocol

import zstandard

from tilth.corpus.readers.chunk import BOMB, DAMAGED
from tilth.corpus.sources import Compression
from tilth.corpus.splits import Entry

# Bytes of compressed data a step. Deflate turns at most 1 byte into 1,032; zstd's densest block turns 4 into 128 KiB;
# bz2 and lzma are asked for a bounded piece whatever they are fed.
STEP: dict[Compression, int] = {"gz": 8 << 10, "bz2": 64 << 10, "xz": 64 << 10, "zst": 1 << 10}
BLOCK = 2 << 20  # bytes of decompressed data a block, about
LARGEST_WINDOW = 1 << 31  # bytes; what `zstd --long=31`, the most that the format's tools write, asks for

# How a member begins. RFC 1952 (magic, and deflate, the only method); the bzip2 format (level 1 to 9 and the magic of
# a block follow, which the trial checks); the .xz file format 1.2.1, 2.1.1.1; RFC 8878, 3.1.1.
BEGINNINGS: dict[Compression, bytes] = {
    "gz": b"\x1f\x8b\x08",
    "bz2": b"BZh",
    "xz": b"\xfd7zXZ\0",
    "zst": b"\x28\xb5\x2f\xfd",
}
TRIAL = 64 << 10  # compressed bytes of a member that must decode before reading goes on there
TRIALS = 1000  # places in one file that are tried; a file of nothing but beginnings is not searched for ever

# A bomb is a stream that goes on expanding more than any text does. Deflate cannot pass 1,032 to 1 and natural text
# stays under 100 to 1; what exceeds 1,000 to 1 is added up, and 64 MiB of it are taken as the proof.
BOMB_RATIO = 1000
BOMB_EXCESS = 64 << 20  # bytes


class Gap(NamedTuple):
    """A part of a stream that is lost: why, and how many compressed bytes were not read."""

    rule: str
    reason: str
    unread: int


class Decoder(Protocol):
    """What the decompression objects of zlib, bz2, lzma and zstandard have in common."""

    @property
    def eof(self) -> bool:
        """Whether the end of the member or frame was reached."""

    @property
    def unused_data(self) -> bytes:
        """What was fed beyond that end."""

    def decompress(self, data: bytes, /) -> bytes:
        """Return what ``data`` adds."""


Note = Callable[[Entry], None]
FAILURES = (zlib.error, zstandard.ZstdError, lzma.LZMAError, OSError, EOFError, ValueError, MemoryError)


def decoder(compression: Compression) -> Decoder:
    """Return a decoder of one member (gzip), stream (bzip2, xz) or frame (zstd)."""
    if compression == "gz":
        return zlib.decompressobj(wbits=31)  # 31: gzip header and checksum, RFC 1952
    if compression == "bz2":
        return bz2.BZ2Decompressor()
    if compression == "xz":
        return lzma.LZMADecompressor(lzma.FORMAT_XZ)
    made: Decoder = zstandard.ZstdDecompressor(max_window_size=LARGEST_WINDOW).decompressobj()
    return made


def expanded(member: Decoder, feed: bytes) -> Iterator[bytes]:
    """Yield what ``feed`` adds, in pieces that no file can make larger than 32 MiB."""
    if isinstance(member, bz2.BZ2Decompressor | lzma.LZMADecompressor):
        yield member.decompress(feed, BLOCK)
        while not (member.eof or member.needs_input):
            yield member.decompress(b"", BLOCK)
    else:
        yield member.decompress(feed)


def decompressed(
    file: BinaryIO, size: int, compression: Compression, start: int = 0, begins: Note | None = None
) -> Generator[bytes | Gap, None, None]:
    """Yield the decompressed bytes of ``file`` (``size`` bytes on disk), all members from ``start`` on, in blocks.

    A ``Gap`` stands where the stream is corrupt, ends too early or is a bomb; blocks that follow it come from a later
    member. ``begins`` is told where each member does, truly as long as there is no gap.
    """
    trials = TRIALS
    while True:
        gap, began, read = yield from unpacked(file, start, size, compression, begins)
        if gap is None:
            return
        if gap.rule == BOMB:
            yield gap
            return
        following, trials = next_member(file, began, compression, trials)
        yield gap._replace(unread=max(0, (size if following is None else following) - read))
        if following is None:
            return
        start = following


def unpacked(
    file: BinaryIO, start: int, size: int, compression: Compression, begins: Note | None
) -> Generator[bytes, None, tuple[Gap | None, int, int]]:
    """Yield the decompressed bytes of the members from byte ``start`` on; return the gap that ended them, and where.

    Where is two places: at which byte the broken member began, and up to which byte it was understood. A member that
    was cut short swallows what follows it for a while, so the search for the next one starts at the first of them.
    """
    file.seek(start)
    pieces: list[bytes] = []
    held = given = 0  # bytes in pieces, and bytes in those that were yielded
    began = read = start
    excess = 0
    member: Decoder | None = None
    gap: Gap | None = None
    while gap is None and (feed := file.read(STEP[compression])):
        while feed and gap is None:
            if member is None:
                if read and compression in ("gz", "xz"):
                    padding = len(feed) - len(feed.lstrip(b"\0"))  # tapes pad; gzip(1) and xz(1) let zeros follow
                    read, feed = read + padding, feed[padding:]
                    if not feed:
                        break
                member, began = decoder(compression), read
                if begins is not None:
                    begins(Entry(began, given + held))
            used = 0
            added = len(feed)
            try:
                for piece in expanded(member, feed):
                    used = len(feed) - len(member.unused_data) if member.eof else len(feed)
                    excess = max(0, excess + len(piece) - BOMB_RATIO * min(used, added))
                    added = 0  # the feed weighs against its first piece, and only once
                    if excess > BOMB_EXCESS:
                        gap = Gap(BOMB, f"expands more than {BOMB_RATIO} times", size - read)
                        break
                    pieces.append(piece)
                    held += len(piece)
                    if held >= BLOCK:
                        yield from blocks(b"".join(pieces))
                        pieces, held, given = [], 0, given + held
            except FAILURES as error:
                gap = Gap(DAMAGED, f"{compression} data is corrupt ({error})", size - read)
            if gap is not None:
                break
            read += used
            feed = feed[used:]
            if member.eof:
                member = None
    if gap is None and (member is not None or size == 0):
        gap = Gap(DAMAGED, f"{compression} data ends too early", size - read)
    if held:
        yield b"".join(pieces)
    return gap, began, read


def next_member(file: BinaryIO, start: int, compression: Compression, trials: int) -> tuple[int | None, int]:
    """Return where the first member after byte ``start`` begins that a trial decodes, and how many trials are left."""
    beginning = BEGINNINGS[compression]
    at = start + 1
    while True:
        file.seek(at)
        window = file.read(BLOCK)
        place = window.find(beginning)
        while place >= 0:
            if trials == 0:
                return None, 0
            trials -= 1
            if decodes(file, at + place, compression):
                return at + place, trials
            place = window.find(beginning, place + 1)
        if len(window) < BLOCK:
            return None, trials
        at += len(window) - len(beginning) + 1


def decodes(file: BinaryIO, at: int, compression: Compression) -> bool:
    """Tell whether the first ``TRIAL`` bytes from ``at`` on decode: chance bytes fail within a few hundred."""
    file.seek(at)
    member = decoder(compression)
    total = 0
    for _ in range(0, TRIAL, STEP[compression]):
        feed = file.read(STEP[compression])
        if not feed or member.eof:
            break
        try:
            total += sum(len(piece) for piece in expanded(member, feed))
        except FAILURES:
            return False
        if total > BOMB_EXCESS:
            break
    return True


def blocks(data: bytes) -> Iterator[bytes]:
    """Cut what one step expanded into blocks, so that whoever takes them need not hold it twice."""
    for start in range(0, len(data), BLOCK):
        yield data[start : start + BLOCK]
