"""Judges lines as C4 does (Raffel et al. 2020, section 2.2): which stay, what goes inside them, and what ends a page.

Case is folded as ``str.lower`` folds what can become one of C4's phrases: ASCII and the Kelvin sign.

Nearly every line has no square bracket, no Kelvin sign and a blank in every thousand bytes. Its end mark is looked at
first; then 64 bytes at once are compared with the first three of every phrase; then its first words. Lines take 1.6
ms/MB; 3.3 where every line of more than a thousand bytes is folded, 3.8 where each byte is asked for a phrase as well,
and 6 where citations are taken out of all lines before anything is asked of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from tilth.filters.blocks import BLOCK, block_mask, lowest
from tilth.filters.characters import DECIMAL, SPACE, character_classes, character_marks
from tilth.filters.kernel import inlined, kernel
from tilth.filters.line_edits import LineVerdicts
from tilth.filters.lines import strip_texts
from tilth.filters.texts import Texts
from tilth.filters.utf8 import decode

RULES: Final = ("white_space", "long_word", "no_end_mark", "few_words", "javascript", "policy", "citation")
LONG_WORD, NO_END_MARK, FEW_WORDS, JAVASCRIPT, POLICY, CITATION = range(1, 7)
LONGEST_WORD: Final = 1000  # characters
NOT_PLAIN: Final = 255  # no fate yet
KELVIN_FIRST, KELVIN_SECOND = 0xE2, 0x84  # UTF-8 of U+212A and its neighbours begins so
PHRASES: Final = (  # the first two are no policies
    "lorem ipsum",
    "javascript",
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
)


@dataclass(frozen=True)
class C4Lines:
    """What a peer asks of a line: so many words, counted before or after citations are taken out, and its end marks."""

    name: str  # of the preset
    fewest_words: int
    counts_citations: bool
    end_marks: str  # ASCII


@dataclass(frozen=True, eq=False)
class C4Verdicts:
    """The verdicts on lines, and int64 counts a document: lines with "lorem ipsum", lines with a curly bracket.

    The peers read up to the first such line, so lines with "lorem ipsum" after one with a bracket are not counted.
    """

    lines: LineVerdicts
    lorem_ipsum: npt.NDArray[np.int64]
    curly_brackets: npt.NDArray[np.int64]

    def chosen(self, rows: npt.NDArray[np.int64], shifts: npt.NDArray[np.int64]) -> "C4Verdicts":
        """Return those of documents ``rows``, each document's ``shifts`` bytes further in the buffer."""
        return C4Verdicts(self.lines.chosen(rows, shifts), self.lorem_ipsum[rows], self.curly_brackets[rows])


def judge_lines(texts: Texts, wanted: C4Lines) -> C4Verdicts:
    """Judge every line (``str.splitlines``) of a batch."""
    lines = texts.lines
    data = texts.data.view()
    data.flags.writeable = False  # the kernels are compiled for one kind of array only
    begins, stops = strip_texts(data, lines.starts, lines.ends)
    longest = int((stops - begins).max(initial=0))
    fates = np.zeros(len(lines.starts), np.uint8)
    counts = np.zeros((len(texts), 2), np.int64)
    phrases, bounds, hints, openings = _phrases(PHRASES)
    cited = np.zeros(len(lines.starts), np.bool_)
    end_marks = np.zeros(256, np.bool_)
    end_marks[list(wanted.end_marks.encode())] = True
    _judge(
        data,
        lines.rows,
        begins,
        stops,
        character_classes(),
        character_marks(),
        phrases,
        bounds,
        hints,
        openings,
        end_marks,
        wanted.fewest_words,
        wanted.counts_citations,
        np.empty(longest, np.uint8),
        fates,
        cited,
        counts,
    )
    nowhere = np.zeros(0, np.int64)
    tables = (character_classes(), character_marks())
    room = _find_inner(data, lines.rows, begins, stops, fates, cited, *tables, nowhere, nowhere, nowhere)
    starts, ends, inner_rules = (np.empty(room, np.int64) for _ in range(3))
    _find_inner(data, lines.rows, begins, stops, fates, cited, *tables, starts, ends, inner_rules)
    rules = [f"{wanted.name}.{rule}" for rule in RULES]
    verdicts = LineVerdicts(lines, begins, stops, fates, starts, ends, inner_rules, rules)
    return C4Verdicts(verdicts, counts[:, 0], counts[:, 1])


def _phrases(phrases: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the bytes of all phrases, where each begins, hints, and what phrases begin with: uint8.

    ``hints[byte]`` (256) has the bit 1 where a phrase may begin, 2 for a curly bracket, 4 where the line has to be read
    with its citations and letters beyond ASCII in mind. The openings are three bytes each, all different.
    """
    encoded = [phrase.encode() for phrase in phrases]
    hints = np.zeros(256, np.uint8)
    for phrase in encoded:
        hints[[phrase[0], phrase[0] - 32]] = 1
    hints[ord("{")] = 2
    hints[[ord("["), KELVIN_FIRST]] = 4
    openings = np.array([list(opening) for opening in sorted({phrase[:3] for phrase in encoded})], np.uint8)
    data = np.frombuffer(b"".join(encoded), np.uint8)
    return data, np.cumsum([0, *map(len, encoded)]), hints, openings


@kernel
def _find_phrases(data: np.ndarray, at: int, end: int, first: int, phrases: np.ndarray, bounds: np.ndarray) -> np.int64:
    """Return a bit for every phrase that stands at byte ``at``, whose lower case is ``first``, in any ASCII case."""
    found = np.int64(0)
    for phrase in range(len(bounds) - 1):
        width = bounds[phrase + 1] - bounds[phrase]
        if phrases[bounds[phrase]] != first or at + width > end:
            continue
        same = 1
        while same < width:
            byte = data[at + same]
            if 65 <= byte <= 90:
                byte += 32
            if byte != phrases[bounds[phrase] + same]:
                break
            same += 1
        if same == width:
            found |= 1 << phrase
    return found


@inlined
def _near_phrases(data: np.ndarray, at: int, end: int, openings: np.ndarray, hints: np.ndarray) -> np.uint64:
    """Return a bit for each of the next 64 bytes that asks for a closer look.

    Where a block would leave the array, all bytes with a hint are looked at.
    """
    near = np.uint64(0)
    if at + BLOCK + 2 > len(data):
        for byte in range(min(BLOCK, end - at)):
            near |= np.uint64(hints[data[at + byte]] != 0) << np.uint64(byte)
        return near
    for phrase in range(len(openings)):
        same = ~np.uint64(0)
        for place in range(3):
            same &= block_mask(data, at + place, 32, openings[phrase, place], openings[phrase, place])
        near |= same
    near |= block_mask(data, at, 32, 123, 123) | block_mask(data, at, 0, KELVIN_FIRST, KELVIN_FIRST)  # both { and [
    if end - at < BLOCK:
        near &= ~(~np.uint64(0) << np.uint64(end - at))
    return near


@inlined
def _may_hold_long_word(data: np.ndarray, begin: int, end: int) -> bool:
    """Say whether a stretch of more than ``LONGEST_WORD`` bytes has no blank in it: nearly no line, even of a novel."""
    while end - begin > LONGEST_WORD:
        blank = begin + LONGEST_WORD
        while blank > begin and data[blank] != 32:
            blank -= 1
        if blank == begin:
            return True
        begin = blank
    return False


@kernel
def _judge_plain(
    data: np.ndarray,
    begin: int,
    end: int,
    classes: np.ndarray,
    phrases: np.ndarray,
    bounds: np.ndarray,
    hints: np.ndarray,
    openings: np.ndarray,
    end_marks: np.ndarray,
    fewest_words: int,
) -> tuple[int, np.int64, bool]:
    """Return the fate of a line that may stay, the bits of its phrases and whether it has a curly bracket.

    The fate is ``NOT_PLAIN`` where a word may be too long, or citations or letters ask for the line to be folded.
    """
    found = np.int64(0)
    bracket = False
    if _may_hold_long_word(data, begin, end) or (end > begin and data[end - 1] == 93):  # ]
        return NOT_PLAIN, found, bracket
    dots = end - begin >= 3 and data[end - 1] == 46 and data[end - 2] == 46 and data[end - 3] == 46
    if end == begin or not end_marks[data[end - 1]] or dots:
        return NO_END_MARK, found, bracket
    at = begin
    while at < end:
        rest = _near_phrases(data, at, end, openings, hints)
        block = at
        at = min(end, at + BLOCK)
        while rest:
            place = block + lowest(rest)
            rest &= rest - np.uint64(1)
            byte = np.int64(data[place])
            hint = hints[byte]
            if hint & 1:
                found |= _find_phrases(data, place, end, int(byte) | 32, phrases, bounds)
            elif hint & 2:
                bracket = True
            elif hint and (byte != KELVIN_FIRST or data[place + 1] == KELVIN_SECOND):
                return NOT_PLAIN, found, bracket
    words = 0
    inside = False
    at = begin
    while at < end and words < fewest_words:
        code, width = decode(data, at, end)
        space = classes[code] & SPACE != 0
        words += inside and space
        inside = not space
        at += width
    if words + inside < fewest_words:
        return FEW_WORDS, found, bracket
    return 0, found, bracket


@kernel
def _citation(data: np.ndarray, at: int, end: int, marks: np.ndarray) -> int:
    """Return the width of ``[12]``, ``[]``, ``[edit]`` or ``[citation needed]`` at byte ``at``, or 0."""
    if data[at] != 91:  # [
        return 0
    place = at + 1
    while place < end:
        code, width = decode(data, place, end)
        if marks[code] & DECIMAL == 0:
            break
        place += width
    if place < end and data[place] == 93:  # ]
        return place + 1 - at
    if place > at + 1:
        return 0
    if end - at >= 6 and data[at + 1] == 101 and data[at + 2] == 100 and data[at + 3] == 105:  # edi
        return 6 if data[at + 4] == 116 and data[at + 5] == 93 else 0  # t]
    if end - at < 17 or data[at + 16] != 93:
        return 0
    spelt = (99, 105, 116, 97, 116, 105, 111, 110, 32, 110, 101, 101, 100, 101, 100)  # citation needed
    for letter in range(15):
        if data[at + 1 + letter] != spelt[letter]:
            return 0
    return 17


@kernel
def _conclude(found: np.int64, bracket: bool, line: int, document: int, fates: np.ndarray, counts: np.ndarray) -> None:
    """Write what the phrases and brackets of a line mean, of one that has an end mark and words enough."""
    if found & 1 and counts[document, 1] == 0:
        counts[document, 0] += 1
    if found & 2:
        fates[line] = JAVASCRIPT
        return
    counts[document, 1] += bracket
    if found >> 2:
        fates[line] = POLICY


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
    hints: np.ndarray,
    openings: np.ndarray,
    end_marks: np.ndarray,
    fewest_words: int,
    counts_citations: bool,
    folded: np.ndarray,
    fates: np.ndarray,
    cited_lines: np.ndarray,
    counts: np.ndarray,
) -> None:
    """Write the fate of every line, whether it may hold citations, and the two counts of every document.

    ``folded`` uint8 is room for the longest line: the line in lower case and without its citations.
    """
    for document in range(len(rows) - 1):
        for line in range(rows[document], rows[document + 1]):
            at, end = begins[line], stops[line]
            fate, found, bracket = _judge_plain(
                data, at, end, classes, phrases, bounds, hints, openings, end_marks, fewest_words
            )
            if 0 < fate < NOT_PLAIN:
                fates[line] = fate
                continue
            if fate != NOT_PLAIN:
                _conclude(found, bracket, line, document, fates, counts)
                continue
            cited_lines[line] = True
            size = 0
            words = words_after = longest = characters = 0
            inside = inside_after = False
            while at < end:
                byte = data[at]
                if byte < 128 and byte != 91:  # spelt out, because nearly every byte goes this way
                    if classes[byte] & SPACE:
                        inside = inside_after = False
                    else:
                        if not inside:
                            words += 1
                            longest = max(longest, characters)
                            characters = 0
                        words_after += not inside_after
                        inside = inside_after = True
                        characters += 1
                    folded[size] = byte + 32 if 65 <= byte <= 90 else byte
                    size += 1
                    at += 1
                    continue
                cited = _citation(data, at, end, marks)
                if cited:  # none holds but the white space of "citation needed"
                    if not inside:
                        words += 1
                        longest = max(longest, characters)
                        characters = 0
                    if cited == 17:
                        characters += 9
                        longest = max(longest, characters)
                        words += 1
                        characters = 7
                    else:
                        for place in range(at, at + cited):
                            characters += data[place] & 0xC0 != 0x80
                    longest = max(longest, characters)
                    inside = True
                    at += cited
                    continue
                code, width = decode(data, at, end)
                if classes[code] & SPACE:
                    inside = inside_after = False
                else:
                    if not inside:
                        words += 1
                        longest = max(longest, characters)
                        characters = 0
                    words_after += not inside_after
                    inside = inside_after = True
                    characters += 1
                if code == 0x212A:  # Kelvin
                    folded[size] = 107
                    size += 1
                else:
                    for place in range(at, at + width):
                        byte = data[place]
                        folded[size] = byte + 32 if 65 <= byte <= 90 else byte
                        size += 1
                at += width
            longest = max(longest, characters)
            if longest > LONGEST_WORD:
                fates[line] = LONG_WORD
                continue
            dots = size >= 3 and folded[size - 1] == 46 and folded[size - 2] == 46 and folded[size - 3] == 46
            if size == 0 or not end_marks[folded[size - 1]] or dots:
                fates[line] = NO_END_MARK
                continue
            if (words if counts_citations else words_after) < fewest_words:
                fates[line] = FEW_WORDS
                continue
            found = np.int64(0)
            bracket = False
            for place in range(size):
                bracket = bracket or folded[place] == 123
                if hints[folded[place]] & 1:
                    found |= _find_phrases(folded, place, size, folded[place], phrases, bounds)
            _conclude(found, bracket, line, document, fates, counts)


@kernel
def _find_inner(
    data: np.ndarray,
    rows: np.ndarray,
    begins: np.ndarray,
    stops: np.ndarray,
    fates: np.ndarray,
    cited_lines: np.ndarray,
    classes: np.ndarray,
    marks: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    rules: np.ndarray,
) -> int:
    """Write the citations in lines that stay where there is room, and return how many there are.

    White space that they leave at the beginning of a document goes too.
    """
    room = len(starts) > 0
    count = 0
    for document in range(len(rows) - 1):
        leading = True  # nothing of the document stays so far
        for line in range(rows[document], rows[document + 1]):
            if fates[line]:
                continue
            if not cited_lines[line]:
                leading = False
                continue
            at, end = begins[line], stops[line]
            while at < end:
                if not leading and data[at] != 91:
                    at += 1
                    continue
                cited = _citation(data, at, end, marks)
                rule = CITATION
                width = cited
                if not cited:
                    code, width = decode(data, at, end)
                    if leading and classes[code] & SPACE:
                        cited = width
                        rule = 0
                    else:
                        leading = False
                if cited:
                    if room:
                        starts[count], ends[count], rules[count] = at, at + cited, rule
                    count += 1
                at += width
    return count
