"""Words without meaning, and copies of them with a known number of changes."""

import random
import re

VOCABULARY = [f"{first}{second}{third}" for first in "bdfgklmnprst" for second in "aeiou" for third in "lmnrst"]

Record = dict[str, str]


def prose(seed: int, words: int) -> str:
    """Return so many words without meaning."""
    return " ".join(random.Random(seed).choices(VOCABULARY, k=words))


def changed(text: str, seed: int, times: int) -> str:
    """Return a text with so many words replaced."""
    chance = random.Random(seed)
    words = text.split()
    for _ in range(times):
        words[chance.randrange(len(words))] = chance.choice(VOCABULARY)
    return " ".join(words)


def similarity(one: str, other: str) -> float:
    """Return the Jaccard similarity of word 5-grams, the slow way."""
    sets = []
    for text in (one, other):
        words = re.findall(r"\w+", text.lower())
        sets.append({tuple(words[place : place + 5]) for place in range(max(1, len(words) - 4))})
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])
