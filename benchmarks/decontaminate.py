"""Decontamination: recall on planted examples, alarms on clean text, and speed.

    python benchmarks/decontaminate.py SETS [--json]

``SETS`` are evaluation sets as JSON lines, such as BoolQ, LAMBADA and single sentences of reviews. Every third example
is planted into a host document, its longest text verbatim and with 2, 5 and 10 % of the words replaced; it counts as
found where the host is measured at the default share of its n-grams. Alarms are documents of the clean texts in
../shared/data/corpora (a sixth of them) that reach the share: some are none, since BoolQ's passages come from an
encyclopedia that is among them. Time is the processor time of the one thread that works.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tilth.filters.decontamination.benchmarks import Benchmark
from tilth.filters.decontamination.contamination import Held, held
from tilth.filters.decontamination.ngrams import (
    EXAMPLES,
    Index,
    find_matches,
    index_digest,
    load_index,
    write_index,
)
from tilth.filters.dedup.clusters import read_table
from tilth.filters.dedup.units import units_of
from tilth.filters.texts import Texts

CORPORA = Path(__file__).resolve().parents[2] / "shared" / "data" / "corpora"
WORDS, MINIMUM_WORDS, SHARE = 13, 5, 0.1  # the defaults of a recipe
RECALL = 0.99  # of verbatim examples that are long enough to be looked for
RATES = (0.0, 0.02, 0.05, 0.1)


def clean_texts() -> list[str]:
    """Return a sixth of the shared texts."""
    import zstandard

    found = []
    for path in sorted(CORPORA.glob("*.zst")):
        with zstandard.open(path, "rt", encoding="utf-8") as lines:
            found += [json.loads(line)["text"] for line in lines][::6]
    return found


def planted(example: str, host: str, rate: float, chance: random.Random) -> str:
    """Return a host with an example in it, so many of whose words are others."""
    words = ["changed" if chance.random() < rate else word for word in example.split(" ")]
    own = host[:1500].split(" ")
    place = chance.randrange(len(own))
    return " ".join([*own[:place], *words, *own[place:]])


def measured(index: Index, texts: list[str]) -> Held:
    return held(find_matches(index, units_of(Texts.of(pa.array(texts, pa.large_string())))), index.ngrams)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="+")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    options = parser.parse_args()
    benchmarks = [Benchmark(Path(path).stem, path) for path in options.sets]
    chance = random.Random(1)
    clean = clean_texts()
    result: dict[str, Any] = {"benchmark": "decontaminate"}
    with tempfile.TemporaryDirectory(prefix="tilth-benchmark-") as name:
        folder = Path(name)
        write_index(folder, benchmarks, WORDS, MINIMUM_WORDS)
        index = load_index(name, index_digest(folder))
        owners = np.array(read_table(folder / EXAMPLES).column("benchmark").to_pylist())
        usable = read_table(folder / EXAMPLES).column("passages").to_numpy() > 0
        longest = [max(texts, key=len, default="") for one in benchmarks for texts in one.examples()]
        measured(index, clean[:10])  # compiles
        start = time.thread_time()
        found = measured(index, clean)
        seconds = time.thread_time() - start
        size = sum(len(text.encode()) for text in clean)
        result["mb_per_second"] = round(size / seconds / 1e6, 1)
        result["clean"] = {"documents": len(clean), "megabytes": round(size / 1e6, 1)}
        reached = found.share >= SHARE
        result["clean"]["documents_at_the_share"] = len(np.unique(found.document[reached]))
        result["clean"]["examples_at_the_share"] = {
            one.name: int((owners[index.example[found.passage[reached]]] == one.name).sum()) for one in benchmarks
        }
        chosen = np.arange(0, len(longest), 3)
        for rate in RATES:
            hosts = [planted(longest[number], chance.choice(clean), rate, chance) for number in chosen.tolist()]
            own = measured(index, hosts)
            best = np.zeros(len(hosts))
            mine = index.example[own.passage] == chosen[own.document]
            np.maximum.at(best, own.document[mine], own.share[mine])
            caught = best >= SHARE
            result[f"recall_at_{rate:.0%}_changed"] = {
                one.name: {
                    "all": round(float(caught[owners[chosen] == one.name].mean()), 4),
                    "long_enough": round(float(caught[(owners[chosen] == one.name) & usable[chosen]].mean()), 4),
                }
                for one in benchmarks
            }
    verbatim = [shares["long_enough"] for shares in result["recall_at_0%_changed"].values()]
    result["ok"] = min(verbatim) >= RECALL
    for key, value in result.items():
        print(f"{key.replace('_', ' '):28}{value}")
    if options.json:
        print(json.dumps(result))
    sys.exit(0 if result["ok"] else 1)


if __name__ == "__main__":
    main()
