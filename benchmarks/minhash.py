"""MinHash signatures: MB of text a second on one core, from Arrow text to 112 values, beside peers on the same texts.

    python benchmarks/minhash.py [--quick] [--json] [--peers SITE_PACKAGES]

112 hashes over word 5-grams. Ours splits words, normalises, shingles and hashes in one pass; rensa is given the
shingles as strings that Python cut at white space, and that cutting counts, since it cannot do without; datatrove is
its own MinhashDedupSignature (spaCy words). Peers that are not installed are left out, and said so; ``--peers`` names a
folder of packages to look for them in. Time is the processor time of the one thread that works; the best of the passes
counts. The text is that of ../shared/data/corpora where it lies beside the repository, else Python's own library.
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

import pyarrow as pa

from tilth.filters.dedup.minhash import signatures
from tilth.filters.dedup.shingles import shingles_of
from tilth.filters.dedup.units import units_of
from tilth.filters.texts import Texts

CORPORA = Path(__file__).resolve().parents[2] / "shared" / "data" / "corpora"
FLOOR = 40.0  # MB a second; 60 is the goal
HASHES, WORDS = 112, 5


def read_texts(step: int) -> tuple[str, list[str]]:
    """Return where the texts are from, and every ``step``-th of them."""
    if CORPORA.is_dir():
        import zstandard

        found = []
        for path in sorted(CORPORA.glob("*.zst")):
            with zstandard.open(path, "rt", encoding="utf-8") as lines:
                found += [json.loads(line)["text"] for line in lines]
        return "shared corpora", found[::step]
    paths = sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py"))
    found = [path.read_text("utf-8", "replace") for path in paths if "site-packages" not in path.parts]
    return "Python's own library", found[::step]


def ours(texts: list[str], kind: str = "words", bits: int = 32) -> Callable[[], object]:
    column = pa.array(texts, pa.large_string())

    def run() -> object:
        units = units_of(Texts.of(column), kind)  # type: ignore[arg-type]
        return signatures(shingles_of(units, WORDS), HASHES, bits)  # type: ignore[arg-type]

    return run


def rensa(texts: list[str]) -> Callable[[], object]:
    from rensa import RMinHash

    def run() -> object:
        found = []
        for text in texts:
            words = text.lower().split()
            grams = {" ".join(words[place : place + WORDS]) for place in range(max(1, len(words) - WORDS + 1))}
            signature = RMinHash(num_perm=HASHES, seed=1)
            signature.update(list(grams))
            found.append(signature.digest())
        return found

    return run


def datatrove(texts: list[str]) -> Callable[[], object]:
    from datatrove.data import Document
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature
    from datatrove.utils.hashing import HashConfig

    # FineWeb's hash; the default one needs xxhash below 4
    step = MinhashDedupSignature("unused", config=MinhashConfig(hash_config=HashConfig(hash_fc="sha1")))
    documents = [Document(text=text, id=str(number)) for number, text in enumerate(texts)]

    def run() -> object:
        shingles = [step.get_shingles(document.text) for document in documents]
        return [step.get_signature(shingle) for shingle in shingles if len(shingle)]

    return run


def speed(texts: list[str], call: Callable[[], object], passes: int) -> float:
    """Return MB a second of the best pass."""
    size = sum(len(text.encode()) for text in texts)
    best = float("inf")
    for _ in range(passes):
        start = time.thread_time()
        call()
        best = min(best, time.thread_time() - start)
    return size / best / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a twentieth of the text")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    parser.add_argument("--peers", help="a folder of packages, searched after Python's own")
    options = parser.parse_args()
    if options.peers:
        sys.path.append(options.peers)
    origin, texts = read_texts(20 if options.quick else 4)
    few = texts[::20]  # the peers are slow: fewer texts, the same ones for each
    rows: dict[str, Any] = {}
    for name, kind, bits in (
        ("words, 32 bits", "words", 32),
        ("words, 64 bits", "words", 64),
        ("characters, 32 bits", "characters", 32),
    ):
        call = ours(texts, kind, bits)
        call()  # compiles
        rows[f"tilth {name}"] = round(speed(texts, call, 5), 1)
    for name, make in (("rensa", rensa), ("datatrove", datatrove)):
        try:
            rows[name] = round(speed(few, make(few), 2), 2)
        except ImportError as error:
            rows[name] = f"left out: {error}"
    value = rows["tilth words, 32 bits"]
    print(f"{sum(len(text.encode()) for text in texts) / 1e6:.1f} MB of {origin}; {HASHES} hashes, shingles of {WORDS}")
    for name, row in rows.items():
        times = f"   tilth is {value / row:.1f} times as fast" if isinstance(row, float) and "tilth" not in name else ""
        print(f"{name:28}{row!s:>10}{' MB/s' if isinstance(row, float) else ''}{times}")
    print(f"floor {FLOOR} MB/s: {'held' if value >= FLOOR else 'MISSED'}")
    if options.json:
        machine = f"{platform.processor() or platform.machine()}, Python {platform.python_version()}"
        print(json.dumps({"benchmark": "minhash", "machine": machine, "figures": rows, "ok": value >= FLOOR}))
    sys.exit(0 if value >= FLOOR else 1)


if __name__ == "__main__":
    main()
