"""Gopher and C4 beside dolma itself: MB of text a second on one core, and every one of Gopher's signals equal.

    python benchmarks/dolma_rules.py [--peer PYTHON] [--quick] [--json]

dolma 1.2.1 wants old versions of packages that Tilth wants new, so it lives in an environment of its own: ``--peer``
names its Python; without it one is made in a temporary folder with uv, and where that fails the peer is left out, which
is said. It is given the same texts in a process of its own: its taggers ``gopher_v1`` and ``c4_v1``, called one
document after another, without its reading and writing.

The signals of ``gopher.dolma@1`` are compared with dolma's, document by document. C4 is compared in speed only:
dolma's tagger marks lines, where ``c4.tfds@1`` decides as TFDS does and makes the edits. Time is the processor time of
the one thread that works, the best of three passes here, one pass there. The text is that of ../shared/data/corpora.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CORPORA = ROOT.parent / "shared" / "data" / "corpora"
VERSION = "1.2.1"
FASTER = 10.0  # times dolma, Gopher and C4 together
CLOSE = 1e-12  # relative: both divide the same integers
NAMES = {  # ours: dolma's
    "words": "word_count",
    "median_word_length": "median_word_length",
    "symbols_to_words": "symbol_to_word_ratio",
    "alphabetic_words": "fraction_of_words_with_alpha_character",
    "stop_words": "required_word_count",
    "bullet_lines": "fraction_of_lines_starting_with_bullet_point",
    "ellipsis_lines": "fraction_of_lines_ending_with_ellipsis",
    "repeated_lines": "fraction_of_duplicate_lines",
    "repeated_line_characters": "fraction_of_characters_in_duplicate_lines",
    **{f"top_{n}_gram": f"fraction_of_characters_in_most_common_{n}grams" for n in (2, 3, 4)},
    **{f"repeated_{n}_grams": f"fraction_of_characters_in_duplicate_{n}grams" for n in range(5, 11)},
}


def tag(texts: Path) -> None:
    """Run inside dolma's environment: tag the texts of a JSON file, print seconds and Gopher's attributes as JSON."""
    from dolma.core.data_types import Document
    from dolma.taggers.c4 import C4Tagger
    from dolma.taggers.gopher import GopherTagger

    documents = [
        Document(source="texts", id=str(number), text=text) for number, text in enumerate(json.loads(texts.read_text()))
    ]
    gopher, c4 = GopherTagger(), C4Tagger()
    start = time.thread_time()
    tagged = [gopher.predict(document) for document in documents]
    between = time.thread_time()
    for document in documents:
        c4.predict(document)
    end = time.thread_time()
    attributes = [{span.type: span.score for span in result.spans} for result in tagged]
    print(json.dumps({"gopher": between - start, "c4": end - between, "attributes": attributes}))


def environment(folder: Path) -> Path | None:
    """Make an environment that holds dolma; return its Python, or None where that cannot be done."""
    python = folder / "bin" / "python"
    steps = (
        [sys.executable, "-m", "venv", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv"],
        # pip takes many minutes to find versions that go together
        [str(folder / "bin" / "uv"), "pip", "install", "--quiet", "--python", str(python), f"dolma=={VERSION}"],
    )
    for step in steps:
        try:
            subprocess.run(step, check=True, capture_output=True, timeout=120)
        except (subprocess.SubprocessError, OSError):
            return None
    return python


def sample(every: int) -> list[str]:
    """Return every N-th text of all corpora."""
    import zstandard

    texts = []
    for corpus in sorted(CORPORA.glob("*.zst")):
        with zstandard.open(corpus, "rt", encoding="utf-8") as lines:
            texts += [json.loads(line)["text"] for number, line in enumerate(lines) if number % every == 0]
    return texts


def best(work: Callable[[], object]) -> float:
    """Return the least processor seconds of three passes, after one that compiles."""
    work()
    times = []
    for _ in range(3):
        start = time.thread_time()
        work()
        times.append(time.thread_time() - start)
    return min(times)


def measure(peer: Path | None, texts: list[str], folder: Path) -> dict[str, dict[str, Any]]:
    import numpy as np
    import pyarrow as pa

    from tilth.filters.rules import Preset, judge, preset
    from tilth.filters.texts import Texts

    array = pa.array(texts, pa.large_string())
    size = sum(len(text.encode()) for text in texts)
    gopher, c4 = preset("gopher.dolma@1"), preset("c4.tfds@1")

    def decided(rules: Preset) -> Callable[[], object]:
        def work() -> dict[str, np.ndarray]:
            fresh = Texts.of(array)
            signals = rules.measure(fresh)
            judge(rules, [signals[rule.name] for rule in rules.rules])
            if rules.edits is not None:
                rules.edits(fresh)
            return dict(signals)

        return work

    ours = {name: best(decided(rules)) for name, rules in (("gopher", gopher), ("c4", c4))}
    figures = {f"{name}: MB/s": figure(size / 1e6 / seconds) for name, seconds in ours.items()}
    print(f"{size / 1e6:.1f} MB in {len(texts):,} documents")
    if peer is None:
        print(f"dolma {VERSION} is left out: it cannot be installed here (--peer names a Python that has it)")
        return figures
    given = folder / "texts.json"
    given.write_text(json.dumps(texts))
    done = subprocess.run([str(peer), __file__, "--tag", str(given)], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"dolma: {done.stderr.strip().splitlines()[-1]}")
    told = json.loads(done.stdout.splitlines()[-1])
    for name, seconds in ours.items():
        figures[f"{name}: dolma's MB/s"] = figure(size / 1e6 / told[name])
        figures[f"{name}: times dolma"] = figure(told[name] / seconds)
    both = (told["gopher"] + told["c4"]) / sum(ours.values())
    figures["Gopher and C4: times dolma"] = figure(both, FASTER)
    signals = gopher.measure(Texts.of(array))
    for mine, theirs in NAMES.items():
        # what dolma does not say of a text without such a run is 0 in ours
        expected = np.array([attributes.get(theirs, 0.0) for attributes in told["attributes"]])
        equal = float(np.isclose(signals[mine], expected, rtol=CLOSE, atol=0).mean())
        figures[f"{mine}: share of documents with dolma's value"] = figure(equal, 1.0)
    return figures


def figure(value: float, floor: float | None = None) -> dict[str, Any]:
    """Return a figure beside its floor."""
    return {"value": value, "floor": floor, "ok": floor is None or value >= floor}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", type=Path, help="a Python that has dolma")
    parser.add_argument("--tag", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="a quarter of the text")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    options = parser.parse_args()
    if options.tag:
        tag(options.tag)
        return
    if not CORPORA.is_dir():
        sys.exit("the texts lie in ../shared/data/corpora beside the repository; there is nothing to run without")
    with tempfile.TemporaryDirectory(prefix="tilth-dolma-") as name:
        peer = options.peer or environment(Path(name) / "environment")
        figures = measure(peer, sample(40 if options.quick else 10), Path(name))
    for name, told in figures.items():
        bound = "" if told["floor"] is None else f"   floor {told['floor']:g}{'' if told['ok'] else '   MISSED'}"
        print(f"{name:60}{told['value']:10.4g}{bound}")
    ok = all(told["ok"] for told in figures.values())
    if options.json:
        machine = f"{platform.processor() or platform.machine()}, Python {platform.python_version()}"
        print(json.dumps({"benchmark": "dolma", "machine": machine, "figures": figures, "ok": ok}))
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
