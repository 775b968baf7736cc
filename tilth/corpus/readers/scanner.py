"""A window on a stream of blocks, for formats whose records say how long they are: look ahead, take, search, go on.

It holds what was looked at and no more; what is skipped is counted. A gap in the stream interrupts whoever looks across
it, and offsets behind it count the bytes that were not read.
"""

from collections.abc import Iterator

from tilth.corpus.readers.decompress import Gap


class Interrupted(Exception):
    """The stream has a gap; the bytes from ``at`` on that were looked at are gone too."""

    def __init__(self, at: int, gap: Gap) -> None:
        super().__init__(gap.reason)
        self.at = at
        self.gap = gap


class Scanner:
    """Reads a stream from its beginning; ``at`` is the offset of the byte that comes next."""

    def __init__(self, blocks: Iterator[bytes | Gap], start: int = 0) -> None:
        self.blocks = blocks
        self.at = start
        self._held = b""
        self._first = 0  # of held that was not taken yet

    def _more(self) -> bool:
        """Hold one more block; return whether there was one. Raises ``Interrupted`` at a gap."""
        block = next(self.blocks, None)
        if block is None:
            return False
        rest = self._held[self._first :]
        self._first = 0
        if isinstance(block, Gap):
            at, self._held = self.at, b""
            self.at += len(rest) + max(1, block.unread)
            raise Interrupted(at, block)
        self._held = rest + block if rest else block
        return True

    def ahead(self, count: int) -> bytes:
        """Return the next ``count`` bytes, fewer at the end, and stay."""
        while len(self._held) - self._first < count and self._more():
            pass
        return self._held[self._first : self._first + count]

    def forward(self, count: int) -> None:
        """Go on by ``count`` bytes that were looked at."""
        self._first += count
        self.at += count

    def find(self, mark: bytes, most: int) -> int:
        """Return how far ahead ``mark`` begins, -1 where it does not within ``most`` bytes, and stay."""
        searched = 0
        while True:
            found = self._held.find(mark, self._first + searched, self._first + most + len(mark))
            if found >= 0:
                return found - self._first
            seen = len(self._held) - self._first
            searched = max(0, seen - len(mark) + 1)
            if seen >= most + len(mark) or not self._more():
                return -1

    def skip_to(self, mark: bytes) -> bool:
        """Go on to where ``mark`` begins, or to the end; return whether it was found."""
        while True:
            found = self._held.find(mark, self._first)
            if found >= 0:
                self.forward(found - self._first)
                return True
            self.forward(max(0, len(self._held) - self._first - len(mark) + 1))
            if not self._more():
                self.forward(len(self._held) - self._first)
                return False
