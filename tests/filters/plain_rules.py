"""The rules of presets said slowly, in plain Python over strings: twins of kernels, and of peers not installed.

Each function returns the signals of one text by the names of the preset's rules. Words are given as the kernel splits
them, so that the twins hold the rules and not the splitting.
"""

import re
import unicodedata
from collections import Counter
from statistics import median

import pyarrow as pa

from tilth.filters.characters import SENTENCE_END, character_marks
from tilth.filters.texts import Texts

CITATION = re.compile(r"\[\d*]|\[edit]|\[citation needed]")
POLICY = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
COUNTER = re.compile(
    r"^\W*\d(?:,|\.|\d)*(?:k|m|b)?\s+(?:likes|shares|comments|retweets|reposts|quotes|bookmarks|upvotes|downvotes"
    r"|downloads|views|followers)\W*$"
)
BANNERS = (
    re.compile(r"\s?(?:items in cart)", re.IGNORECASE),
    re.compile(r"\s?(?:Read more...)$", re.IGNORECASE),
    re.compile(r"^(?:Sign-in)\s?", re.IGNORECASE),
)


def words_of(text: str) -> list[str]:
    """The words of the kernel."""
    words = Texts.of(pa.array([text], pa.string())).words
    data = text.encode()
    return [data[start:end].decode() for start, end in zip(words.starts.tolist(), words.ends.tolist(), strict=True)]


def sentences_of(line: str) -> int:
    """spaCy's sentencizer (pipeline/sentencizer.pyx) over the kernel's words and the white space between them."""
    count, stopped, place = 0, False, 0
    tokens = []
    for word in words_of(line):
        begin = line.index(word, place)
        if line[place:begin] not in ("", " "):
            tokens.append(line[place:begin])
        tokens.append(word)
        place = begin + len(word)
    for token in tokens:
        ends = len(token) == 1 and bool(character_marks()[ord(token)] & SENTENCE_END)
        if count == 0:
            count = 1
        elif stopped and not ends and not all(unicodedata.category(mark)[0] == "P" for mark in token):
            count, stopped = count + 1, False
        stopped = stopped or ends
    return max(1, count)


def c4(text: str, fewest: int, cited: bool, ends: tuple[str, ...]) -> tuple[str | None, str, dict[str, int]]:
    """tensorflow_datasets' clean_page: why the page goes (or None), what is left of it, and how many sentences."""
    kept, sentences = [], 0
    for raw in text.splitlines():
        line = raw.strip()
        before = line.split()
        if any(len(word) > 1000 for word in before):
            continue
        line = CITATION.sub("", line)
        if not line.endswith(ends) or line.endswith("...") or len(before if cited else line.split()) < fewest:
            continue
        lower = line.lower()
        if "lorem ipsum" in lower:
            return "lorem_ipsum", "", {}
        if "javascript" in lower:
            continue
        if "{" in line:
            return "curly_brackets", "", {}
        if any(phrase in lower for phrase in POLICY):
            continue
        sentences += sentences_of(line)
        kept.append(line)
    return None, "\n".join(kept).strip(), {"sentences": sentences}


def c4_tfds(text: str) -> tuple[str | None, str]:
    """C4's own page rules: the first that fails, and the text that is left."""
    if len(text) > 190_000:
        return "characters", ""
    reason, left, counts = c4(text, 5, False, (".", "?", "!", '"'))
    return (reason, left) if reason or counts["sentences"] >= 3 else ("sentences", left)


def refinedweb_text(text: str) -> str:
    """What DCLM's line functions leave of a page, one after another."""

    def without(gone: object, text: str) -> str:
        return "\n".join(line for line in text.split("\n") if not (line and gone(line)))  # type: ignore[operator]

    text = without(lambda line: sum(map(str.isupper, line)) / len(line) > 0.5, text).strip()
    text = without(lambda line: sum(map(str.isdigit, line)) / len(line) > 0.999999, text).strip()
    text = without(lambda line: COUNTER.search(line.lower()), text).strip()
    text = without(lambda line: len(line.split()) < 2, text)
    for banner in BANNERS:
        kept = []
        for line in text.split("\n"):
            left = banner.sub("", line) if len(line.split()) <= 10 else line
            if not line or left.strip():
                kept.append(left)
        text = "\n".join(kept).strip()
    return text


def refinedweb(text: str) -> str | None:
    """The first rule that fails."""

    def count(page: str) -> int:
        return sum(word[0].isalnum() for word in page.split())

    before = count(text)
    if not before:
        return "words"
    return "removed_words" if (before - count(refinedweb_text(text))) / before > 0.05 else None


def gopher_dolma(text: str) -> dict[str, float]:
    """dolma's tagger gopher_v1."""
    words = text.split()
    lines = text.split("\n") if text else []
    letters = sum(map(len, words))
    stops = {"the", "be", "to", "of", "and", "that", "have", "with"}
    counts = Counter(lines)
    signals: dict[str, float] = {
        "words": len(words),
        "median_word_length": float(median(map(len, words))) if words else 0.0,
        "symbols_to_words": sum("#" in word or "\u2026" in word for word in words) / max(len(words), 1),
        "alphabetic_words": sum(any(map(str.isalpha, word)) for word in words) / max(len(words), 1),
        "stop_words": sum(word in stops for word in words),
        "bullet_lines": sum(line.startswith(("*", "-")) for line in lines) / max(len(lines), 1),
        "ellipsis_lines": sum(line.endswith("\u2026") for line in lines) / max(len(lines), 1),
        "repeated_lines": sum(times for times in counts.values() if times > 1) / max(len(lines), 1),
        "repeated_line_characters": sum(len(line) * times for line, times in counts.items() if times > 1)
        / max(letters, 1),
    }
    for n in range(2, 11):
        runs = Counter(zip(*(words[start:] for start in range(n)), strict=False))
        sizes = {run: times * sum(map(len, run)) for run, times in runs.items()}
        if n < 5:
            signals[f"top_{n}_gram"] = sizes[runs.most_common(1)[0][0]] / max(letters, 1) if runs else 0.0
        else:
            repeated = sum(size for run, size in sizes.items() if runs[run] > 1)
            signals[f"repeated_{n}_grams"] = repeated / max(sum(sizes.values()), 1)
    return signals
