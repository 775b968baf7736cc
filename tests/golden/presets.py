"""Writes presets.jsonl: what each preset's peer says of texts at, below and above every limit.

datatrove's filters decide where they are the peer, given our words and sentences; for the others a plain twin of the
published code does (tests/filters/plain_rules.py). It needs the module ``regex``:

    python tests/golden/presets.py > tests/golden/presets.jsonl

A text is a list of [piece, count]: each piece so many times, with ``@`` replaced by a running number of five digits.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "filters"))

import datatrove.pipeline.filters.c4_filters as c4_peer
import datatrove.pipeline.filters.fineweb_quality_filter as fineweb_peer
import datatrove.pipeline.filters.gopher_repetition_filter as repetition_peer
from datatrove.data import Document
from plain_rules import c4_tfds, gopher_dolma, refinedweb, sentences_of, words_of

from tilth.filters.rules import judge, preset

Parts = list[tuple[str, int]]

REASONS = {  # what datatrove calls its refusals: our rules
    "gopher.repetition.datatrove@1": {
        "empty": "characters",
        "dup_para_frac": "repeated_paragraphs",
        "dup_para_char_frac": "repeated_paragraph_characters",
        "dup_line_frac": "repeated_lines",
        "dup_line_char_frac": "repeated_line_characters",
        **{f"top_{n}_gram": f"top_{n}_gram" for n in (2, 3, 4)},
        **{f"duplicated_{n}_n_grams": f"repeated_{n}_grams" for n in range(5, 11)},
    },
    "fineweb@1": {
        "empty": "lines",
        "line_punct_ratio": "terminal_lines",
        "short_line_ratio": "short_lines",
        "char_dup_ratio": "repeated_line_characters",
        "list_ratio": "line_feeds_to_words",
    },
    "c4.datatrove@1": {
        "lorem_ipsum": "lorem_ipsum",
        "curly_bracket": "curly_brackets",
        "too_few_sentences": "sentences",
    },
}


def padded(text: str, size: int) -> Parts:
    """The text, filled with one long word to so many characters."""
    return [(text + " " + "y" * (size - len(text) - 1), 1)]


def twice(run: str, size: int) -> Parts:
    """A run of words that stands twice in so many characters. It comes after short words:

    where no run of a length repeats, the first one counts.
    """
    return [(f"u v w x {run} {'y' * (size - 2 * len(run) - 10)} {run}", 1)]


def letters(n: int, size: int) -> str:
    """A run of n words with so many letters: single ones and one longer word, so that shorter runs stay allowed."""
    return " ".join([*"abcdefghijk"[: n - 1], "z" * (size - n + 1)])


TWENTY = "z" * 20
REPETITION: dict[str, Parts] = {
    "empty": [],
    "one character": [("a", 1)],
    "paragraphs 0.3": [("w@ w@ w@ w@ w@ w@\n\n", 6), ("x\n\n", 3), ("x", 1)],
    "paragraphs over 0.3": [("w@ w@ w@ w@ w@ w@\n\n", 6), ("x\n\n", 4), ("x", 1)],
    "paragraph characters 0.2": padded(f"p q\n\nr s\n\n{TWENTY}\n\nk l\n\n{TWENTY}\n\nt", 100),
    "paragraph characters over 0.2": padded(f"p q\n\nr s\n\n{TWENTY}\n\nk l\n\n{TWENTY}\n\nt", 99),
    "lines 0.3": [("w@ w@ w@ w@ w@ w@\n", 6), ("x\n", 3), ("x", 1)],
    "lines over 0.3": [("w@ w@ w@ w@ w@ w@\n", 6), ("x\n", 4), ("x", 1)],
    "line characters 0.2": padded(f"p q\nr s\n{TWENTY}\nk l\n{TWENTY}\nt", 100),
    "line characters over 0.2": padded(f"p q\nr s\n{TWENTY}\nk l\n{TWENTY}\nt", 99),
    "line feeds at both ends are empty lines": [("\nbarley rye oats\n", 1)],
    "top 2-gram 0.2": twice("aaaa bbbb", 90),
    "top 2-gram over 0.2": twice("aaaa bbbb", 89),
    "top 3-gram 0.18": twice("aaaaa bbbbbb ccccc", 200),
    "top 3-gram over 0.18": twice("aaaaa bbbbbb ccccc", 199),
    "top 4-gram 0.16": twice("aaa bbb cccc ddd", 200),
    "top 4-gram over 0.16": twice("aaa bbb cccc ddd", 199),
    "the first of two top 2-grams counts": [("a b yyyyyyyyyyyyyy a b ccccccc ddddddd zzzzzz ccccccc ddddddd", 1)],
    **{f"{n}-grams {20 - n} of 100": twice(letters(n, 20 - n), 100) for n in range(5, 11)},
    **{f"{n}-grams {20 - n} of 99": twice(letters(n, 20 - n), 99) for n in range(5, 11)},
    "runs cut elsewhere are the same": [("ab c d e fgggggggg " + "y" * 30 + " a bc d e fgggggggg", 1)],
}
LONG = "w@ the barley, the rye and the oats of w@"
FINEWEB: dict[str, Parts] = {
    "blank lines only": [(" \n\t\n", 3)],
    "one line": [(" w@", 20), (" rye.", 1)],
    "terminal 0.12": [(LONG + ".\n", 3), (LONG + "\n", 21), (LONG, 1)],
    "terminal under 0.12": [(LONG + ".\n", 2), (LONG + "\n", 22), (LONG, 1)],
    "terminal in another script": [(LONG + "\u3002\n", 25)],
    "a blank after the stop": [(LONG + ". \n", 25)],
    "short 0.67": [("w@ of field it is said.\n", 67), (LONG + ".\n", 33)],
    "short over 0.67": [("w@ of field it is said.\n", 68), (LONG + ".\n", 32)],
    "30 characters are short": [("w@ of the field, it\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9.\n", 10)],
    "31 characters are not": [("w@ of the field, it\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9.\n", 10)],
    "repeated 0.01": [("ab.\n", 2), ("the rye of " + "y" * 282 + ".", 1)],
    "repeated over 0.01": [("ab.\n", 2), ("the rye of " + "y" * 281 + ".", 1)],
    "feeds 0.3": [("the barley of this wide field w@ is blooming.", 1), ("\n", 3)],
    "feeds over 0.3": [("the barley of this field w@ is blooming.", 1), ("\n", 3)],
}
SENTENCE = "The barley w@ grows. "
LINE = "The barley of w@ grows well here.\n"
C4: dict[str, Parts] = {
    "five sentences": [(LINE, 5)],
    "four sentences": [(LINE, 4)],
    "three sentences": [(LINE, 3)],
    "two sentences": [(LINE, 2)],
    "five sentences in one line": [(SENTENCE, 5)],
    "four in one line, a quote after the stop": [('He said: "It is so." And w@ left. ', 2)],
    "lines without an end": [(LINE, 5), ("The barley of w@ grows\n", 3)],
    "an apostrophe ends": [("The barley of w@ is 'wild'\n", 5)],
    "an ellipsis ends no line": [(LINE, 4), ("The barley of w@ grows...\n", 1)],
    "two words": [(LINE, 4), ("Barley grows.\n", 1)],
    "three words": [(LINE, 4), ("Barley grows here.\n", 1)],
    "four words": [(LINE, 2), ("Barley grows here too.\n", 1)],
    "five words": [(LINE, 2), ("Barley grows here too, now.\n", 1)],
    "a citation among three words": [(LINE, 4), ("Barley [12] grows.\n", 1)],
    "a citation among five words": [(LINE, 2), ("Barley [12] grows here now.\n", 1)],
    "citations go": [("Barley[1] grows[edit] here now [citation needed]well[].\n", 5)],
    "a word of 1000": [(LINE, 4), ("The field has ", 1), ("x", 999), (".\n", 1)],
    "a word of 1001": [(LINE, 4), ("The field has ", 1), ("x", 1000), (".\n", 1)],
    "lorem ipsum": [(LINE, 6), ("And Lorem Ipsum dolor sit amet.\n", 1)],
    "lorem ipsum in a line that goes": [(LINE, 6), ("And Lorem Ipsum dolor sit amet\n", 1)],
    "a bracket": [(LINE, 6), ("The set {a} is small enough.\n", 1)],
    "a bracket in a line that goes": [(LINE, 6), ("The set {a} is small enough;\n", 1)],
    "a bracket, then lorem ipsum": [(LINE, 6), ("The set { is small enough.\nAnd lorem ipsum dolor sit.\n", 1)],
    "a bracket in a line of javascript": [(LINE, 6), ("You need JavaScript { for this.\n", 1)],
    "javascript": [(LINE, 4), ("You need JavaScript for this page.\n", 1)],
    "a policy": [(LINE, 4), ("Read our Privacy Policy and weep.\n", 1)],
    "cookies in Kelvin": [(LINE, 4), ("This site uses coo\u212aies, it says.\n", 1)],
    "190000 characters": [(LINE, 5), ("y", 190_000 - 5 * (len(LINE) + 4))],
    "190001 characters": [(LINE, 5), ("y", 190_001 - 5 * (len(LINE) + 4))],
}
REFINEDWEB: dict[str, Parts] = {
    "no word": [("- * -\n", 3)],
    "nothing goes": [("w@ of the field\n", 5)],
    "5 of 100 words": [("w@ of the field grows\n", 19), ("W@ OFF ALL HEAD LINES\n", 1)],
    "6 of 100 words": [("w@ of the field is\n", 18), ("w@ of the rye\n", 1), ("W@ OFF ALL BIG HEAD LINES\n", 1)],
    "half capitals stay": [("abCD\u00c9\u00e9 fg HI\n", 5)],
    "a line of digits": [("w@ of the field grows\n", 19), ("12345\n", 1)],
    "counters": [("w@ of the field grows\n", 8), ("* 3.4k Likes!\n", 1), ("12 views\n", 1)],
    "one word": [("w@ of the field grows\n", 8), ("Home\n", 3)],
    "banners": [("w@ of the field grows\n", 8), ("Sign-in now\nYou have 3 items in cart\nBarley. Read more...\n", 2)],
}
UNIQUE = "w@ "
PASSAGE = "".join(f"p{number:05d} " for number in range(200))
DOLMA: dict[str, Parts] = {
    "empty": [],
    "50 words": [("the of ", 1), (UNIQUE, 48)],
    "49 words": [("the of ", 1), (UNIQUE, 47)],
    "100000 words": [("the of ", 1), (UNIQUE, 99_998)],
    "100001 words": [("the of ", 1), (UNIQUE, 99_999)],
    "median 3": [("the of ", 1), (" ".join(a + b + "x" for a in "abcdef" for b in "ghijkl") + " ", 1), (UNIQUE, 16)],
    "median under 3": [
        ("the of ", 1),
        (" ".join(a + b for a in "abcdef" for b in "ghijklmnop") + " ", 1),
        (UNIQUE, 20),
    ],
    "median 10": [("the of ", 1), ("bar@xy ", 48)],
    "median over 10": [("the of ", 1), ("barle@y ", 48)],
    "symbols 0.1": [("the of ", 1), (UNIQUE, 88), ("w@# ", 5), ("w@\u2026 ", 5)],
    "symbols over 0.1": [("the of ", 1), (UNIQUE, 88), ("w@# ", 6), ("w@\u2026 ", 5)],
    "letters 0.8": [("the of ", 1), (UNIQUE, 78), ("@ ", 20)],
    "letters under 0.8": [("the of ", 1), (UNIQUE, 77), ("@ ", 20)],
    "two stop words": [("the of ", 1), (UNIQUE, 58)],
    "one stop word twice": [("the w@ the ", 1), (UNIQUE, 58)],
    "one stop word": [("the ", 1), (UNIQUE, 58)],
    "bullets 0.9": [("- the w@ of w@ w@ w@ w@\n", 9), ("w@ w@", 1)],
    "bullets over 0.9": [("* the w@ of w@ w@ w@ w@\n", 10), ("w@ w@", 1)],
    "ellipsis lines 0.3": [("w@ w@ w@ the w@ w@ of w@ w@ w@ w@\u2026\n", 3), ("w@ w@ w@ w@ w@\n", 6), ("w@", 1)],
    "ellipsis lines over 0.3": [("w@ w@ w@ the w@ w@ of w@ w@ w@ w@\u2026\n", 4), ("w@ w@ w@ w@ w@\n", 7), ("w@", 1)],
    "lines 0.3": [("the w@ of w@ w@ w@ w@ w@ w@ w@\n", 7), ("x\n", 2), ("x", 1)],
    "lines over 0.3": [("the w@ of w@ w@ w@ w@ w@ w@ w@\n", 8), ("x\n", 3), ("x", 1)],
    "line characters 0.3": [
        ("the of and ", 1),
        (UNIQUE, 50),
        ("\n", 1),
        ("y" * 75 + "\n", 1),
        ("w@\n", 7),
        ("y" * 75, 1),
    ],
    "line characters over": [
        ("the of and ", 1),
        (UNIQUE, 50),
        ("\n", 1),
        ("y" * 76 + "\n", 1),
        ("w@\n", 7),
        ("y" * 76, 1),
    ],
    "top 2-gram over 0.2": [("the of ", 1), (UNIQUE, 60), ("a" * 25 + " " + "b" * 25 + " w@ ", 2)],
    "top 3-gram over 0.18": [("the of ", 1), (UNIQUE, 60), ("a" * 15 + " " + "b" * 15 + " " + "c" * 15 + " w@ ", 2)],
    "top 4-gram over 0.16": [("the of ", 1), (UNIQUE, 60), ("aaaaaaaaaa bbbbbbbbbb cccccccccc dddddddddd w@ ", 2)],
    # a passage of 200 words stands twice: the share of repeated runs lies between the limits of n and of n - 1
    **{
        f"{n}-grams over": [("the of ", 1), (PASSAGE, 2), (UNIQUE, round(2 * (201 - n) / (0.205 - n / 100)) - 402)]
        for n in range(5, 11)
    },
}
CASES = {
    "gopher.repetition.datatrove@1": REPETITION,
    "fineweb@1": FINEWEB,
    "c4.datatrove@1": C4,
    "c4.tfds@1": C4,
    "refinedweb@1": REFINEDWEB,
    "gopher.dolma@1": DOLMA,
}


def text_of(parts: Parts) -> str:
    """The text of a case."""
    number = iter(range(10**6))
    pieces = [piece for piece, count in parts for _ in range(count)]
    return "".join("".join(f"{next(number):05d}" if mark == "@" else mark for mark in piece) for piece in pieces)


def verdict(reference: str, text: str) -> str | None:
    """The rule by which the peer refuses a text."""
    if reference == "c4.tfds@1":
        return c4_tfds(text)[0]
    if reference == "refinedweb@1":
        return refinedweb(text)
    if reference == "gopher.dolma@1":
        import numpy as np

        rules, signals = preset(reference), gopher_dolma(text)
        found = judge(rules, [np.array([signals[rule.name]], float) for rule in rules.rules]).rule[0]
        return None if found < 0 else rules.rules[found].name
    peer = {
        "gopher.repetition.datatrove@1": repetition_peer.GopherRepetitionFilter,
        "fineweb@1": fineweb_peer.FineWebQualityFilter,
        "c4.datatrove@1": c4_peer.C4QualityFilter,
    }[reference]()
    for module in (repetition_peer, fineweb_peer):
        module.split_into_words = lambda text, language: words_of(text)
    c4_peer.split_into_sentences = lambda line, language: [line] * sentences_of(line)
    said = peer.filter(Document(text=text, id="x"))
    return None if said is True else REASONS[reference][said[1]]


def main() -> None:
    """Print a line for every case."""
    for reference, cases in CASES.items():
        for name, parts in cases.items():
            reason = verdict(reference, text_of(parts))
            print(json.dumps({"preset": reference, "case": name, "parts": parts, "reason": reason}))


if __name__ == "__main__":
    main()
