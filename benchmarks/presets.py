"""Every preset beside the peer whose name it bears: MB of text a second on one core, and equal decisions and reasons.

    python benchmarks/presets.py [--quick] [--every N] [--spacy] [--json]

datatrove's own filters decide on every text, given our words and sentences: decision, reason and the text after C4's
edits must be equal on all of them. With ``--spacy`` (the package spaCy beside Tilth) they split words themselves, and
decisions are compared by corpus; the peer's speed is then that of its whole filter. dolma's Gopher and TFDS' C4 and
DCLM's line rules stand beside plain twins of their published code (tests/filters/plain_rules.py), whose speed says
nothing about theirs. ``--every N`` takes every N-th text.

The text is that of the folder ../shared/data/corpora beside the repository (105 MB, six domains); without it there is
nothing to compare. Time is the processor time of the one thread that works.
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import zstandard

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests" / "filters"))

from plain_rules import (  # noqa: E402
    c4_tfds,
    gopher_dolma,
    refinedweb,
    refinedweb_text,
    sentences_of,
)

from tilth.filters.rules import Preset, judge, preset  # noqa: E402
from tilth.filters.spans import edited  # noqa: E402
from tilth.filters.texts import Texts  # noqa: E402

CORPORA = ROOT.parent / "shared" / "data" / "corpora"
PROSE = ("biomedical", "science", "novels")  # equal decisions in 99 of 100 texts with the peer's own words
REASONS = {
    "gopher.datatrove@1": (
        *("gopher_short_doc", "gopher_long_doc", "gopher_below_avg_threshold", "gopher_above_avg_threshold"),
        *("gopher_too_many_hashes", "gopher_too_many_ellipsis", "gopher_too_many_bullets"),
        *("gopher_too_many_end_ellipsis", "gopher_below_alpha_threshold", "gopher_enough_stop_words"),
    ),
    "gopher.repetition.datatrove@1": (
        *("empty", "dup_para_frac", "dup_para_char_frac", "dup_line_frac", "dup_line_char_frac"),
        *(f"top_{n}_gram" for n in (2, 3, 4)),
        *(f"duplicated_{n}_n_grams" for n in range(5, 11)),
    ),
    "c4.datatrove@1": ("lorem_ipsum", "curly_bracket", "too_few_sentences"),
    "fineweb@1": ("empty", "line_punct_ratio", "short_line_ratio", "char_dup_ratio", "list_ratio"),
}
GOPHER_RULES = (0, 0, 1, 1, 2, 3, 4, 5, 6, 7)  # two reasons of Gopher's are the two limits of one rule


def corpus_texts(path: Path, every: int) -> list[str]:
    with zstandard.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line)["text"] for number, line in enumerate(lines) if number % every == 0]


def decide(rules: Preset, texts: Texts) -> list[str | None]:
    signals = rules.measure(texts)
    found = judge(rules, [signals[rule.name] for rule in rules.rules]).rule
    return [None if rule < 0 else rules.rules[rule].name for rule in found]


def after(rules: Preset, texts: Texts) -> list[str]:
    if rules.edits is None:
        return []
    left = edited(texts, rules.edits(texts))
    bounds = zip(left.offsets[:-1], left.offsets[1:], strict=True)
    return [left.data[start:end].tobytes().decode() for start, end in bounds]


def peer_of(reference: str, words: dict[str, list[str]] | None) -> Callable[[str], tuple[str | None, str]]:
    """The peer's decision about a text and the text it leaves; ``words`` None: it splits words itself."""
    if reference == "gopher.dolma@1":
        import numpy as np

        rules = preset(reference)

        def dolma(text: str) -> tuple[str | None, str]:
            signals = gopher_dolma(text)
            found = judge(rules, [np.array([signals[rule.name]], float) for rule in rules.rules]).rule[0]
            return (None if found < 0 else rules.rules[found].name), text

        return dolma
    if reference == "c4.tfds@1":
        return c4_tfds
    if reference == "refinedweb@1":
        return lambda text: (refinedweb(text), refinedweb_text(text))
    import datatrove.pipeline.filters.c4_filters as c4
    import datatrove.pipeline.filters.fineweb_quality_filter as fineweb
    import datatrove.pipeline.filters.gopher_quality_filter as quality
    import datatrove.pipeline.filters.gopher_repetition_filter as repetition
    import datatrove.utils.text as splitting
    from datatrove.data import Document

    for module in (quality, repetition, fineweb):
        module.split_into_words = (
            splitting.split_into_words if words is None else lambda text, language: words[text]  # type: ignore[index]
        )
    c4.split_into_sentences = (
        splitting.split_into_sentences if words is None else lambda line, language: [line] * sentences_of(line)
    )
    made = {
        "gopher.datatrove@1": quality.GopherQualityFilter,
        "gopher.repetition.datatrove@1": repetition.GopherRepetitionFilter,
        "c4.datatrove@1": c4.C4QualityFilter,
        "fineweb@1": fineweb.FineWebQualityFilter,
    }[reference]()
    names = [rule.name for rule in preset(reference).rules]
    places = GOPHER_RULES if reference == "gopher.datatrove@1" else range(len(names))
    reasons = dict(zip(REASONS[reference], (names[place] for place in places), strict=True))

    def ask(text: str) -> tuple[str | None, str]:
        document = Document(text=text, id="x")
        said = made.filter(document)
        return (None if said is True else reasons[said[1]]), document.text

    return ask


def compare(reference: str, corpora: dict[str, list[str]], *, spacy: bool) -> dict[str, Any]:
    rules = preset(reference)
    ours_seconds = theirs_seconds = 0.0
    size = documents = equal = reasons = texts_equal = edited_texts = 0
    by_corpus = {}
    for name, found in corpora.items():
        column = pa.array(found, pa.large_string())
        texts = Texts.of(column)
        raw, words = texts.data.tobytes(), texts.words
        split = {}
        for row, text in enumerate(found):
            here = slice(words.rows[row], words.rows[row + 1])
            if not spacy:
                spans = zip(words.starts[here].tolist(), words.ends[here].tolist(), strict=True)
                split[text] = [raw[start:end].decode() for start, end in spans]
        decide(rules, Texts.of(column[:1]))  # compiles
        start = time.thread_time()
        ours = decide(rules, Texts.of(column))
        ours_seconds += time.thread_time() - start
        left = after(rules, texts)
        ask = peer_of(reference, None if spacy else split)
        ask(found[0])
        start = time.thread_time()
        theirs = [ask(text) for text in found]
        theirs_seconds += time.thread_time() - start
        same = [(one is None) == (two is None) for one, (two, _) in zip(ours, theirs, strict=True)]
        by_corpus[name] = sum(same) / len(same)
        equal += sum(same)
        reasons += sum(one == two for one, (two, _) in zip(ours, theirs, strict=True))
        if left:
            pairs = [(one, two) for one, (why, two) in zip(left, theirs, strict=True) if why is None]
            edited_texts += len(pairs)
            texts_equal += sum(one == two for one, two in pairs)
        documents += len(found)
        size += len(raw)
    return {
        "documents": documents,
        "mb_per_second": size / 1e6 / ours_seconds,
        "peer_mb_per_second": size / 1e6 / theirs_seconds,
        "times_the_peer": theirs_seconds / ours_seconds,
        "equal_decisions": equal / documents,
        "equal_reasons": reasons / documents,
        "equal_texts": texts_equal / edited_texts if edited_texts else None,
        "by_corpus": by_corpus,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=int, default=1, help="take every N-th text")
    parser.add_argument("--quick", action="store_true", help="take every 20th text")
    parser.add_argument("--spacy", action="store_true", help="let datatrove split words with spaCy")
    parser.add_argument("--preset", action="append", help="only these")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    options = parser.parse_args()
    if not CORPORA.is_dir():
        sys.exit("the texts lie in ../shared/data/corpora beside the repository; there is nothing to compare without")
    step = 20 if options.quick else options.every
    corpora = {path.name.split(".")[0]: corpus_texts(path, step) for path in sorted(CORPORA.glob("*.zst"))}
    every = [*REASONS, *(() if options.spacy else ("gopher.dolma@1", "c4.tfds@1", "refinedweb@1"))]
    figures = {}
    for reference in options.preset or every:
        figures[reference] = found = compare(reference, corpora, spacy=options.spacy)
        print(
            f"{reference:30} {found['mb_per_second']:6.1f} MB/s  peer {found['peer_mb_per_second']:6.2f}  "
            f"x{found['times_the_peer']:6.1f}  decisions {found['equal_decisions']:.4%}  "
            f"reasons {found['equal_reasons']:.4%}  "
            + (f"texts {found['equal_texts']:.4%}  " if found["equal_texts"] is not None else "")
            + f"of {found['documents']:,}",
            flush=True,
        )
        if options.spacy:
            print("    " + ", ".join(f"{name} {share:.4%}" for name, share in found["by_corpus"].items()), flush=True)
    if options.spacy:
        ok = all(
            share >= (0.99 if name.startswith(PROSE) else 0.97)
            for found in figures.values()
            for name, share in found["by_corpus"].items()
        )
    else:
        ok = all(found["equal_reasons"] == 1 and found["equal_texts"] in (None, 1) for found in figures.values())
    if options.json:
        machine = f"{platform.processor() or platform.machine()}, Python {platform.python_version()}"
        print(json.dumps({"benchmark": "presets", "machine": machine, "figures": figures, "ok": ok}))
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
