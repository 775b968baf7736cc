"""Judges lines as RefinedWeb does (Penedo et al. 2023, appendix G.2), by the rules of DCLM's reproduction.

Source: DCLM, baselines/baselines_configs/dclm_baseline_refinedweb.yaml and the functions of baselines/mappers that it
names. Each rule runs over the page that the one before left, and most strip that page: so the white space around the
first and the last line goes before the next rule looks at them. Case is folded for ASCII.
"""

import re
from typing import Final

import numpy as np

from tilth.filters.characters import (
    CAPITAL,
    DECIMAL,
    DIGIT,
    SPACE,
    WORD_CHARACTER,
    character_classes,
    character_marks,
)
from tilth.filters.kernel import kernel
from tilth.filters.line_edits import LineVerdicts
from tilth.filters.texts import Texts
from tilth.filters.utf8 import decode, decode_before

NAME: Final = "refinedweb"
RULES: Final = ("white_space", "uppercase", "numeric", "counter", "few_words", "banner", "white_space")
UPPERCASE, NUMERIC, COUNTER, FEW_WORDS, BANNER, BLANK = range(1, 7)
MOST_CAPITALS: Final = 0.5  # share of a line's characters
MOST_DIGITS: Final = 0.999999
FEWEST_WORDS: Final = 2
BANNER_WORDS: Final = 10  # a line that holds a banner has so many at most
COUNTED: Final = "likes shares comments retweets reposts quotes bookmarks upvotes downvotes downloads views followers"
BANNERS: Final = ("items in cart", "read more", "sign-in")  # what a line that may hold one spells
BANNER_PATTERNS: Final = (  # in the order of the peer; its dots are any characters
    re.compile(r"\s?items in cart", re.IGNORECASE),
    re.compile(r"\s?read more...$", re.IGNORECASE),
    re.compile(r"^sign-in\s?", re.IGNORECASE),
)


def judge_lines(texts: Texts) -> LineVerdicts:
    """Judge every line (parted by line feeds) of a batch. Banners go from inside lines, too."""
    lines = texts.every_line
    data = texts.data.view()
    data.flags.writeable = False  # the kernels are compiled for one kind of array only
    begins, stops = lines.starts.copy(), lines.ends.copy()
    fates, suspects = np.zeros(len(lines.starts), np.uint8), np.zeros(len(lines.starts), np.bool_)
    phrases = [word.encode() for word in (*COUNTED.split(), *BANNERS)]
    bounds = np.cumsum([0, *map(len, phrases)])
    letters = np.frombuffer(b"".join(phrases), np.uint8)
    tables = (character_classes(), character_marks())
    _judge(data, lines.rows, begins, stops, *tables, letters, bounds, fates, suspects)
    inner: list[tuple[int, int]] = []
    for document in np.unique(np.searchsorted(lines.rows, np.flatnonzero(suspects), "right") - 1).tolist():
        place = slice(lines.rows[document], lines.rows[document + 1])
        inner += _banners(data, begins[place], stops[place], fates[place])
    starts, ends = (np.array([span[side] for span in inner], np.int64) for side in (0, 1))
    return LineVerdicts(
        lines,
        begins,
        stops,
        fates,
        starts,
        ends,
        np.full(len(inner), BANNER, np.int64),
        [f"{NAME}.{rule}" for rule in RULES],
    )


def _banners(data: np.ndarray, begins: np.ndarray, stops: np.ndarray, fates: np.ndarray) -> list[tuple[int, int]]:
    """Take the banners out of a page; set the fate of lines that go with one, return the bytes of the others.

    It is done on Python strings, pattern by pattern and strip by strip as the peer does: few pages hold a banner.
    """
    texts = {
        line: bytes(data[begins[line] : stops[line]]).decode(errors="surrogateescape")
        for line in np.flatnonzero(fates == 0).tolist()
    }
    left = {line: list(range(len(text))) for line, text in texts.items()}  # characters that stay
    for pattern in BANNER_PATTERNS:
        for line in list(left):
            text = "".join(texts[line][place] for place in left[line])
            if len(text.split()) > BANNER_WORDS:
                continue
            taken = {place for match in pattern.finditer(text) for place in range(*match.span())}
            if taken:
                left[line] = [place for number, place in enumerate(left[line]) if number not in taken]
                if not any(not texts[line][place].isspace() for place in left[line]):
                    del left[line]
        for end in (0, -1):
            while left:
                line = list(left)[end]
                while left[line] and texts[line][left[line][end]].isspace():
                    left[line].pop(end)
                if left[line]:
                    break
                del left[line]
    for line in texts.keys() - left.keys():
        fates[line] = BANNER
    return [span for line, places in left.items() for span in _missing(texts[line], set(places), int(begins[line]))]


def _missing(text: str, places: set[int], at: int) -> list[tuple[int, int]]:
    """Return the bytes of the characters that are not among ``places``; the text begins at byte ``at``."""
    spans: list[tuple[int, int]] = []
    for place, character in enumerate(text):
        width = len(character.encode(errors="surrogateescape"))
        if place not in places:
            begin = spans.pop()[0] if spans and spans[-1][1] == at else at
            spans.append((begin, at + width))
        at += width
    return spans


@kernel
def _spells(data: np.ndarray, at: int, end: int, phrases: np.ndarray, first: int, last: int) -> bool:
    """Say whether the bytes at ``at`` spell ``phrases[first:last]``, in any case."""
    if end - at < last - first:
        return False
    for place in range(last - first):
        byte = data[at + place]
        if 65 <= byte <= 90:
            byte += 32
        if byte != phrases[first + place]:
            return False
    return True


@kernel
def _is_counter(
    data: np.ndarray, at: int, end: int, classes: np.ndarray, marks: np.ndarray, phrases: np.ndarray, bounds: np.ndarray
) -> bool:
    r"""Say whether the line is ``\W* number (k|m|b)? \s+ likes \W*``, or another of the words."""
    code = np.int64(0)
    while at < end:
        code, width = decode(data, at, end)
        if marks[code] & WORD_CHARACTER:
            break
        at += width
    if at >= end or marks[code] & DECIMAL == 0:
        return False
    while at < end:
        code, width = decode(data, at, end)
        if marks[code] & DECIMAL == 0 and code != 44 and code != 46:
            break
        at += width
    if at < end and (data[at] | 0x20 == 107 or data[at] | 0x20 == 109 or data[at] | 0x20 == 98):  # k m b
        at += 1
    blank = at
    while at < end:
        code, width = decode(data, at, end)
        if classes[code] & SPACE == 0:
            break
        at += width
    if at == blank:
        return False
    for phrase in range(len(bounds) - 4):
        if _spells(data, at, end, phrases, bounds[phrase], bounds[phrase + 1]):
            at += bounds[phrase + 1] - bounds[phrase]
            while at < end:
                code, width = decode(data, at, end)
                if marks[code] & WORD_CHARACTER:
                    return False
                at += width
            return True
    return False


@kernel
def _count_words(data: np.ndarray, at: int, end: int, classes: np.ndarray) -> int:
    """Count what white space parts."""
    words = 0
    inside = False
    while at < end:
        code, width = decode(data, at, end)
        blank = classes[code] & SPACE != 0
        words += not blank and not inside
        inside = not blank
        at += width
    return words


@kernel
def _strip_page(
    data: np.ndarray,
    first: int,
    last: int,
    begins: np.ndarray,
    stops: np.ndarray,
    classes: np.ndarray,
    fates: np.ndarray,
) -> None:
    """Take white space and blank lines off both ends of a page."""
    line = first
    while line < last:
        if fates[line] == 0:
            while begins[line] < stops[line]:
                code, width = decode(data, begins[line], stops[line])
                if classes[code] & SPACE == 0:
                    break
                begins[line] += width
            if begins[line] < stops[line]:
                break
            fates[line] = BLANK
        line += 1
    line = last - 1
    while line >= first:
        if fates[line] == 0:
            while begins[line] < stops[line]:
                code, width = decode_before(data, begins[line], stops[line])
                if classes[code] & SPACE == 0:
                    break
                stops[line] -= width
            if begins[line] < stops[line]:
                break
            fates[line] = BLANK
        line -= 1


@kernel
def _judge(
    data: np.ndarray,
    rows: np.ndarray,
    begins: np.ndarray,
    stops: np.ndarray,
    classes: np.ndarray,
    marks: np.ndarray,
    phrases: np.ndarray,
    bounds: np.ndarray,
    fates: np.ndarray,
    suspects: np.ndarray,
) -> None:
    """Write fates and bounds of all lines, and which of those that stay may hold a banner (bool)."""
    for document in range(len(rows) - 1):
        first, last = rows[document], rows[document + 1]
        for rule in (UPPERCASE, NUMERIC, COUNTER, FEW_WORDS):
            for line in range(first, last):
                start, end = begins[line], stops[line]
                if fates[line] or start == end:
                    continue
                if rule == COUNTER:
                    gone = _is_counter(data, start, end, classes, marks, phrases, bounds)
                elif rule == FEW_WORDS:
                    gone = _count_words(data, start, end, classes) < FEWEST_WORDS
                else:
                    bit = CAPITAL if rule == UPPERCASE else DIGIT
                    found = characters = 0
                    at = start
                    while at < end:
                        code, width = decode(data, at, end)
                        found += marks[code] & bit != 0
                        characters += 1
                        at += width
                    share = found / characters
                    gone = share > (MOST_CAPITALS if rule == UPPERCASE else MOST_DIGITS)
                if gone:
                    fates[line] = rule
            # after the few words the peer strips only with the first banner, which comes to the same
            _strip_page(data, first, last, begins, stops, classes, fates)
        for line in range(first, last):
            if fates[line] == 0:
                for at in range(begins[line], stops[line]):
                    for phrase in range(len(bounds) - 4, len(bounds) - 1):
                        if _spells(data, at, stops[line], phrases, bounds[phrase], bounds[phrase + 1]):
                            suspects[line] = True
