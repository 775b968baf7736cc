"""What another limit would keep of a million documents: processor seconds from the stored run to the answer.

    python benchmarks/whatif.py [--documents 1000000] [--quick] [--json]

The documents are made (a few words each, numbered, so that every one is different), read, measured and judged by
``gopher.datatrove@1`` in a temporary folder. Then a changed limit is asked for in a fresh process, as the command line
would: the time counts from the opened chain to the answer, and the time of the whole process stands beside it. The
peers have nothing to compare with: datatrove and dolma would run again over the text.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tilth.corpus.chain import Chain, open_chain
from tilth.corpus.engines import engine
from tilth.corpus.sources import Source, find_files, input_digests
from tilth.corpus.splits import plan_parts
from tilth.filters.apply_rules import ApplyRules
from tilth.filters.measure import Measure
from tilth.filters.what_if import sweep, what_if

PRESET = "gopher.datatrove@1"
MOST_SECONDS = 0.5
PART = 16 << 20  # bytes of input a part


clock = time.process_time  # of all threads: a busy machine changes little


def build(root: Path, documents: int) -> None:
    """Write and run a corpus in two sources."""
    digests, sources, files = {}, {}, []
    for name, share in (("field", 2), ("garden", 1)):
        path = root / f"{name}.jsonl"
        with path.open("w", encoding="utf-8") as lines:
            for number in range(documents * share // 3):
                text = f"The oats of row {number} stand with the barley. " * (number % 7)
                lines.write(json.dumps({"text": text}) + "\n")
        sources[name] = Source(name, (str(path),))
        found = find_files(sources[name], root)
        digests[name] = input_digests(found, root / "digests.json")
        files += found
    chain = Chain(root / "run", engine("local", 2))
    stored = chain.read(sources, plan_parts(tuple(files), PART), digests)
    stored = chain.apply(Measure("rules-signals", (PRESET,)), stored)
    stored = chain.apply(ApplyRules("rules", PRESET), stored)
    names = [step.folder.name for step in chain.done]
    (root / "run" / "run.json").write_text(json.dumps({"name": "run", "stages": names}), encoding="utf-8")


def ask(root: Path) -> dict[str, Any]:
    """Ask once, then again, then for a sweep; seconds of each."""
    start = clock()
    chain = open_chain(root / "run")
    opened = clock()
    answer = what_if(chain, ["words=20.."])
    first = clock()
    what_if(chain, ["words=30..", "stop_words=1"])
    again = clock()
    sweep(chain, "words", ["10..", "20..", "30..", "40..", "50.."])
    swept = clock()
    return {
        "documents": answer.total.documents,
        "open": opened - start,
        "first": first - opened,
        "again": again - first,
        "sweep_of_five": swept - again,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--quick", action="store_true", help="a tenth of the documents")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    parser.add_argument("--ask", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ask:
        print(json.dumps(ask(options.ask)))
        return
    with tempfile.TemporaryDirectory(prefix="tilth-whatif-") as folder:
        start = time.perf_counter()
        build(Path(folder), options.documents // (10 if options.quick else 1))
        built = time.perf_counter() - start
        start = time.perf_counter()
        asked = subprocess.run(
            [sys.executable, __file__, "--ask", folder], check=True, capture_output=True, text=True
        ).stdout
        whole = time.perf_counter() - start
    figures = json.loads(asked)
    ok = figures["first"] < MOST_SECONDS
    print(f"{figures['documents']:,} documents, read, measured and judged in {built:.1f} s")
    for name in ("open", "first", "again", "sweep_of_five"):
        bound = f"   bound {MOST_SECONDS:g} s{'' if ok else '   MISSED'}" if name == "first" else ""
        print(f"{name.replace('_', ' '):16}{figures[name]:8.3f} s{bound}")
    print(f"{'whole process':16}{whole:8.3f} s")
    if options.json:
        machine = f"{platform.processor() or platform.machine()}, Python {platform.python_version()}"
        print(json.dumps({"benchmark": "whatif", "machine": machine, **figures, "whole_process": whole, "ok": ok}))
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
