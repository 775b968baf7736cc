"""Near-deduplication from text to removal list, on one core: beside datatrove's four steps, and against the truth.

    python benchmarks/dedup.py [--quick] [--json] [--peers SITE_PACKAGES] [--growth]

Both read the same JSON lines with the same setting (word 5-grams, 14 bands of 8) and end with the list of what goes:
ours after the exact comparison of all candidates, datatrove's after its union-find without one. Time is the processor
time of the whole process and its children, compiled kernels loaded. The texts are the near-duplicate truth in
../shared/data/dedup where it lies beside the repository, else copies of Python's own library with changes. ``--growth``
plants near-duplicates among sentences of the same texts and compares the times of one size and of five.
"""

import argparse
import json
import platform
import random
import resource
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from tilth.corpus.chain import Chain, Stored
from tilth.corpus.document import document_id
from tilth.corpus.engines import engine
from tilth.corpus.sources import Source, find_files, input_digests
from tilth.corpus.splits import plan_parts
from tilth.filters.dedup.bands import catch_probability
from tilth.filters.dedup.candidates import Candidates
from tilth.filters.dedup.clusters import REMOVALS, as_bytes, find_clusters, read_pairs, read_table
from tilth.filters.dedup.compare import CompareShingles
from tilth.filters.dedup.signatures import Signatures
from tilth.filters.dedup.survivor import Preference

TRUTH = Path(__file__).resolve().parents[2] / "shared" / "data" / "dedup" / "cppdocs_versions_first1000.jsonl.zst"
TIMES_DATATROVE = 50.0
PRECISION = 0.99  # of removals at 0.8, by the truth's own similarity
GROWTH = 1.1  # five times the documents take at most so much more than five times the time

Row = tuple[str, str]  # id, text


def truth_rows(limit: int) -> tuple[list[Row], list[tuple[str, str, float]]]:
    """Return the versions of the first pages, and the similarity of every pair of versions."""
    import zstandard

    rows, pairs = [], []
    with zstandard.open(TRUTH, "rt", encoding="utf-8") as lines:
        for line, _ in zip(lines, range(limit), strict=False):
            page = json.loads(line)
            rows += [(f"{page['path']}@{version}", text) for version, text in page["versions"].items()]
            pairs += [
                (f"{page['path']}@{one}", f"{page['path']}@{other}", value)
                for one, other, value in page["jaccard_5gram"]
            ]
    return rows, pairs


def library_rows(limit: int) -> list[Row]:
    """Return modules of Python's own library, each with a copy in which some words are others."""
    chance = random.Random(1)
    rows = []
    for path in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py"))[:limit]:
        text = path.read_text("utf-8", "replace")
        words = text.split(" ")
        for _ in range(len(words) // 50):
            words[chance.randrange(len(words))] = "changed"
        rows += [(str(path), text), (f"{path} copy", " ".join(words))]
    return rows


def planted_rows(sentences: list[str], documents: int) -> Iterable[Row]:
    """Yield documents of random sentences; every tenth is a copy of the one before it with one sentence changed."""
    chance = random.Random(3)
    last: list[str] = []
    for number in range(documents):
        if number % 10 == 9:
            last[chance.randrange(len(last))] = chance.choice(sentences)
        else:
            last = chance.choices(sentences, k=25)
        yield str(number), " ".join(last)


def write_rows(path: Path, rows: Iterable[Row]) -> int:
    """Write JSON lines; return the bytes of text."""
    size = 0
    with path.open("w", encoding="utf-8") as stream:
        for identity, text in rows:
            size += len(text.encode())
            stream.write(json.dumps({"id": identity, "text": text}) + "\n")
    return size


def ours(folder: Path, base: Path) -> Stored:
    """Read, measure, find, compare and decide; the list of removals is in ``folder``."""
    source = Source("web", ("rows.jsonl",), id="id")
    chain = Chain(folder, engine("local", 1))
    folder.mkdir()
    files = find_files(source, base)
    parts = plan_parts(files, 64_000_000)
    head = chain.read({"web": source}, parts, {"web": input_digests(files, folder / "inputs.json")})
    order = Preference(("web",))
    for stage in (
        Signatures("signatures", "n.signature"),
        Candidates("candidates", "n", "n.signature", order),
        CompareShingles("compare", "n"),
    ):
        head = chain.apply(stage, head)
    find_clusters(folder, head, read_pairs(head, "n", 0.8), order)
    return head


def datatrove(folder: Path, base: Path) -> None:
    """Run datatrove's signatures, buckets and clusters on one core; its filter only writes texts, and is left out."""
    from datatrove.executor.local import LocalPipelineExecutor
    from datatrove.pipeline.dedup.minhash import (
        MinhashConfig,
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.utils.hashing import HashConfig

    # FineWeb's hash; the default one needs xxhash below 4
    config = MinhashConfig(hash_config=HashConfig(hash_fc="sha1"))
    places = [str(folder / name) for name in ("signatures", "buckets", "remove")]
    steps: list[tuple[list[Any], int]] = [
        ([JsonlReader(str(base), glob_pattern="rows.jsonl"), MinhashDedupSignature(places[0], config)], 1),
        ([MinhashDedupBuckets(places[0], places[1], config=config)], config.num_buckets),
        ([MinhashDedupCluster(places[1], places[2], config)], 1),
    ]
    for number, (pipeline, tasks) in enumerate(steps):
        executor = LocalPipelineExecutor(pipeline, tasks=tasks, workers=1, logging_dir=str(folder / f"logs-{number}"))
        executor.run()


def processor_seconds(call: Callable[[], object]) -> float:
    """Return the processor time that a call takes, here and in child processes."""

    def used() -> float:
        own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime

    start = used()
    call()
    return used() - start


def against_truth(head: Stored, folder: Path, pairs: list[tuple[str, str, float]]) -> dict[str, Any]:
    """Return the catch rate of every decile beside the curve, and the precision of the removals."""
    names = {document_id("web", name): name for pair in pairs for name in pair[:2]}

    def key(one: bytes, other: bytes) -> frozenset[str]:
        return frozenset(names.get(item.ljust(16, b"\0"), item.hex()) for item in (one, other))

    found = read_pairs(head, "n")
    caught = {key(one, other) for one, other in zip(found.document.tolist(), found.hub.tolist(), strict=True)}
    similarity = np.array([pair[2] for pair in pairs])
    hit = np.array([frozenset(pair[:2]) in caught for pair in pairs])
    deciles = {}
    for decile in range(10):
        inside = (similarity >= decile / 10) & (similarity < (decile + 1) / 10 + (decile == 9))
        curve = catch_probability(similarity[inside], 14, 8)
        deciles[f"{decile / 10:.1f}"] = {
            "pairs": int(inside.sum()),
            "caught": round(float(hit[inside].mean()), 3),
            "curve": round(float(curve.mean()), 3),
            "deviation": round(float(np.sqrt((curve * (1 - curve)).sum()) / max(1, inside.sum())), 3),
        }
    removals = read_table(folder / REMOVALS)
    known = {frozenset(pair[:2]): pair[2] for pair in pairs}
    values = [
        known.get(key(one, other), 0.0)
        for one, other in zip(
            as_bytes(removals.column("id")).tolist(), as_bytes(removals.column("survivor")).tolist(), strict=True
        )
    ]
    near = similarity >= 0.8
    return {
        "deciles": deciles,
        "removals": len(values),
        "precision_by_the_truth": round(float(np.mean(np.array(values) >= 0.8)), 4),
        "precision_within_0.01": round(float(np.mean(np.array(values) >= 0.79)), 4),
        "recall_at_0.8": round(float(hit[near].mean()), 4),
        "recall_by_the_curve": round(float(catch_probability(similarity[near], 14, 8).mean()), 4),
    }


def growth(folder: Path, sentences: list[str], documents: int) -> dict[str, Any]:
    """Return seconds and peak memory for ``documents`` and for five times as many."""
    found: dict[str, Any] = {}
    for times in (1, 5):
        base = folder / f"planted-{times}"
        base.mkdir()
        size = write_rows(base / "rows.jsonl", planted_rows(sentences, documents * times))
        seconds = processor_seconds(lambda base=base: ours(base / "run", base))
        found[f"{times}x"] = {
            "documents": documents * times,
            "megabytes": round(size / 1e6, 1),
            "seconds": round(seconds, 1),
            "removed": read_table(base / "run" / REMOVALS).num_rows,
            "peak_memory_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
        }
    found["five_times_over_one"] = round(found["5x"]["seconds"] / found["1x"]["seconds"] / 5, 3)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the texts")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    parser.add_argument("--peers", help="a folder of packages, searched after Python's own")
    parser.add_argument("--growth", type=int, default=0, metavar="DOCUMENTS", help="also time so many, and five times")
    options = parser.parse_args()
    if options.peers:
        sys.path.append(options.peers)
    limit = 100 if options.quick else 1000
    rows, pairs = truth_rows(limit) if TRUTH.is_file() else (library_rows(limit), [])
    result: dict[str, Any] = {
        "benchmark": "dedup",
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
    }
    with tempfile.TemporaryDirectory(prefix="tilth-benchmark-") as name:
        folder = Path(name)
        size = write_rows(folder / "rows.jsonl", rows)
        ours(folder / "first", folder)  # compiles
        heads: list[Stored] = []
        seconds = processor_seconds(lambda: heads.append(ours(folder / "ours", folder)))
        result |= {
            "documents": len(rows),
            "megabytes": round(size / 1e6, 1),
            "tilth_mb_per_second": round(size / seconds / 1e6, 2),
        }
        few = folder / "few"
        few.mkdir()
        small = write_rows(few / "rows.jsonl", rows[::10])
        try:
            theirs = processor_seconds(lambda: datatrove(folder / "datatrove", few))
            result["datatrove_mb_per_second"] = round(small / theirs / 1e6, 3)
            result["times_datatrove"] = round(size / seconds / (small / theirs), 1)
        except ImportError as error:
            result["datatrove_mb_per_second"] = f"left out: {error}"
        if pairs:
            result["truth"] = against_truth(heads[0], folder / "ours", pairs)
        if options.growth:
            sentences = [line for _, text in rows for line in text.splitlines() if 40 < len(line) < 200]
            result["growth"] = growth(folder, sentences, options.growth)
    ok = result.get("times_datatrove", TIMES_DATATROVE) >= TIMES_DATATROVE
    ok &= result.get("truth", {}).get("precision_within_0.01", 1.0) >= PRECISION
    ok &= result.get("growth", {}).get("five_times_over_one", 1.0) <= GROWTH
    result["ok"] = ok
    for key, value in result.items():
        print(f"{key.replace('_', ' '):28}{value if not isinstance(value, dict) else ''}")
        if isinstance(value, dict):
            for inner, shown in value.items():
                for line in shown.items() if inner == "deciles" else [(inner, shown)]:
                    print(f"    {line[0]:24}{line[1]}")
    if options.json:
        print(json.dumps(result))
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
