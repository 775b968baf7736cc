"""One large file: seconds and memory of a run that reads it with one worker and with two, plain and in zstd frames.

    python benchmarks/large_file.py [--quick] [--json]

JSON lines of 5 GB (``--quick``: 0.2 GB), plain and in zstd frames of 16 MB, are read by ``tilth run --until read``. The
text is that of ../shared/data/corpora over and over where it lies beside the repository, else generated words. The peak
of every process's memory is read from /proc, so this needs Linux; each must stay below 1 GiB, and all runs must come to
the same documents in each file. No peer stands beside: to datatrove one file is one task. It takes 9 GB of disk.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import orjson
import zstandard

ROOT = Path(__file__).parents[1]
CORPORA = ROOT.parent / "shared/data/corpora"
MEMORY = 1 << 30  # bytes a process, the most that is allowed
FRAME = 16 << 20  # bytes of text


def text() -> bytes:
    """Return some 100 MB of JSON lines."""
    found = [zstandard.open(path, "rb").read() for path in sorted(CORPORA.glob("*.jsonl.zst"))]
    if found:
        return b"".join(lines.removesuffix(b"\n") + b"\n" for lines in found)
    chance = random.Random(0)
    words = ["".join(chance.choices("etaoinshrdlucmfwypvbgkjqxzéü", k=chance.randint(2, 10))) for _ in range(20_000)]
    texts = (" ".join(chance.choices(words, k=chance.randint(50, 1_200))) for _ in range(25_000))
    return b"".join(orjson.dumps({"text": one}) + b"\n" for one in texts)


def lay_out(folder: Path, size: int) -> None:
    """Write the two files, of at least ``size`` bytes of lines each."""
    lines = text()
    pack = zstandard.ZstdCompressor(level=1, write_checksum=True).compress
    frames = [pack(lines[start : start + FRAME]) for start in range(0, len(lines), FRAME)]
    with (folder / "plain.jsonl").open("wb") as plain, (folder / "packed.jsonl.zst").open("wb") as packed:
        for _ in range(-(-size // len(lines))):
            plain.write(lines)
            packed.writelines(frames)


def descendants(process: int) -> list[int]:
    """Return the processes that ``process`` started, and theirs."""
    found: list[int] = []
    for children in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            for child in map(int, children.read_text().split()):
                found += [child, *descendants(child)]
        except OSError:
            continue  # it has ended
    return found


def peak_memory(process: int) -> int:
    """Return the most memory that a process has held, in bytes; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def processor_seconds(process: int) -> float:
    """Return the processor time of a process, user's and system's (proc(5), fields 14 and 15); 0 where it has ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(folder: Path, name: str, workers: int) -> dict[str, Any]:
    """Read one file with ``workers`` workers."""
    recipe = folder / "recipe.yaml"
    recipe.write_text(f"name: large\npart_size: 16 MB\nsources:\n  - name: large\n    path: {name}\n")
    command = [sys.executable, "-m", "tilth.cli", "run", str(recipe), "--until", "read", "--workers", str(workers)]
    with tempfile.TemporaryDirectory(dir=folder) as runs:
        began = time.perf_counter()
        run = subprocess.Popen(
            [*command, "--runs", runs, "--json"],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        most = 0
        spent: dict[int, float] = {}  # process -> seconds, as last seen: the workers are not children of the run alone
        while run.poll() is None:
            for process in (run.pid, *descendants(run.pid)):
                most = max(most, peak_memory(process))
                spent[process] = max(spent.get(process, 0.0), processor_seconds(process))
            time.sleep(0.1)
        seconds = time.perf_counter() - began
        said = run.communicate()[0]
    if run.returncode:
        sys.exit(said.decode())
    (stage,) = json.loads(said)["stages"]
    return {
        "seconds": round(seconds, 1),
        "processor_seconds": round(sum(spent.values()), 1),
        "peak_mb": round(most / 1e6),
        "limit_mb": round(MEMORY / 1e6),
        "documents": stage["documents_out"],
        "text_mb": round(stage["bytes_out"] / 1e6, 1),
        "set_digest": stage["set_digest"],
        "ok": most < MEMORY,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="0.2 GB in place of 5")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    options = parser.parse_args()
    figures: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="tilth-benchmark-") as name:
        lay_out(Path(name), 200_000_000 if options.quick else 5_000_000_000)
        print(f"{'':24}{'workers':>8}{'text MB':>9}{'seconds':>9}{'processor s':>13}{'peak MB':>9}  documents")
        for file in ("plain.jsonl", "packed.jsonl.zst"):
            for workers in (1, 2):
                one = figures[f"{file}, {workers}"] = measure(Path(name), file, workers)
                cells = f"{one['text_mb']:>9}{one['seconds']:>9}{one['processor_seconds']:>13}{one['peak_mb']:>9}"
                print(f"{file:24}{workers:>8}{cells}  {one['documents']:,} {one['set_digest'][:8]}", flush=True)
            digests = {figures[f"{file}, {workers}"]["set_digest"] for workers in (1, 2)}
            figures[f"{file}, same documents"] = {"floor": 1, "digests": len(digests), "ok": len(digests) == 1}
    ok = all(figure["ok"] for figure in figures.values())
    if options.json:
        print(json.dumps({"benchmark": "large_file", "quick": options.quick, "figures": figures, "ok": ok}))
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
