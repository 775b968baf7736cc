"""Counts listed words and phrases in texts, and matches URLs against block lists: signals from files of the user's.

A list is a text file, one entry a line; empty lines and those that begin with ``#`` are left out. Entries and texts are
compared word by word without ASCII case: a word is a run of letters, digits and underscores, a phrase up to eight of
them. Words and phrases are looked up by 64-bit hashes in a sorted array, at 100 MB/s for any length of list.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Final
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa

from tilth.corpus.errors import UserError
from tilth.corpus.stage import Asset, Effect, MapStage, Outcome
from tilth.corpus.store import file_digest
from tilth.filters.characters import WORD_CHARACTER, character_marks
from tilth.filters.kernel import kernel
from tilth.filters.texts import Texts
from tilth.filters.utf8 import decode

LONGEST_PHRASE: Final = 8  # words
_BASE: Final = 0x9E3779B97F4A7C15  # odd: 2**64 over the golden ratio
_JOIN: Final = 0xBF58476D1CE4E5B9  # odd, of splitmix64


@dataclass(frozen=True)
class CountListed(MapStage):
    """Measures ``NAME.count``, how often entries of the lists stand in a text, and ``NAME.per_1000``, to its words."""

    lists: tuple[Asset, ...]

    version: ClassVar[int] = 1
    effect: ClassVar[Effect] = Effect.MEASURES

    @property
    def measures(self) -> tuple[str, ...]:
        """The two signals."""
        return f"{self.name}.count", f"{self.name}.per_1000"

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """Count; every document goes on. Raises ``UserError`` where a list can't be read or is not the recipe's."""
        entries = sorted({entry for asset in self.lists for entry in read_list(asset)})
        found, words = count_listed(Texts.of(batch.column("text")), tuple(entries))
        rates = 1000 * found / np.maximum(words, 1)
        return Outcome(
            batch, signals=dict(zip(self.measures, map(pa.array, (found.astype(float), rates)), strict=True))
        )


@dataclass(frozen=True)
class MatchUrls(MapStage):
    """Measures what a document's URL has in common with block lists, as datatrove's URLFilter does.

    ``NAME.domain`` is 1 where its host or a domain above it is listed in ``domains``, ``NAME.url`` where the whole is
    listed in ``urls``; ``NAME.words`` counts the listed ``words`` among its words, ``NAME.soft_words`` those of
    ``soft_words``, ``NAME.substrings`` the listed ``substrings`` in its letters and digits. A document without a URL
    has 0 of all.
    """

    domains: tuple[Asset, ...] = ()
    urls: tuple[Asset, ...] = ()
    words: tuple[Asset, ...] = ()
    soft_words: tuple[Asset, ...] = ()
    substrings: tuple[Asset, ...] = ()

    version: ClassVar[int] = 1
    effect: ClassVar[Effect] = Effect.MEASURES
    columns: ClassVar[tuple[str, ...]] = ("url",)

    @property
    def measures(self) -> tuple[str, ...]:
        """The five signals."""
        return tuple(f"{self.name}.{kind}" for kind in ("domain", "url", "words", "soft_words", "substrings"))

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """Match every URL; every document goes on."""
        kinds = (self.domains, self.urls, self.words, self.soft_words, self.substrings)
        lists = [frozenset(entry for asset in assets for entry in read_list(asset)) for assets in kinds]
        rows = [match_url(url or "", *lists) for url in batch.column("url").to_pylist()]
        columns = np.array(rows, np.float64).reshape(-1, len(kinds)).T
        return Outcome(batch, signals=dict(zip(self.measures, map(pa.array, columns), strict=True)))


def match_url(
    url: str,
    domains: frozenset[str],
    urls: frozenset[str],
    words: frozenset[str],
    soft_words: frozenset[str],
    substrings: frozenset[str],
) -> tuple[int, int, int, int, int]:
    """Return what ``MatchUrls`` measures of one URL."""
    lower = url.lower()
    try:
        host = urlsplit(lower if "//" in lower else f"//{lower}").hostname or ""
    except ValueError:  # brackets that hold no address
        host = ""
    labels = host.split(".")
    above = {".".join(labels[place:]) for place in range(len(labels))}
    parts = set(re.split(r"[^a-z0-9]+", lower))
    plain = re.sub(r"[^a-z0-9]+", "", lower)
    return (
        int(bool(above & domains)),
        int(bool(url) and lower in urls),
        len(parts & words),
        len(parts & soft_words),
        sum(entry in plain for entry in substrings),
    )


def read_list(asset: Asset) -> frozenset[str]:
    """Return the entries of a list in lower case. Raises ``UserError`` where it can't be read or was changed."""
    return _read_list(asset.path, asset.digest)


@lru_cache(maxsize=32)
def _read_list(path: str, digest: str) -> frozenset[str]:
    try:
        found = file_digest(Path(path))
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: can't be read ({error}); give the path of a list, one entry a line, UTF-8") from error
    if found != digest:
        raise UserError(f"{path}: digest is {found}, expected {digest}; the list was changed: run the recipe again")
    return frozenset(line.strip().lower() for line in lines if line.strip() and not line.startswith("#"))


def count_listed(texts: Texts, entries: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return how often the entries stand in every text, and the words of the texts: int64 both."""
    table, longest = _entry_hashes(entries)
    data = texts.data.view()
    data.flags.writeable = False  # the kernels are compiled for one kind of array only
    counts = np.zeros((len(texts), 2), np.int64)
    _count(data, texts.offsets, character_marks(), table, np.zeros(longest, np.uint64), counts)
    return counts[:, 0], counts[:, 1]


@lru_cache(maxsize=8)
def _entry_hashes(entries: tuple[str, ...]) -> tuple[np.ndarray, int]:
    """Return the sorted hashes of the entries, and the words of the longest."""
    hashes, longest = [], 1
    for entry in entries:
        words = re.findall(r"\w+", entry)
        if not 1 <= len(words) <= LONGEST_PHRASE:
            raise UserError(f"list: entry '{entry}': expected one to {LONGEST_PHRASE} words")
        longest = max(longest, len(words))
        joined = 0
        for word in words:
            key = 0
            for byte in word.encode():
                key = (key * _BASE + (byte + 32 if 65 <= byte <= 90 else byte) + 1) % 2**64
            joined = (joined * _JOIN + key) % 2**64
        hashes.append(joined)
    return np.array(sorted(hashes), np.uint64), longest


@kernel
def _count(
    data: np.ndarray, offsets: np.ndarray, marks: np.ndarray, table: np.ndarray, recent: np.ndarray, counts: np.ndarray
) -> None:
    """Count entries and words of every document. ``recent`` uint64 is room for the runs that end here, by length."""
    for document in range(len(counts)):
        at, end = offsets[document], offsets[document + 1]
        words = 0
        while at < end:
            key = np.uint64(0)
            begin = at
            while at < end:
                byte = data[at]
                if byte < 128:
                    width = 1
                    inside = marks[byte] & WORD_CHARACTER != 0
                else:
                    code, width = decode(data, at, end)
                    inside = marks[code] & WORD_CHARACTER != 0
                if not inside:
                    break
                for place in range(at, at + width):
                    byte = data[place]
                    if 65 <= byte <= 90:
                        byte += 32
                    key = key * np.uint64(_BASE) + np.uint64(byte) + np.uint64(1)
                at += width
            if at == begin:
                at += width
                continue
            words += 1
            for length in range(min(words, len(recent)) - 1, 0, -1):
                recent[length] = recent[length - 1] * np.uint64(_JOIN) + key
            recent[0] = key
            for length in range(min(words, len(recent))):
                place = np.searchsorted(table, recent[length])
                counts[document, 0] += place < len(table) and table[place] == recent[length]
        counts[document, 1] = words
