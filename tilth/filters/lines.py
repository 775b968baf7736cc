"""Splits texts into lines, where ``str.splitlines`` does or at runs of line feeds: byte positions, without the breaks.

One pass, and only a byte below 0x1F or one of two lead bytes is looked at twice.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tilth.filters.characters import BREAK, SPACE, character_classes
from tilth.filters.kernel import kernel
from tilth.filters.utf8 import decode, decode_before


@dataclass(frozen=True)
class Lines:
    """The lines of a batch; document ``i`` has those from ``rows[i]`` to ``rows[i + 1]``.

    ``starts`` and ``ends`` are int64 byte positions in the buffer, ``rows`` int64 of length documents + 1.
    """

    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]


def split_lines(data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64]) -> Lines:
    """Split the documents ``data[offsets[i] : offsets[i + 1]]`` (UTF-8) into lines; an empty document has none."""
    data = data.view()
    data.flags.writeable = False  # the kernels are compiled for one kind of array only
    breaks = np.array([character_classes()[byte] & BREAK != 0 or byte in (0xC2, 0xE2) for byte in range(256)])
    rows = np.zeros(len(offsets), np.int64)
    nowhere = np.zeros(0, np.int64)
    _find_lines(data, offsets, character_classes(), breaks, rows, nowhere, nowhere)
    starts, ends = np.empty(rows[-1], np.int64), np.empty(rows[-1], np.int64)
    _find_lines(data, offsets, character_classes(), breaks, rows, starts, ends)
    return Lines(starts, ends, rows)


def split_feeds(
    data: npt.NDArray[np.uint8], begins: npt.NDArray[np.int64], stops: npt.NDArray[np.int64], least: int
) -> Lines:
    """Split the documents ``data[begins[i] : stops[i]]`` at runs of at least so many line feeds, as ``re.split`` does.

    With ``least`` 0 every line feed splits, as in ``str.split``. A document has one piece more than it has splits, so
    pieces may be empty, and an empty document has one.
    """
    data = data.view()
    data.flags.writeable = False  # the kernels are compiled for one kind of array only
    rows = np.zeros(len(begins) + 1, np.int64)
    nowhere = np.zeros(0, np.int64)
    _find_feeds(data, begins, stops, least, rows, nowhere, nowhere)
    starts, ends = np.empty(rows[-1], np.int64), np.empty(rows[-1], np.int64)
    _find_feeds(data, begins, stops, least, rows, starts, ends)
    return Lines(starts, ends, rows)


def strip_texts(
    data: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the bounds of ``data[starts[i] : ends[i]]`` without white space at its ends, as ``str.strip``."""
    data = data.view()
    data.flags.writeable = False  # the kernels are compiled for one kind of array only
    begins, stops = np.empty(len(starts), np.int64), np.empty(len(starts), np.int64)
    _strip(data, starts, ends, character_classes(), begins, stops)
    return begins, stops


@kernel
def _strip(
    data: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    classes: np.ndarray,
    begins: np.ndarray,
    stops: np.ndarray,
) -> None:
    """Write where each piece begins and stops without its outer white space."""
    for piece in range(len(starts)):
        start, end = starts[piece], ends[piece]
        while start < end:
            code, width = decode(data, start, end)
            if classes[code] & SPACE == 0:
                break
            start += width
        while end > start:
            code, width = decode_before(data, start, end)
            if classes[code] & SPACE == 0:
                break
            end -= width
        begins[piece], stops[piece] = start, end


@kernel
def _find_feeds(
    data: np.ndarray,
    begins: np.ndarray,
    stops: np.ndarray,
    least: int,
    rows: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
) -> None:
    """Write the bounds of the pieces where there is room for them, and their running number at each document."""
    room = len(starts) > 0
    count = 0
    for document in range(len(begins)):
        at, end = begins[document], stops[document]
        begin = at
        while at < end:
            if data[at] != 10:
                at += 1
                continue
            after = at + 1
            while least and after < end and data[after] == 10:
                after += 1
            if after - at >= least:
                if room:
                    starts[count], ends[count] = begin, at
                count += 1
                begin = after
            at = after
        if room:
            starts[count], ends[count] = begin, end
        count += 1
        rows[document + 1] = count


@kernel
def _find_lines(
    data: np.ndarray,
    offsets: np.ndarray,
    classes: np.ndarray,
    breaks: np.ndarray,
    rows: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
) -> None:
    """Write the bounds of the lines where there is room for them, and their running number at each document.

    ``breaks`` (bool, 256) says which bytes may begin a line break.
    """
    room = len(starts) > 0
    count = 0
    for document in range(len(offsets) - 1):
        at, end = offsets[document], offsets[document + 1]
        begin = at
        while at < end:
            if not breaks[data[at]]:
                at += 1
                continue
            code, width = decode(data, at, end)
            if classes[code] & BREAK == 0:
                at += width
                continue
            if room:
                starts[count], ends[count] = begin, at
            count += 1
            if code == 13 and at + 1 < end and data[at + 1] == 10:
                width = 2
            at += width
            begin = at
        if begin < end:
            if room:
                starts[count], ends[count] = begin, end
            count += 1
        rows[document + 1] = count
