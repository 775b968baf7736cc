"""What a code point is to the word kernels: one uint16 of class bits for each of the 0x110000 code points.

The table costs 2.2 MB and 30 ms once a process, and turns every question of a kernel about a character into one load;
the part of it that English prose touches stays in the first-level cache. It is built when first asked for, so importing
costs nothing.
"""

import unicodedata
from functools import cache
from typing import Final

import numpy as np

CODE_POINTS: Final = 0x110000

SPACE: Final = 1  # str.isspace
LOWER: Final = 2  # a letter that is lower case or has no case
UPPER: Final = 4  # a letter that is upper or title case or has no case
PREFIX: Final = 8  # splits off the front of a word
SUFFIX: Final = 16  # splits off the back of a word
INFIX: Final = 32  # splits a word wherever it stands: the ellipsis and pictures
QUOTE: Final = 64  # stands beside the full stop that ends a sentence without a space
BEFORE_STOP: Final = 128  # a full stop after it is a word of its own; lower-case letters do the same
CURRENCY: Final = 256  # splits off the front, and off the back of a digit
SYMBOL: Final = 512  # a word made of nothing else is no word to Gopher
BREAK: Final = 1024  # ends a line, as in str.splitlines
LETTER: Final = LOWER | UPPER

# The marks that spaCy 3.8 splits off English words (spacy/lang/char_classes.py). Others, such as @ / \ ^ or the bullet,
# stay on their word.
PUNCTUATION: Final = "…,:;!?¿؟¡()[]{}<>_#*&。？！，、；：～·।،۔؛٪"
QUOTES: Final = "'\"”“`‘´’‚,„»«「」『』（）〔〕【】《》〈〉〈〉⟦⟧"
CURRENCIES: Final = "$£€¥฿₽﷼₴₠₡₢₣₤₥₦₧₨₩₪₫₭₮₯₰₱₲₳₵₶₷₸₹₺₻₼₾₿"
FRONT_ONLY: Final = "§%="
DASHES: Final = "—–"
STOP_FOLLOWS: Final = "0123456789%²-+|()?:" + PUNCTUATION + QUOTES

# datatrove 0.10.1, utils/text.py, PUNCTUATION_SET: 281 code points, hexadecimal, ranges inclusive.
SYMBOLS: Final = """
0-8 b-1f 21-2f 3a-40 5b-60 7b-9f ab b4 bb 589 61d-61f 6d4 700-702 7f9 837 839 83d-83e 964-965 104a-104b 1362
1367-1368 166e 1735-1736 17d4-17d6 17d9-17da 1803 1809 1944-1945 1aa8-1aab 1b5a-1b5b 1b5e-1b5f 1b7d-1b7e
1c3b-1c3c 1c7e-1c7f 2013-2014 2019 201c-201e 2026 203c-203d 2047-2049 2236 2501 25ba 2e2e 2e3c 2e53-2e54
3001-3002 3008-300d 3010-3011 a4ff a60e-a60f a6f3 a6f7 a876-a877 a8ce-a8cf a92f a9c8-a9c9 aa5d-aa5f aaf0-aaf1
abeb fe52 fe56-fe57 ff01 ff05 ff08-ff09 ff0c ff0e ff11 ff1a-ff1b ff1f ff5e ff61 10a56-10a57 10f55-10f59
10f86-10f89 11047-11048 110be-110c1 11141-11143 111c5-111c6 111cd 111de-111df 11238-11239 1123b-1123c 112a9
1144b-1144c 115c2-115c3 115c9-115d7 11641-11642 1173c-1173e 11944 11946 11a42-11a43 11a9b-11a9c 11c41-11c42
11ef7-11ef8 11f43-11f44 16a6e-16a6f 16af5 16b37-16b38 16b44 16e98 1bc9f 1da88
"""

# Marks for rules about lines and sentences: one uint8 a code point, in a table of their own.
TERMINAL: Final = 1  # ends a line to FineWeb
SENTENCE_END: Final = 2  # ends a sentence, where it is a word of its own
MARK: Final = 4  # general category P
CAPITAL: Final = 8  # str.isupper
DIGIT: Final = 16  # str.isdigit
DECIMAL: Final = 32  # str.isdecimal, \d of a regular expression
WORD_CHARACTER: Final = 64  # str.isalnum or the underscore, \w of a regular expression
ALPHANUMERIC: Final = 128  # str.isalnum

# datatrove 0.10.1, utils/text.py, TERMINAL_PUNCTUATION: 159 code points.
TERMINALS: Final = """
21 2e 3f 589 61d-61f 6d4 700-702 7f9 837 839 83d-83e 964-965 104a-104b 1362 1367-1368 166e 1735-1736 17d4-17d6
17d9-17da 1803 1809 1944-1945 1aa8-1aab 1b5a-1b5b 1b5e-1b5f 1b7d-1b7e 1c3b-1c3c 1c7e-1c7f 203c-203d 2047-2049 2e2e
2e3c 2e53-2e54 3002 a4ff a60e-a60f a6f3 a6f7 a876-a877 a8ce-a8cf a92f a9c8-a9c9 aa5d-aa5f aaf0-aaf1 abeb fe52
fe56-fe57 ff01 ff0e ff1f ff61 10a56-10a57 10f55-10f59 10f86-10f89 11047-11048 110be-110c1 11141-11143 111c5-111c6
111cd 111de-111df 11238-11239 1123b-1123c 112a9 1144b-1144c 115c2-115c3 115c9-115d7 11641-11642 1173c-1173e 11944
11946 11a42-11a43 11a9b-11a9c 11c41-11c42 11ef7-11ef8 11f43-11f44 16a6e-16a6f 16af5 16b37-16b38 16b44 16e98 1bc9f
1da88
"""

# spaCy 3.8, pipeline/sentencizer.pyx, default_punct_chars: 128 code points.
SENTENCE_ENDS: Final = """
21 2e 3f 589 61f 6d4 700-702 7f9 964-965 104a-104b 1362 1367-1368 166e 1735-1736 1803 1809 1944-1945 1aa8-1aab
1b5a-1b5b 1b5e-1b5f 1c3b-1c3c 1c7e-1c7f 203c-203d 2047-2049 2e2e 2e3c 3002 a4ff a60e-a60f a6f3 a6f7 a876-a877
a8ce-a8cf a92f a9c8-a9c9 aa5d-aa5f aaf0-aaf1 abeb fe52 fe56-fe57 ff01 ff0e ff1f ff61 10a56-10a57 11047-11048
110be-110c1 11141-11143 111c5-111c6 111cd 111de-111df 11238-11239 1123b-1123c 112a9 1144b-1144c 115c2-115c3
115c9-115d7 11641-11642 1173c-1173e 11a42-11a43 11a9b-11a9c 11c41-11c42 16a6e-16a6f 16af5 16b37-16b38 16b44 1bc9f
1da88
"""

_LETTER_BITS: Final = {"Ll": LOWER, "Lu": UPPER, "Lt": UPPER, "Lm": LOWER | UPPER, "Lo": LOWER | UPPER}
_PICTURE: Final = PREFIX | SUFFIX | INFIX  # general category So
_ASSIGNED: Final = 0x40000  # nothing above is a letter, a symbol or a space: tags, variation selectors, private use


@cache
def character_classes() -> np.ndarray:
    """Return the class bits of every code point: uint16, 0x110000 values, read-only.

    Letters and pictures follow the ``unicodedata`` of this Python (``unicodedata.unidata_version``).
    """
    table = np.zeros(CODE_POINTS, np.uint16)
    bits = {**_LETTER_BITS, "So": _PICTURE}
    category = unicodedata.category
    table[:_ASSIGNED] = [bits.get(category(character), 0) for character in map(chr, range(_ASSIGNED))]

    def mark(characters: str, bit: int) -> None:
        table[[ord(character) for character in characters]] |= bit

    mark("".join(c for c in map(chr, range(0x10000)) if c.isspace()), SPACE)
    mark("\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029", BREAK)  # str.splitlines
    mark(PUNCTUATION + QUOTES + DASHES, PREFIX | SUFFIX)
    mark(FRONT_ONLY, PREFIX)
    mark(CURRENCIES, PREFIX | CURRENCY)
    mark("…", INFIX)
    mark(QUOTES, QUOTE)
    mark(STOP_FOLLOWS, BEFORE_STOP)
    for span in _spans(SYMBOLS):
        table[span] |= SYMBOL
    table.flags.writeable = False
    return table


@cache
def character_marks() -> np.ndarray:
    """Return the marks of every code point: uint8, 0x110000 values, read-only."""
    table = np.zeros(CODE_POINTS, np.uint8)
    for place, character in enumerate(map(chr, range(_ASSIGNED))):
        bits = 0
        if character.isalnum():
            bits = ALPHANUMERIC | WORD_CHARACTER
            bits |= CAPITAL * character.isupper() | DIGIT * character.isdigit() | DECIMAL * character.isdecimal()
        elif character.isupper():
            bits = CAPITAL
        elif unicodedata.category(character)[0] == "P":
            bits = MARK
        table[place] = bits
    table[ord("_")] |= WORD_CHARACTER
    for marks, bit in ((TERMINALS, TERMINAL), (SENTENCE_ENDS, SENTENCE_END)):
        for span in _spans(marks):
            table[span] |= bit
    table.flags.writeable = False
    return table


def _spans(ranges: str) -> list[slice]:
    """Read hexadecimal ranges, both ends inclusive."""
    pairs = [span.partition("-") for span in ranges.split()]
    return [slice(int(first, 16), int(last or first, 16) + 1) for first, _, last in pairs]
