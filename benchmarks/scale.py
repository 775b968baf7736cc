"""Near-deduplication at scale: time for each document and peak memory at one size and at five times as many.

    python benchmarks/scale.py [--quick] [--json] [--documents N] [--workers N] [--folder FOLDER]

Documents are drawn by seed from real sentences (../shared/data/corpora where it lies beside the repository, else
Python's own library): five or six sentences, some 500 bytes; every tenth is the one before it with one word changed.
Each size is a whole `tilth run` in processes of its own, with `memory: 2 GiB`. Processor time is that of all its
processes, the peak that of the largest one, both looked at ten times a second. Disk: about four times the texts.
"""

import argparse
import json
import platform
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

CORPORA = Path(__file__).resolve().parents[2] / "shared" / "data" / "corpora"
MEMORY = 2 << 30
TIMES = 5
GROWTH = 1.1  # processor time a document at five times as many documents, over that at one
FOUND = 0.95  # of the planted copies; the curve of 14 x 8 promises more at their similarities
FILES = 8

RECIPE = """
name: run
memory: {memory}
sources:
  - {{name: web, path: "*.jsonl", id: id}}
stages:
  - {{use: deduplicate, by: near, allowance: 1.0}}
"""


def sentences(most: int = 200_000) -> list[str]:
    """Return distinct sentences of 40 to 160 characters, as JSON writes them between its quotes."""
    found: dict[str, None] = {}
    for text in texts():
        for line in text.splitlines():
            for one in line.split(". "):
                if 40 < len(one) < 160:
                    found[json.dumps(one)[1:-1]] = None
        if len(found) >= most:
            break
    return list(found)[:most]


def texts() -> Any:
    """Yield real texts."""
    if CORPORA.is_dir():
        import zstandard

        for path in sorted(CORPORA.glob("*.zst")):
            with zstandard.open(path, "rt", encoding="utf-8") as lines:
                for number, line in enumerate(lines):
                    if number % 4 == 0:
                        yield json.loads(line)["text"]
    else:
        for path in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")):
            yield path.read_text("utf-8", "replace")


def write_documents(folder: Path, pool: list[str], documents: int) -> tuple[int, int]:
    """Write JSON lines into some files; return their bytes and the number of planted copies."""
    chance = np.random.Generator(np.random.PCG64(documents))
    folder.mkdir()
    planted = size = number = 0
    for file in range(FILES):
        with (folder / f"{file}.jsonl").open("w", encoding="utf-8") as stream:
            count = documents // FILES
            drawn = chance.integers(0, len(pool), (count, 6)).tolist()
            lengths = chance.integers(5, 7, count).tolist()
            places = chance.random(count).tolist()
            text = ""
            for row, length, place in zip(drawn, lengths, places, strict=True):
                if number % 10 == 9:
                    words = text.split(" ")
                    words[int(place * len(words))] = "changed"
                    text = " ".join(words)
                    planted += 1
                else:
                    text = ". ".join([pool[one] for one in row[:length]])
                size += stream.write(f'{{"id":"{number}","text":"{text}"}}\n')
                number += 1
    return size, planted


def watched(process: "subprocess.Popen[bytes]") -> tuple[float, int]:
    """Wait for a process; return the processor seconds of all its family, and the peak bytes of the largest of it."""
    seconds: dict[int, float] = {}
    peak = 0
    root = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            family = [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            break
        for one in family:
            try:
                times = one.cpu_times()
                seconds[one.pid] = times.user + times.system
                peak = max(peak, one.memory_info().rss)
            except (psutil.NoSuchProcess, psutil.ZombieProcess):
                continue  # it came to its end in between
        time.sleep(0.1)
    if process.wait():
        sys.exit(f"tilth run ended with {process.returncode}")
    return sum(seconds.values()), peak


def measured(folder: Path, pool: list[str], documents: int, workers: int) -> dict[str, Any]:
    """Run the recipe on so many documents and return what it took."""
    size, planted = write_documents(folder, pool, documents)
    recipe = folder / "recipe.yaml"
    recipe.write_text(RECIPE.format(memory=MEMORY))
    start = time.perf_counter()
    command = ["-m", "tilth.cli", "run", str(recipe), "--runs", str(folder), "--workers", str(workers)]
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL)
    processor, peak = watched(process)
    wall = time.perf_counter() - start
    index = json.loads((folder / "run" / "run.json").read_bytes())
    manifest = json.loads((folder / "run" / "stages" / index["stages"][-1] / "_manifest.json").read_bytes())["account"]
    return {
        "documents": documents,
        "megabytes": round(size / 1e6, 1),
        "planted": planted,
        "removed": manifest["documents_in"] - manifest["documents_out"],
        "wall_seconds": round(wall, 1),
        "processor_seconds": round(processor, 1),
        "processor_microseconds_a_document": round(processor / documents * 1e6, 1),
        "peak_megabytes": round(peak / 1e6),
        "seconds_by_step": index["seconds"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="20,000 documents and five times as many")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    parser.add_argument("--documents", type=int, default=1_000_000, help="the smaller size")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", help="where to write; by default the folder for temporary files")
    options = parser.parse_args()
    small = 20_000 if options.quick else options.documents
    pool = sentences()
    sizes = []
    for documents in (small, small * TIMES):
        with tempfile.TemporaryDirectory(prefix="tilth-benchmark-", dir=options.folder) as name:
            sizes.append(measured(Path(name) / "corpus", pool, documents, options.workers))
            print(json.dumps(sizes[-1]), flush=True)
    one, five = (size["processor_microseconds_a_document"] for size in sizes)
    result: dict[str, Any] = {
        "benchmark": "scale",
        "machine": f"{platform.machine()}, Python {platform.python_version()}, {options.workers} workers",
        "sizes": sizes,
        "five_times_over_one": round(five / one, 3),
        "floors": {"five_times_over_one": GROWTH, "peak_megabytes": MEMORY / 1e6, "found": FOUND},
    }
    # what a run takes before it looks at a document weighs on the smaller size: more than linear is what is looked for
    result["ok"] = (
        five / one <= GROWTH
        and all(size["peak_megabytes"] <= MEMORY / 1e6 for size in sizes)
        and all(size["removed"] >= FOUND * size["planted"] for size in sizes)
    )
    print(
        f"five times over one: {result['five_times_over_one']}, floor {GROWTH}; {'held' if result['ok'] else 'MISSED'}"
    )
    if options.json:
        print(json.dumps(result))
    sys.exit(0 if result["ok"] else 1)


if __name__ == "__main__":
    main()
