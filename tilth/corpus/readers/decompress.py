"""Decompression as a stream that says where it broke, in bounded memory whatever the file claims.

Compressed bytes are fed to the decoder in steps so small that no step can expand beyond 32 MiB; that is the bound, and
it costs little (zstd 1.2 GB/s of text in steps of 1 KiB, 1.5 GB/s in steps of 64 KiB). The libraries' own file readers
were left aside: zstandard's says nothing about a file that ends too early, Arrow's refuses windows above 128 MiB
(``zstd --long=31`` writes 2 GiB), and neither says how far it came.
"""

import zlib
from collections.abc import Generator, Iterator
from typing import BinaryIO, Protocol

import zstandard

from tilth.corpus.sources import Compression

# Bytes of compressed data a step. Deflate turns at most 1 byte into 1,032; zstd's densest block turns 4 into 128 KiB.
STEP: dict[Compression, int] = {"gz": 8 << 10, "zst": 1 << 10}
BLOCK = 2 << 20  # bytes of decompressed data a block, about
LARGEST_WINDOW = 1 << 31  # bytes; what `zstd --long=31`, the most that the format's tools write, asks for

# A bomb is a stream that goes on expanding more than any text does. Deflate cannot pass 1,032 to 1 and natural text
# stays under 100 to 1; what exceeds 1,000 to 1 is added up, and 64 MiB of it are taken as the proof.
BOMB_RATIO = 1000
BOMB_EXCESS = 64 << 20  # bytes


class Damage(Exception):
    """The rest of a stream is lost: why, and how many compressed bytes were not read."""

    def __init__(self, rule: str, reason: str, unread: int) -> None:
        super().__init__(reason)
        self.rule = rule
        self.reason = reason
        self.unread = unread


class Decoder(Protocol):
    """What zlib's and zstandard's decompression objects have in common."""

    @property
    def eof(self) -> bool:
        """Whether the end of the member (gzip) or frame (zstd) was reached."""

    @property
    def unused_data(self) -> bytes:
        """What was fed beyond that end."""

    def decompress(self, data: bytes, /) -> bytes:
        """Return what ``data`` adds."""


def decoder(compression: Compression) -> Decoder:
    """Return a decoder of one gzip member or one zstd frame."""
    if compression == "gz":
        return zlib.decompressobj(wbits=31)  # 31: gzip header and checksum, RFC 1952
    made: Decoder = zstandard.ZstdDecompressor(max_window_size=LARGEST_WINDOW).decompressobj()
    return made


def decompressed(file: BinaryIO, size: int, compression: Compression) -> Generator[bytes, None, None]:
    """Yield the decompressed bytes of ``file`` (``size`` bytes on disk), all members or frames of it, in blocks.

    Raises ``Damage`` after the last good block where the stream is corrupt, ends too early or is a bomb.
    """
    pieces: list[bytes] = []
    held = 0  # bytes in pieces
    read = 0  # compressed bytes that were understood
    excess = 0
    member: Decoder | None = None
    damage: Damage | None = None
    while damage is None and (feed := file.read(STEP[compression])):
        while feed and damage is None:
            if member is None:
                if read and compression == "gz":
                    padding = len(feed) - len(feed.lstrip(b"\0"))  # gzip(1) lets zeros follow a member: tapes pad
                    read, feed = read + padding, feed[padding:]
                    if not feed:
                        break
                member = decoder(compression)
            try:
                piece = member.decompress(feed)
            except (zlib.error, zstandard.ZstdError, MemoryError) as error:
                damage = Damage("damaged", f"{compression} data is corrupt ({error})", size - read)
                break
            unused = member.unused_data if member.eof else b""
            used = len(feed) - len(unused)
            read += used
            excess = max(0, excess + len(piece) - BOMB_RATIO * used)
            if excess > BOMB_EXCESS:
                damage = Damage("decompression_bomb", f"expands more than {BOMB_RATIO} times", size - read)
                break
            pieces.append(piece)
            held += len(piece)
            if held >= BLOCK:
                yield from blocks(b"".join(pieces))
                pieces, held = [], 0
            if member.eof:
                member = None
            feed = unused
    if damage is None and (member is not None or read == 0):
        damage = Damage("damaged", f"{compression} data ends too early", size - read)
    if held:
        yield b"".join(pieces)
    if damage is not None:
        raise damage


def blocks(data: bytes) -> Iterator[bytes]:
    """Cut what one step expanded into blocks, so that whoever takes them need not hold it twice."""
    for start in range(0, len(data), BLOCK):
        yield data[start : start + BLOCK]
