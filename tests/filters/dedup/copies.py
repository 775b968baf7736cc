"""Words without meaning, and copies of them with a known number of changes."""

import random

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
