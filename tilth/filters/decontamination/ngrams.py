"""An index of the n-grams of evaluation examples, and the kernel that looks every word of a corpus up in it.

A passage of fewer than ``n`` words is taken whole, if it has ``minimum_words``; so the index holds runs of a few
lengths, each rolled along the text once. A table of one bit for each of the hash's first bits answers nearly every
word of clean text without a search.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tilth.corpus.errors import UserError
from tilth.corpus.store import file_digest
from tilth.filters.decontamination.benchmarks import Benchmark
from tilth.filters.dedup.clusters import read_table, write_table
from tilth.filters.dedup.units import Units, units_of
from tilth.filters.dedup.windows import window_keys
from tilth.filters.kernel import kernel
from tilth.filters.texts import Texts

NGRAMS: Final = "ngrams.arrow"  # one row a passage and distinct n-gram of it, by length, then hash
PASSAGES: Final = "passages.arrow"  # one row a passage that can be looked for
EXAMPLES: Final = "examples.arrow"  # one row an example of a benchmark
BITS_A_KEY: Final = 16  # of the table: one word of clean text in sixteen is searched for

_NGRAM = pa.schema([("length", pa.int32()), ("low", pa.uint64()), ("high", pa.uint64()), ("passage", pa.int32())])
_PASSAGE = pa.schema([("example", pa.int32()), ("words", pa.int32()), ("ngrams", pa.int32())])
_EXAMPLE = pa.schema([("benchmark", pa.string()), ("number", pa.int32()), ("passages", pa.int32())])


@dataclass(frozen=True, eq=False)
class Index:
    """The n-grams of all passages: for each length, where its keys lie in ``low`` and ``high`` (uint64, ascending).

    ``passage`` (int32) is the passage of each key; ``ngrams`` and ``example`` (int32) tell of each passage how many it
    has and whose it is. ``table`` (uint64) holds the bits, ``shift`` says which bits of a hash find them.
    """

    lengths: tuple[tuple[int, int, int], ...]  # words, first key, last key + 1
    low: npt.NDArray[np.uint64]
    high: npt.NDArray[np.uint64]
    passage: npt.NDArray[np.int32]
    ngrams: npt.NDArray[np.int32]
    example: npt.NDArray[np.int32]
    table: npt.NDArray[np.uint64]
    shift: int


@dataclass(frozen=True, eq=False)
class Matches:
    """Where n-grams of a batch stand in the index, one element a match and passage.

    ``document`` is the row of the batch, ``start`` and ``end`` byte positions in its buffer, ``key`` the place in the
    index, ``passage`` the passage; all int64.
    """

    document: npt.NDArray[np.int64]
    start: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]
    key: npt.NDArray[np.int64]
    passage: npt.NDArray[np.int64]


def write_index(folder: Path, benchmarks: Sequence[Benchmark], n: int, minimum_words: int) -> None:
    """Write the n-grams of benchmarks to ``folder``. Raises ``UserError`` where one is unreadable or empty."""
    names: list[str] = []
    numbers: list[int] = []
    counts: list[int] = []
    texts: list[str] = []
    for benchmark in benchmarks:
        before = len(names)
        for number, passages in enumerate(benchmark.examples()):
            names.append(benchmark.name)
            numbers.append(number)
            counts.append(len(passages))
            texts += passages
        if len(names) == before:
            raise UserError(f"{benchmark.path}: benchmark '{benchmark.name}' has no example; correct its path")
    owner = np.repeat(np.arange(len(names)), counts)
    units = units_of(Texts.of(pa.array(texts, pa.large_string())))
    words = np.diff(units.rows)
    usable = words >= min(minimum_words, n)
    passage = np.cumsum(usable) - 1
    rows: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []
    for length in np.unique(np.minimum(words[usable], n)).tolist():
        keys, places = window_keys(units.hashes, units.rows, length)
        own = np.repeat(np.arange(len(texts)), np.diff(places))
        chosen = usable[own] & (np.minimum(words, n)[own] == length)
        found = np.column_stack([keys[chosen], passage[own[chosen]].astype(np.uint64)])
        found = np.unique(found, axis=0)
        rows.append((np.full(len(found), length), found[:, 0], found[:, 1], found[:, 2]))
    columns = [np.concatenate(column) for column in zip(*rows, strict=True)] if rows else [np.zeros(0)] * 4
    arrays = [pa.array(column.astype(kind)) for column, kind in zip(columns, ("i4", "u8", "u8", "i4"), strict=True)]
    write_table(folder / NGRAMS, pa.table(arrays, schema=_NGRAM))
    ngrams = np.bincount(columns[3].astype(np.int64), minlength=int(usable.sum()))
    passages_table = [pa.array(column.astype(np.int32)) for column in (owner[usable], words[usable], ngrams)]
    write_table(folder / PASSAGES, pa.table(passages_table, schema=_PASSAGE))
    kept = np.bincount(owner[usable], minlength=len(names))
    examples = [pa.array(names, pa.string()), pa.array(numbers, pa.int32()), pa.array(kept, pa.int32())]
    write_table(folder / EXAMPLES, pa.table(examples, schema=_EXAMPLE))


def index_digest(folder: Path) -> str:
    """Return the digest of an index: that of its files."""
    return "".join(file_digest(folder / name) for name in (NGRAMS, PASSAGES, EXAMPLES))


@lru_cache(maxsize=2)
def load_index(folder: str, digest: str) -> Index:
    """Return the index of a folder, once a process and content."""
    table = read_table(Path(folder) / NGRAMS)
    length, low, high, passage = (table.column(name).to_numpy() for name in _NGRAM.names)
    bounds = [(int(one), *np.searchsorted(length, [one, one + 1]).tolist()) for one in np.unique(length)]
    bits = max(12, int(np.ceil(np.log2(max(1, len(low)) * BITS_A_KEY))))
    shift = 64 - bits
    bitmap = np.zeros(2**bits // 64, np.uint64)
    place = low >> np.uint64(shift)
    np.bitwise_or.at(bitmap, (place >> np.uint64(6)).astype(np.int64), np.uint64(1) << (place & np.uint64(63)))
    passages = read_table(Path(folder) / PASSAGES)
    ngrams, example = (passages.column(name).to_numpy() for name in ("ngrams", "example"))
    return Index(tuple(bounds), low, high, passage, ngrams, example, bitmap, shift)


def find_matches(index: Index, units: Units) -> Matches:
    """Look every run of words up."""
    found: list[list[npt.NDArray[np.int64]]] = [[np.zeros(0, np.int64)] for _ in range(5)]
    for length, first, last in index.lengths:
        keys, places = window_keys(units.hashes, units.rows, length)
        where = np.full(len(keys), -1, np.int64)
        _look_up(keys, index.table, index.shift, index.low[first:last], index.high[first:last], where)
        window = np.flatnonzero(where >= 0)
        if not len(window):
            continue
        low, high = index.low[first:last], index.high[first:last]
        # the passages that share an n-gram stand together in the index
        place, times = where[window], np.ones(len(window), np.int64)
        for row, at in enumerate(place.tolist()):
            end = at + 1
            while end < len(low) and low[end] == low[at] and high[end] == high[at]:
                end += 1
            times[row] = end - at
        key = np.repeat(place, times) + np.arange(times.sum()) - np.repeat(np.cumsum(times) - times, times)
        window = np.repeat(window, times)
        document = np.searchsorted(places, window, side="right") - 1
        unit = units.rows[document] + window - places[document]
        columns = (document, units.starts[unit], units.ends[unit + length - 1], key + first)
        for column, values in zip(found, (*columns, index.passage[key + first].astype(np.int64)), strict=True):
            column.append(values)
    return Matches(*(np.concatenate(column) for column in found))


@kernel
def _look_up(
    keys: np.ndarray, table: np.ndarray, shift: int, low: np.ndarray, high: np.ndarray, where: np.ndarray
) -> None:
    """Write where each key (two uint64) stands first in the ascending keys of the index, if it does."""
    for window in range(len(keys)):
        value = keys[window, 0]
        place = value >> np.uint64(shift)
        if table[np.int64(place >> np.uint64(6))] >> (place & np.uint64(63)) & np.uint64(1) == 0:
            continue
        left, right = 0, len(low)
        while left < right:
            middle = (left + right) // 2
            if low[middle] < value or (low[middle] == value and high[middle] < keys[window, 1]):
                left = middle + 1
            else:
                right = middle
        if left < len(low) and low[left] == value and high[left] == keys[window, 1]:
            where[window] = left
