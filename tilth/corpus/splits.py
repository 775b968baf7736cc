"""A plan cuts files into parts of about equal size, so that one large file is never one task and small ones share one.

Every cut is a byte of the file on disk, in every format, so planning opens no file: a JSON line belongs to the slice
that holds its first byte, a Parquet row group likewise. A compressed file is one stream and stays whole, unless whoever
looked into it (``readers.entries``) says where it can be entered, and so does one whose records cannot be told apart
from its middle (CSV, other encodings than UTF-8). One part never mixes sources: what a part lost is then what its
source lost, and the ledger needs no second key.

Parts depend on the files and ``part_bytes`` alone, never on workers; the records in them, and their identities, do
not even depend on ``part_bytes``.
"""

import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import NamedTuple

from tilth.corpus.errors import UserError
from tilth.corpus.sources import SourceFile


class Entry(NamedTuple):
    """Where a packed file can be entered: at a byte on disk, which is a place in the unpacked text."""

    byte: int
    place: int


@dataclass(frozen=True)
class Slice:
    """The records of ``file`` that begin in [``start``, ``end``), in bytes of the file on disk.

    Of a packed file that is cut, those behind a separator that begins in [``place``, ``place_end``) of the unpacked
    text: whoever enters there cannot see whether a separator ended just before.
    """

    file: SourceFile
    start: int
    end: int
    place: int = 0
    place_end: int | None = None

    @property
    def source(self) -> str:
        """Name of the source."""
        return self.file.source

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self.end - self.start

    def bounds(self, separator: int) -> tuple[int, int | None]:
        """Return where reading begins and before which offset the last record does, ``None`` for the file's end.

        A plain file is read from ``separator`` bytes before the slice on: what stands there tells whether a record
        begins with it.
        """
        if self.file.splittable:
            return max(0, self.start - separator), self.end
        return self.place, None if self.place_end is None else self.place_end + separator


@dataclass(frozen=True)
class Part:
    """What one task reads: slices of one source, in order."""

    source: str
    slices: tuple[Slice, ...]

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(piece.size for piece in self.slices)


def plan_parts(
    files: Iterable[SourceFile],
    part_bytes: int,
    uncut: Collection[str] = frozenset(),
    entries: Mapping[SourceFile, Sequence[Entry]] | None = None,
) -> tuple[Part, ...]:
    """Cut and pack ``files`` into parts of at most ``part_bytes`` on disk (more only for a file that stays whole).

    Sources keep the order of their first file, files the order they are given in. Every byte is in one slice. The
    sources named in ``uncut`` are one part each: of those only the first documents are wanted, and who reads them must
    know how many came before. ``entries`` are the places at which packed files are cut.
    """
    if part_bytes < 1:
        raise UserError(f"part_bytes is {part_bytes}; expected at least 1")
    by_source: dict[str, list[SourceFile]] = {}
    for file in files:
        by_source.setdefault(file.source, []).append(file)
    parts = []
    for source, members in by_source.items():
        packed: list[Slice] = []
        size = 0
        most = sys.maxsize if source in uncut else part_bytes
        for piece in (piece for file in members for piece in slices(file, most, (entries or {}).get(file, ()))):
            if packed and size + piece.size > most:
                parts.append(Part(source, tuple(packed)))
                packed, size = [], 0
            packed.append(piece)
            size += piece.size
        if packed:
            parts.append(Part(source, tuple(packed)))
    return tuple(parts)


def slices(file: SourceFile, part_bytes: int, entries: Sequence[Entry]) -> Iterator[Slice]:
    """Cut one file at its ``entries``, or into slices of nearly the same size, at most ``part_bytes``, if it can be."""
    if len(entries) > 1:
        for entry, following in zip_longest(entries, entries[1:]):
            end, place_end = (file.size, None) if following is None else following
            yield Slice(file, entry.byte, end, entry.place, place_end)
        return
    count = max(1, -(-file.size // part_bytes)) if file.splittable else 1
    for i in range(count):
        yield Slice(file, file.size * i // count, file.size * (i + 1) // count)
