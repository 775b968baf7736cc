"""Reads code points from UTF-8 bytes, forwards and backwards, and never outside the bounds it is given.

Arrow's readers have checked the text, so malformed bytes are not expected; should they come, they cost no more than a
wrong character.
"""

import numpy as np

from tilth.filters.kernel import kernel


def count_characters(data: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return the code points of the documents ``data[offsets[i] : offsets[i + 1]]``: int64."""
    data = data.view()
    data.flags.writeable = False  # the kernels are compiled for one kind of array only
    counts = np.empty(len(offsets) - 1, np.int64)
    _count_documents(data, offsets, counts)
    return counts


@kernel
def characters_between(data: np.ndarray, start: int, end: int) -> int:
    """Return how many code points begin from byte ``start`` to ``end``: every byte that continues none."""
    count = 0
    for at in range(start, end):
        count += data[at] & 0xC0 != 0x80
    return count


@kernel
def _count_documents(data: np.ndarray, offsets: np.ndarray, counts: np.ndarray) -> None:
    """Count the code points of every document."""
    for document in range(len(counts)):
        counts[document] = characters_between(data, offsets[document], offsets[document + 1])


@kernel
def decode(data: np.ndarray, at: int, end: int) -> tuple[np.int64, int]:
    """Return the code point that starts at byte ``at`` < ``end``, and its width. Malformed bytes are U+FFFD, width 1.

    Nothing at or after ``end`` is read.
    """
    first = np.int64(data[at])
    if first < 0x80:
        return first, 1
    if 0xC2 <= first < 0xE0 and at + 1 < end:
        return (first & 0x1F) << 6 | np.int64(data[at + 1]) & 0x3F, 2
    if 0xE0 <= first < 0xF0 and at + 2 < end:
        return (first & 0x0F) << 12 | (np.int64(data[at + 1]) & 0x3F) << 6 | np.int64(data[at + 2]) & 0x3F, 3
    if 0xF0 <= first < 0xF5 and at + 3 < end:
        code = (
            (first & 0x07) << 18
            | (np.int64(data[at + 1]) & 0x3F) << 12
            | (np.int64(data[at + 2]) & 0x3F) << 6
            | np.int64(data[at + 3]) & 0x3F
        )
        return min(code, np.int64(0x10FFFF)), 4
    return np.int64(0xFFFD), 1


@kernel
def decode_before(data: np.ndarray, start: int, at: int) -> tuple[np.int64, int]:
    """Return the code point that ends before byte ``at`` > ``start``, and its width. Reads nothing before ``start``."""
    begin = at - 1
    while begin > start and at - begin < 4 and data[begin] & 0xC0 == 0x80:
        begin -= 1
    code, width = decode(data, begin, at)
    if begin + width == at:
        return code, width
    return np.int64(0xFFFD), 1
