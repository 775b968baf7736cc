"""Where a text may be cut into words without changing a token: a table of byte pairs for each way of pre-tokenizing.

``cuts[before, after]`` tells whether a word starts between two neighbouring bytes of UTF-8. A table may miss places,
and then words are longer and repeat less; it may never hold one that the tokenizer looks across. So a byte that could
end a white-space character outside ASCII is taken for one (U+00A0 ends as U+00E0 does): two bytes decide, never three.
"""

import numpy as np

NEWLINE, SPACE = 10, 32
WHITE = (9, NEWLINE, 13, SPACE)
DIGITS = tuple(b"0123456789")
LETTERS = tuple(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
MARKS = tuple(b"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
APOSTROPHE = ord("'")

# Last bytes of U+0085, U+00A0, U+1680, U+2000 to U+200A, U+2028, U+2029, U+202F, U+205F and U+3000: all of Unicode's
# White_Space outside ASCII (PropList.txt, 16.0).
WHITE_ENDS = (*range(0x80, 0x8B), 0x9F, 0xA0, 0xA8, 0xA9, 0xAF)
# bytes that surely end a character that is not white space: ASCII that can be printed, and the others outside ASCII
BLACK = (*DIGITS, *LETTERS, *MARKS, *(byte for byte in range(0x80, 0xC0) if byte not in WHITE_ENDS))


def _table(*rules: tuple[tuple[int, ...], tuple[int, ...]]) -> np.ndarray:
    cuts = np.zeros((256, 256), np.bool_)
    for before, after in rules:
        cuts[np.ix_(before, after)] = True
    return cuts


def _sentencepiece() -> np.ndarray:
    cuts = np.zeros((256, 256), np.bool_)
    cuts[:, SPACE] = True
    cuts[SPACE, SPACE] = False
    cuts[NEWLINE, :] = cuts[:, NEWLINE] = True
    cuts[NEWLINE, NEWLINE] = False
    return cuts


# A space that follows something else, and the start and end of newlines: for models none of whose pieces spans a cut.
SENTENCEPIECE = _sentencepiece()

# GPT-2's pattern: '(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ (tokenizers 0.23, ByteLevel).
# White space after anything else always starts a match; letters, digits and marks part, but for an apostrophe and what
# follows it.
GPT2 = _table(
    (BLACK, WHITE),
    (LETTERS, (*DIGITS, *MARKS)),
    (DIGITS, (*LETTERS, *MARKS)),
    (MARKS, DIGITS),
    (tuple(mark for mark in MARKS if mark != APOSTROPHE), LETTERS),
)

# The pattern of cl100k and its kin also joins a mark to the letters or newlines that follow it.
CL100K = _table(
    (BLACK, (SPACE,)),
    ((*LETTERS, *DIGITS), WHITE),
    (LETTERS, (*DIGITS, *MARKS)),
    (DIGITS, (*LETTERS, *MARKS)),
    (MARKS, DIGITS),
)

# BERT: white space parts words and vanishes, every mark stands alone. What follows a cut is ASCII, so no accent that
# normalisation would join or reorder.
BERT = _table(
    (tuple(byte for byte in range(256) if byte not in WHITE), WHITE),
    (tuple(byte for byte in range(256) if byte not in WHITE), MARKS),
    (MARKS, (*DIGITS, *LETTERS)),
)
