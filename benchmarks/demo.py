"""The demonstration, timed: wall times of its parts, set digests on three engines, bits per byte before and after.

    python benchmarks/demo.py [--quick] [--json]

Runs the demonstration's recipe on text harvested from this Python, in a temporary folder: its corpus half with
``--engine local --workers 1``, ``--workers 2`` and ``--engine beam``, whose set digests must be equal stage by stage,
then all of it, then all of it again, which must redo nothing. ``--quick`` harvests 300 KB a source and trains
a smaller model for 10 steps.
There is no peer that does the same job; what is compared is what must be equal.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from tilth.demo import RECIPE
from tilth.demo.harvest import harvest

ENGINES = {
    "local, 1 worker": ("--engine", "local", "--workers", "1"),
    "local, 2 workers": ("--engine", "local", "--workers", "2"),
    "beam": ("--engine", "beam"),
}
WARM_SECONDS = 240.0  # what a second demonstration may take when the packages are installed, of issue and README
AGAIN_SECONDS = 20.0


def tilth(*arguments: str) -> tuple[dict[str, Any], float]:
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "tilth.cli", *arguments, "--json"], capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"tilth {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
    return json.loads(done.stdout.splitlines()[-1]), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="300 KB a source, 10 steps of a smaller model")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tilth-benchmark-") as name:
        result = measure(Path(name), quick=options.quick)
    show(result)
    if options.json:
        print(json.dumps(result))
    sys.exit(0 if result["ok"] else 1)


def measure(folder: Path, *, quick: bool) -> dict[str, Any]:
    start = time.perf_counter()
    corpus = harvest(folder / "input", maximum_bytes_per_source=300_000 if quick else 10_000_000)
    harvested = time.perf_counter() - start
    recipe = yaml.safe_load(RECIPE.read_text())
    if quick:
        recipe["part_size"] = "500 KB"
        recipe["tokenizer"]["vocabulary"] = 2000
        recipe["train"]["model"] |= {"layers": 2, "hidden_size": 64, "sequence_length": 128}
        recipe["train"]["optimisation"] |= {"steps": 10, "batch_size": 8, "warmup_steps": 2}
        recipe["evaluate"]["bytes_per_source"] = "4 KB"
    path = folder / "input" / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    last = recipe["stages"][-1].get("name", recipe["stages"][-1]["use"])
    digests, seconds = {}, {}
    for number, (engine, arguments) in enumerate(ENGINES.items()):
        runs = str(folder / f"runs-{number}")
        done, seconds[engine] = tilth("run", str(path), "--runs", runs, "--until", last, *arguments)
        digests[engine] = {stage["name"]: stage["set_digest"] for stage in done["stages"]}
    whole, warm = tilth("run", str(path), "--runs", str(folder / "runs"))
    again, again_seconds = tilth("run", str(path), "--runs", str(folder / "runs"))
    equal = all(found == digests["beam"] for found in digests.values())
    redone = [step for step, reused in again["reused"].items() if not reused and step != "report"]
    before, after = whole["bits_per_byte"]["before"], whole["bits_per_byte"]["after"]
    worse = [source for source in before if not after[source] < before[source]]
    figures = {
        "corpus_mb": round(corpus.bytes / 1e6, 2),
        "sources": len(corpus.sources),
        "harvest_seconds": round(harvested, 1),
        "corpus_seconds": {engine: round(value, 1) for engine, value in seconds.items()},
        "warm_seconds": round(harvested + warm, 1),
        "again_seconds": round(again_seconds, 1),
        "step_seconds": whole["seconds"],
        "funnel": [{key: stage[key] for key in ("name", "documents_out", "bytes_out")} for stage in whole["stages"]],
        "set_digests": digests,
        "bits_per_byte": {"before": before, "after": after},
    }
    floors = {
        "corpus_mb": 0.0 if quick else 20.0,
        "sources": 5,
        "harvest_seconds": 30.0,
        "warm_seconds": WARM_SECONDS,
        "again_seconds": AGAIN_SECONDS,
        "set_digests": "equal on every engine, stage by stage",
        "redone_the_second_time": [],
        "sources_without_fewer_bits_per_byte": [],
    }
    ok = (
        equal
        and not redone
        and not worse
        and figures["corpus_mb"] >= floors["corpus_mb"]
        and figures["sources"] >= floors["sources"]
        and all(figures[key] <= floors[key] for key in ("harvest_seconds", "warm_seconds", "again_seconds"))
    )
    found = {"redone_the_second_time": redone, "sources_without_fewer_bits_per_byte": worse}
    return {"benchmark": "demo", "quick": quick, "figures": figures | found, "floors": floors, "ok": ok}


def show(result: dict[str, Any]) -> None:
    figures = result["figures"]
    print(f"corpus           {figures['corpus_mb']} MB, {figures['sources']} sources, {figures['harvest_seconds']} s")
    for engine, seconds in figures["corpus_seconds"].items():
        print(f"{engine:<16} {seconds:6.1f} s to the last stage of the corpus")
    for step, seconds in figures["step_seconds"].items():
        print(f"  {step:<14} {seconds:6.1f} s")
    print(f"whole, harvested {figures['warm_seconds']:6.1f} s (at most {WARM_SECONDS:.0f})")
    print(f"again            {figures['again_seconds']:6.1f} s (at most {AGAIN_SECONDS:.0f})")
    print("set digests")
    for stage, digest in figures["set_digests"]["beam"].items():
        same = all(found[stage] == digest for found in figures["set_digests"].values())
        print(f"  {stage:<14} {digest}  {'equal on all three' if same else 'DIFFERENT'}")
    print("bits per byte    before   after")
    for source, before in figures["bits_per_byte"]["before"].items():
        print(f"  {source:<14} {before:7.3f} {figures['bits_per_byte']['after'][source]:7.3f}")
    print("ok" if result["ok"] else "NOT OK")


if __name__ == "__main__":
    main()
