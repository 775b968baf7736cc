"""Gopher's rules: MB of text a second on one core, and decisions equal to datatrove's with spaCy's words, in one run.

    python benchmarks/gopher.py [--quick] [--json]

The peer is datatrove's GopherQualityFilter as it comes, which splits words with spaCy: install ``spacy`` and ``regex``
beside Tilth; without them only our own figures are printed. The peer is given a sample of the texts that ours is given.
Time is the processor time of the one thread that works, so that a busy machine changes little; the best of the passes
counts. Normalising is timed on the same texts, since nearly all of them are clean.

The text is that of the folder ../shared/data/corpora where it lies beside the repository (105 MB, six domains), else
the source code of Python's own library; which of the two is printed. ``--quick`` takes a tenth of it.
"""

import argparse
import json
import platform
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tilth.corpus.document import document_id, documents
from tilth.filters.normalise import Normalise
from tilth.filters.rules import judge, preset
from tilth.filters.texts import Texts

CORPORA = Path(__file__).resolve().parents[2] / "shared" / "data" / "corpora"
GOPHER = preset("gopher.datatrove@1")
SIGNALS_SPEED = 30.0  # MB/s: words, lines, signals and rules together
NORMALISE_SPEED = 300.0  # MB/s of texts that are nearly all clean
FASTER_THAN_PEER = 20.0  # times
EQUAL_DECISIONS = 0.99  # share of documents
DIFFERING_WORDS = 0.001  # share of the peer's words


def load_texts() -> tuple[str, list[str]]:
    """Return where the texts are from, and the texts."""
    if CORPORA.is_dir():
        import zstandard

        found = []
        for path in sorted(CORPORA.glob("*.zst")):
            with zstandard.open(path, "rt", encoding="utf-8") as lines:
                found += [json.loads(line)["text"] for line in lines]
        return "shared corpora", found
    paths = sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py"))
    return "Python's own library", [path.read_text(encoding="utf-8", errors="replace") for path in paths]


def seconds_of(passes: int, call: Callable[[], object]) -> float:
    """Return the least processor seconds of a call."""
    best = float("inf")
    for _ in range(passes):
        start = time.thread_time()
        call()
        best = min(best, time.thread_time() - start)
    return best


def decide(texts: Texts) -> np.ndarray:
    """Return which documents are kept: bool."""
    signals = GOPHER.measure(texts)
    return judge(GOPHER, [signals[rule.name] for rule in GOPHER.rules]).rule < 0


def spans(words: list[str]) -> set[tuple[int, int]]:
    """Return where words stand in the text without its white space."""
    ends = np.cumsum([len("".join(word.split())) for word in words]).tolist()
    return set(zip([0, *ends], ends, strict=False))


def measure(*, quick: bool) -> dict[str, Any]:
    origin, found = load_texts()
    found = found[::10] if quick else found
    size = sum(len(text.encode()) for text in found)
    column = pa.array(found, pa.large_string())
    passes = 3 if quick else 5
    batch = documents(
        {"id": [document_id("x", str(n)) for n in range(len(found))], "text": found, "source": ["x"] * len(found)}
    )
    decide(Texts.of(column[:1]))  # compiles
    normalise = Normalise("normalise")
    normalise.apply(batch.slice(0, 1))
    figures = {
        "words_mb_per_second": figure(size / seconds_of(passes, lambda: Texts.of(column).words) / 1e6, None),
        "rules_mb_per_second": figure(size / seconds_of(passes, lambda: decide(Texts.of(column))) / 1e6, SIGNALS_SPEED),
        "normalise_mb_per_second": figure(
            size / seconds_of(passes, lambda: normalise.apply(batch)) / 1e6, NORMALISE_SPEED
        ),
    }
    figures |= beside_peer(found[:: 6 if quick else 20], figures["rules_mb_per_second"]["value"])
    return {
        "benchmark": "gopher",
        "text": origin,
        "texts": len(found),
        "megabytes": round(size / 1e6, 1),
        "machine": f"{platform.processor() or platform.machine()}, Python {platform.python_version()}",
        "figures": figures,
        "ok": all(each["ok"] for each in figures.values()),
    }


def beside_peer(sample: list[str], our_speed: float) -> dict[str, Any]:
    """Let the peer decide on a sample of the texts, and compare decisions and words."""
    try:
        import regex  # noqa: F401
        import spacy  # noqa: F401
        from datatrove.data import Document
        from datatrove.pipeline.filters import GopherQualityFilter
        from datatrove.utils.text import split_into_words
    except ImportError as missing:
        print(f"without the peer: {missing}")
        return {}
    peer = GopherQualityFilter()
    documents = [Document(text=text, id=str(place)) for place, text in enumerate(sample)]
    peer.filter(documents[0])  # loads spaCy
    verdicts = []
    start = time.thread_time()
    for document in documents:
        verdicts.append(peer.filter(document) is True)
    speed = sum(len(text.encode()) for text in sample) / (time.thread_time() - start) / 1e6

    texts = Texts.of(pa.array(sample, pa.large_string()))
    words, data = texts.words, texts.data.tobytes()
    differing = total = 0
    for place, text in enumerate(sample):
        theirs = split_into_words(text)
        here = slice(words.rows[place], words.rows[place + 1])
        ours = [data[a:b].decode() for a, b in zip(words.starts[here], words.ends[here], strict=True)]
        differing += len(spans(theirs) - spans(ours))
        total += len(theirs)
    return {
        "peer_mb_per_second": figure(speed, None),
        "times_the_peer": figure(our_speed / speed, FASTER_THAN_PEER),
        "compared_documents": figure(len(sample), None),
        "equal_decisions": figure(float((decide(texts) == verdicts).mean()), EQUAL_DECISIONS),
        "peer_words": figure(total, None),
        "differing_words": figure(differing / max(1, total), DIFFERING_WORDS, least=False),
    }


def figure(value: float, floor: float | None, *, least: bool = True) -> dict[str, Any]:
    """Return a figure beside the bound it must keep: at least ``floor``, or at most."""
    return {"value": value, "floor": floor, "ok": floor is None or (value >= floor if least else value <= floor)}


def show(result: dict[str, Any]) -> None:
    print(f"{result['megabytes']} MB, {result['texts']} texts of {result['text']}")
    for name, each in result["figures"].items():
        bound = "" if each["floor"] is None else f"   bound {each['floor']:g}{'' if each['ok'] else '   MISSED'}"
        print(f"{name.replace('_', ' '):28}{each['value']:12.6g}{bound}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the text: under 50 s")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    options = parser.parse_args()
    result = measure(quick=options.quick)
    show(result)
    if options.json:
        print(json.dumps(result))
    sys.exit(0 if result["ok"] else 1)


if __name__ == "__main__":
    main()
