"""Near-deduplication from text to removal list, on one core: beside datatrove's four steps, and against the truth.

    python benchmarks/dedup.py [--quick] [--json] [--peers SITE_PACKAGES]

All read the same JSON lines with the same setting (word 5-grams, 14 bands of 8) and end with the list of what goes:
ours after the exact comparison of all candidates; datatrove after its union-find without one; so do rensa's
deduplicator, to which Python cuts the shingles, and text-dedup. A peer that is not installed is left out. Time is the
processor time of the whole process and its children, compiled kernels loaded. The texts are the near-duplicate truth in
../shared/data/dedup where it lies beside the repository, else copies of Python's own library with changes. What
millions of documents take is told by `scale.py`.
"""

import argparse
import importlib.util
import json
import os
import platform
import random
import resource
import subprocess
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
    from loguru import logger

    logger.disable("datatrove")
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


def rensa(folder: Path, base: Path) -> None:
    """Add every document to rensa's deduplicator and list what it refuses; Python cuts the shingles at white space."""
    from rensa import RMinHash, RMinHashDeduplicator

    found = RMinHashDeduplicator(threshold=0.8, num_perm=112, use_lsh=True, num_bands=14)
    removed = []
    with (base / "rows.jsonl").open(encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            words = row["text"].lower().split()
            shingles = {" ".join(words[place : place + 5]) for place in range(max(1, len(words) - 4))}
            signature = RMinHash(num_perm=112, seed=42)
            signature.update(list(shingles))
            if not found.add(row["id"], signature):
                removed.append(row["id"])
    folder.mkdir()
    (folder / "removed.txt").write_text("\n".join(removed))


def text_dedup(folder: Path, base: Path) -> None:
    """Run text-dedup's MinHash as a program, one process."""
    if importlib.util.find_spec("text_dedup") is None:
        raise ImportError("No module named 'text_dedup'")
    command = [sys.executable, "-m", "text_dedup.minhash", "--path", "json", "--data_files", str(base / "rows.jsonl")]
    command += ["--split", "train", "--column", "text", "--num_perm", "112", "--ngram", "5", "--b", "14", "--r", "8"]
    command += ["--num_proc", "1", "--cache_dir", str(folder / "cache"), "--output", str(folder / "output")]
    places = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": places}, capture_output=True, text=True)
    if done.returncode:
        raise ImportError(f"text-dedup does not run here: {done.stderr.strip().splitlines()[-1]}")


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the texts")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    parser.add_argument("--peers", help="a folder of packages, searched after Python's own")
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
        for peer in (datatrove, rensa, text_dedup):
            name = peer.__name__
            try:
                theirs = processor_seconds(lambda peer=peer, name=name: peer(folder / name, few))
                result[f"{name}_mb_per_second"] = round(small / theirs / 1e6, 3)
                result[f"times_{name}"] = round(size / seconds / (small / theirs), 1)
            except ImportError as error:
                result[f"{name}_mb_per_second"] = f"left out: {error}"
        if pairs:
            result["truth"] = against_truth(heads[0], folder / "ours", pairs)
    ok = result.get("times_datatrove", TIMES_DATATROVE) >= TIMES_DATATROVE
    ok &= result.get("truth", {}).get("precision_within_0.01", 1.0) >= PRECISION
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
