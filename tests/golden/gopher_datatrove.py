"""Writes gopher_datatrove.jsonl: what datatrove's own filter says of texts at, below and above each of its limits.

The words are given to it as our kernel splits them, so that the vectors hold the rules and not the splitting. It needs
datatrove's extra ``processing`` (the module ``regex``):

    python tests/golden/gopher_datatrove.py > tests/golden/gopher_datatrove.jsonl

A text is a list of [piece, count]: each piece so many times, one after another.
"""

import json

import datatrove.pipeline.filters.gopher_quality_filter as peer
import pyarrow as pa
from datatrove.data import Document

from tilth.filters.texts import Texts

Parts = list[tuple[str, int]]


def words(count: int, word: str = "barley") -> Parts:
    """So many words, two of them stop words."""
    return [("the of ", 1), (word + " ", count - 2)]


CASES: dict[str, Parts] = {
    "empty": [],
    "white space only": [(" \n", 60)],
    "symbols only": [("* ", 60)],
    "50 words": words(50),
    "49 words": words(49),
    "49 words and many symbols": [*words(49), ("; ", 5)],
    "100000 words": words(100_000),
    "100001 words": words(100_001),
    "mean length 3.0": [("the of ", 1), ("oat ", 97), ("oats ", 1)],
    "mean length under 3": [("the of ", 1), ("oat ", 98)],
    "mean length 10.0": [("the of ", 1), ("cultivated ", 93), ("agriculture ", 15)],
    "mean length over 10": [("the of ", 1), ("cultivated ", 93), ("agriculture ", 16)],
    "hashes 0.1": [*words(90), ("# ", 10)],
    "hashes over 0.1": [*words(90), ("# ", 11)],
    "ellipses 0.1": [*words(89), ("... ", 5), ("\u2026 ", 5), ("rye", 1)],
    "ellipses over 0.1": [*words(89), ("... ", 6), ("\u2026 ", 5), ("rye", 1)],
    "two stops are no ellipsis": [*words(88), (".. ", 11), ("rye", 1)],
    "five stops are one ellipsis": [*words(89), ("..... ", 10), ("rye", 1)],
    "six stops are two ellipses": [*words(89), ("...... ", 6), ("rye", 1)],
    "bullets 0.9": [("- the of barley oats rye wheat\n", 9), ("barley oats\n", 1)],
    "bullets over 0.9": [("  \u2022 the of barley oats rye wheat\n", 19), ("barley oats\n", 2)],
    "ellipsis lines 0.3": [("the of barley oats rye wheat ...  \n", 3), ("barley oats rye wheat millet maize\n", 7)],
    "ellipsis lines over 0.3": [("the of barley oats rye wheat\u2026\n", 4), ("barley oats rye wheat spelt\r\n", 8)],
    "letters 0.8": [*words(80), ("12 ", 20)],
    "letters under 0.8": [*words(79), ("12 ", 20)],
    "two stop words": words(60),
    "one stop word, three times": [("the the the ", 1), ("barley ", 57)],
    "stop words in capitals": [("The Of THAT And ", 1), ("barley ", 58)],
    "no stop word": [("barley ", 60)],
    "two rules broken, the first decides": [("barley ", 40), ("12 ", 20), ("# ", 10)],
    "form feeds and separators": [("the of barley oats rye wheat\u2026\f", 5), ("barley oats rye\u2028", 10)],
}


def main() -> None:
    """Print a line for every case."""
    judge = peer.GopherQualityFilter()
    for name, parts in CASES.items():
        text = "".join(piece * count for piece, count in parts)
        texts = Texts.of(pa.array([text]))
        spans = zip(texts.words.starts, texts.words.ends, strict=True)
        split = [bytes(texts.data[start:end]).decode() for start, end in spans]
        peer.split_into_words = lambda text, language, split=split: split
        verdict = judge.filter(Document(text=text, id=name))
        print(json.dumps({"case": name, "parts": parts, "reason": None if verdict is True else verdict[1]}))


if __name__ == "__main__":
    main()
