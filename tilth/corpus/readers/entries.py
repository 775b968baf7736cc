"""Where a packed file can be entered in its middle: at members that begin on their own, once the whole is known good.

A file of several gzip members or zstd frames is many tasks, if every one of them can say where in the unpacked text it
begins, for places are identities. Nothing in a gzip member tells but unpacking what lies before it (a page that was
packed before it was archived looks like a member, too), so a file is unpacked once, without being parsed: zstd at
0.4 GB/s and gzip at 0.25 GB/s of text, about half of what reading JSON lines then costs, and the answer is kept. One
that is damaged anywhere, or a bomb, stays whole: then all that is said about gaps holds whatever the parts are.

Files are looked into only where it pays: one that is at least a sixteenth of its input. Of hundreds of archives each
is a task anyway. A file of one member is known by a search for the bytes with which a second would begin.
"""

import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import compress
from pathlib import Path
from typing import BinaryIO

import numpy as np
import orjson

from tilth.corpus.readers.decompress import BLOCK, Gap, decompressed
from tilth.corpus.readers.scanner import Interrupted, Scanner
from tilth.corpus.readers.stream import unreadable_file
from tilth.corpus.readers.warc import archive_records
from tilth.corpus.remote import is_remote
from tilth.corpus.sources import Compression, Source, SourceFile, open_unchanged
from tilth.corpus.splits import Entry
from tilth.corpus.store import write_atomically

# The bytes with which a member begins, with what their format fixes: RFC 1952, 2.3.1 (flags below 32, XFL 0, 2 or 4; of
# systems wget writes one that there is not), the bzip2 format (level, magic of a block), RFC 8878, 3.1.1.
MEMBER: dict[Compression, re.Pattern[bytes]] = {
    "gz": re.compile(rb"\x1f\x8b\x08[\x00-\x1f].{4}[\x00\x02\x04]", re.DOTALL),
    "zst": re.compile(rb"\x28\xb5\x2f\xfd"),
    "bz2": re.compile(rb"BZh[1-9]1AY&SY"),
}
LONGEST = 10  # bytes of such a beginning
Look = Callable[[int, int], None]
CANDIDATES = 64  # members in a part that are remembered, of what may be millions
SHARE = 1 / 16  # of the input's bytes on disk, from which on a file is looked into


def known_entries(
    sources: Mapping[str, Source], files: Sequence[SourceFile], part_bytes: int, cache: Path, look: Look | None
) -> dict[SourceFile, tuple[Entry, ...]]:
    """Return the places at which to cut those of ``files`` that it pays to look into; ``cache`` keeps them.

    ``look`` is told how many files of how many were looked into. Without it nothing is read or written but ``cache``,
    and a file that this does not know is left out. A cache that cannot be understood is built anew: it is never the
    truth.
    """
    total = sum(file.size for file in files)
    known = read_cache(cache)
    fresh = dict(known)
    found: dict[SourceFile, tuple[Entry, ...]] = {}
    worth = [file for file in files if is_worth_entering(sources[file.source], file, total, part_bytes)]
    for number, file in enumerate(worth):
        source = sources[file.source]
        settings = f"{part_bytes}:{file.format}:{source.maximum_bytes}"
        key = f"{settings}:{file.size}:{file.mtime_ns}:{file.path}"
        if look is not None and key not in fresh:
            look(number, len(worth))
            fresh[key] = find_entries(source, file, part_bytes)
        if key in fresh:
            found[file] = fresh[key]
    if fresh != known:
        kept = {key: [list(entry) for entry in at] for key, at in fresh.items()}
        write_atomically(cache, orjson.dumps(kept, option=orjson.OPT_SORT_KEYS))
    return found


def read_cache(path: Path) -> dict[str, tuple[Entry, ...]]:
    """Return the places that were kept, or none where the file is missing or broken."""
    try:
        kept = orjson.loads(path.read_bytes())
        return {str(key): tuple(Entry(int(byte), int(place)) for byte, place in at) for key, at in kept.items()}
    except (FileNotFoundError, orjson.JSONDecodeError, AttributeError, TypeError, ValueError):
        return {}


def is_worth_entering(source: Source, file: SourceFile, total: int, part_bytes: int) -> bool:
    """Tell whether a file of an input of ``total`` bytes should be looked into for places to enter it.

    bzip2 unpacks at 30 MB/s, slower than JSON lines are read, but faster than wikitext is.
    """
    packed = file.compression in ("gz", "zst") or (file.compression == "bz2" and file.format == "mediawiki")
    known = file.format == "warc" or not file.whole  # records can be told apart from there on
    return (
        packed
        and known
        and not is_remote(file.path)
        and source.limit is None
        and file.size > part_bytes
        and file.size >= SHARE * total
    )


def find_entries(source: Source, file: SourceFile, part_bytes: int) -> tuple[Entry, ...]:
    """Return where to enter ``file`` so that about ``part_bytes`` on disk lie between two places, its beginning first.

    Only its beginning where it cannot be entered anywhere else. Raises ``UserError`` where the disk fails.
    """
    beginning = Entry(0, 0)
    if file.compression is None:
        return (beginning,)
    try:
        with open_unchanged(file) as handle:
            if not has_second_member(handle, file.compression):
                return (beginning,)
            members: list[Entry] = []

            def note(entry: Entry) -> None:
                if not members or entry.byte - members[-1].byte >= part_bytes // CANDIDATES:
                    members.append(entry)

            blocks = whole_blocks(decompressed(handle, file.size, file.compression, begins=note))
            places = archive_starts(source, blocks) if file.format == "warc" else None
            deque(blocks, maxlen=0)  # to its end, whatever was not taken yet
    except Interrupted:
        return (beginning,)
    except OSError as error:
        raise unreadable_file(file, error) from error
    if places is not None:
        there = np.isin(np.array([member.place for member in members], np.int64), places)
        members = list(compress(members, there))
    count = -(-file.size // part_bytes)
    found = [beginning]
    for member in members:
        if file.size > member.byte and member.byte * count // file.size > found[-1].byte * count // file.size:
            found.append(member)
    return tuple(found)


def has_second_member(handle: BinaryIO, compression: Compression) -> bool:
    """Tell whether anything in a file but its first bytes looks like the beginning of a member; leave it rewound."""
    beginning = MEMBER[compression]
    held = handle.read(BLOCK)[1:]
    while held:
        if beginning.search(held):
            break
        more = handle.read(BLOCK)
        held = held[1 - LONGEST :] + more if more else b""
    handle.seek(0)
    return bool(held)


def whole_blocks(blocks: Iterator[bytes | Gap]) -> Iterator[bytes]:
    """Yield the blocks of a stream; raise ``Interrupted`` where it has a gap."""
    for block in blocks:
        if isinstance(block, Gap):
            raise Interrupted(0, block)
        yield block


def archive_starts(source: Source, blocks: Iterator[bytes]) -> np.ndarray:
    """Return the places at which the records of a WARC file begin (int64).

    None for ARC: a reader must have seen its first record to know what the others are.
    """
    scanner = Scanner(blocks)
    if scanner.ahead(9) == b"filedesc:":
        return np.zeros(0, np.int64)
    return np.fromiter((start for start, _, _ in archive_records(source, scanner, None)), np.int64)
