"""Reads code points from UTF-8 bytes, forwards and backwards, and never outside the bounds it is given.

Arrow's readers have checked the text, so malformed bytes are not expected; should they come, they cost no more than a
wrong character.
"""

import numpy as np

from tilth.filters.kernel import kernel


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
