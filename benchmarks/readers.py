"""Readers: MB of text a second a core from files to Arrow documents, beside datatrove's readers on the same files.

    python benchmarks/readers.py [--quick] [--json]

The text is that of the folder ../shared/data/corpora where it lies beside the repository (107 MB, six domains), else
generated words; which of the two is printed. A reader's time is the processor time of its process, so that a busy
machine changes little; it includes identities, digests and metadata, which datatrove's readers do not make. The best
of five passes counts (``--quick``: of three, over a third of the text).
"""

import argparse
import bz2
import csv
import gzip
import json
import lzma
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import zstandard

from tilth.corpus.readers import read_part
from tilth.corpus.sources import Source, find_files
from tilth.corpus.splits import plan_parts

CORPORA = Path(__file__).parents[2] / "shared/data/corpora"
PART_BYTES = 256 << 20
FLOORS = {"jsonl.zst": 150.0, "parquet": 400.0}  # MB/s, goals of the design; Parquet with the columns that it names
Read = Callable[[], tuple[int, int]]


def lay_out(folder: Path, quick: bool) -> str:
    """Write the same records in every format; return where they come from."""
    paths = sorted(CORPORA.glob("*.jsonl.zst"))
    if quick:
        paths = paths[1::3]
    for path in paths:
        with zstandard.open(path, "rb") as file:
            write(folder, path.name.split(".")[0], file.read())
    if paths:
        return "shared corpora"
    chance = random.Random(0)
    words = ["".join(chance.choices("etaoinshrdlucmfwypvbgkjqxzéü", k=chance.randint(2, 10))) for _ in range(20_000)]
    for domain in range(2 if quick else 6):
        lines = []
        for number in range(4_000):
            text = " ".join(chance.choices(words, k=chance.randint(50, 1_200)))
            lines.append(orjson.dumps({"id": f"{domain}-{number}", "text": text, "date": "2020-01-01", "meta": {}}))
        write(folder, f"generated-{domain}", b"\n".join(lines) + b"\n")
    return "generated words"


def write(folder: Path, name: str, lines: bytes) -> None:
    (folder / f"{name}.jsonl").write_bytes(lines)
    (folder / f"{name}.jsonl.gz").write_bytes(gzip.compress(lines, 6))
    (folder / f"{name}.jsonl.bz2").write_bytes(bz2.compress(lines))
    (folder / f"{name}.jsonl.xz").write_bytes(lzma.compress(lines, preset=1))
    (folder / f"{name}.jsonl.zst").write_bytes(zstandard.ZstdCompressor(level=3, write_checksum=True).compress(lines))
    records = [orjson.loads(line) for line in lines.splitlines()]
    columns = {
        "id": [record["id"] for record in records],
        "text": [record["text"] for record in records],
        "date": [record["date"] for record in records],
        "rest": [
            orjson.dumps({k: v for k, v in record.items() if k not in ("id", "text", "date")}).decode()
            for record in records
        ],
    }
    table = pa.table(columns)
    pq.write_table(table, folder / f"{name}.parquet", row_group_size=10_000, compression="zstd")
    with pa.ipc.new_file(
        str(folder / f"{name}.arrow"), table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")
    ) as writer:
        writer.write_table(table, max_chunksize=1000)
    with (folder / f"{name}.csv").open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(columns)
        rows.writerows(zip(*columns.values(), strict=True))


def ours(folder: Path, suffix: str, metadata: tuple[str, ...] | None = None) -> tuple[int, int]:
    """Read all files with one suffix; return documents and bytes of text."""
    source = Source("all", (f"*.{suffix}",), id="id", date="date", metadata=metadata)
    documents = size = 0
    for part in plan_parts(find_files(source, folder), PART_BYTES):
        for chunk in read_part({"all": source}, part):
            if chunk.drops.num_rows:
                sys.exit(f"unexpected drops: {chunk.drops.to_pylist()[:3]}")
            documents += chunk.documents.num_rows
            size += pc.sum(chunk.documents["bytes"]).as_py()
    return documents, size


def datatrove(folder: Path, suffix: str) -> tuple[int, int]:
    """The same with datatrove's readers; the bytes are not counted, which spares it the encoding."""
    from datatrove.pipeline.readers import CSVReader, IpcReader, JsonlReader, ParquetReader
    from loguru import logger

    logger.remove()
    csv.field_size_limit(1 << 30)  # its own of 131,072 ends the reading at the first longer text
    kinds = {"parquet": ParquetReader, "arrow": IpcReader, "csv": CSVReader}
    reader = kinds.get(suffix, JsonlReader)(str(folder), glob_pattern=f"*.{suffix}")
    return sum(1 for _ in reader.run()), 0


def best(read: Read, passes: int) -> tuple[float, int, int]:
    """Return the least processor time of ``passes``, and what was read."""
    times = []
    for _ in range(passes):
        start = time.process_time()
        documents, size = read()
        times.append(time.process_time() - start)
    return min(times), documents, size


def measure(folder: Path, quick: bool) -> dict[str, dict[str, object]]:
    passes = 3 if quick else 5
    ours(folder, "parquet")  # load what is loaded once
    figures: dict[str, dict[str, object]] = {}
    for suffix in ("jsonl", "jsonl.gz", "jsonl.bz2", "jsonl.xz", "jsonl.zst", "csv", "arrow", "parquet"):
        metadata = () if suffix in ("parquet", "arrow") else None
        seconds, documents, size = best(lambda suffix=suffix, metadata=metadata: ours(folder, suffix, metadata), passes)
        theirs, count, _ = best(lambda suffix=suffix: datatrove(folder, suffix), passes)
        if documents != count:
            sys.exit(f"{suffix}: {documents} documents read, datatrove read {count}")
        speed, floor = size / seconds / 1e6, FLOORS.get(suffix)
        figures[suffix] = {
            "documents": documents,
            "text_mb": round(size / 1e6, 1),
            "mb_per_second": round(speed, 1),
            "datatrove_mb_per_second": round(size / theirs / 1e6, 1),
            "floor": floor,
            "ok": floor is None or speed >= floor,
        }
    seconds, documents, size = best(lambda: ours(folder, "parquet"), passes)
    figures["parquet with metadata"] = {
        "documents": documents,
        "text_mb": round(size / 1e6, 1),
        "mb_per_second": round(size / seconds / 1e6, 1),
        "datatrove_mb_per_second": figures["parquet"]["datatrove_mb_per_second"],
        "floor": None,
        "ok": True,
    }
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="three passes over a third of the text: about two minutes")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tilth-benchmark-"))
    try:
        text = lay_out(folder, options.quick)
        figures = measure(folder, options.quick)
    finally:
        shutil.rmtree(folder)
    print(f"{text}; MB of text a second of processor time")
    print(f"{'':24}{'documents':>10}{'MB':>8}{'ours':>8}{'datatrove':>11}{'floor':>8}")
    for name, figure in figures.items():
        shown = [figure[key] for key in ("documents", "text_mb", "mb_per_second", "datatrove_mb_per_second", "floor")]
        cells = "".join(f"{value or '':>{width}}" for value, width in zip(shown, (10, 8, 8, 11, 8), strict=True))
        print(f"{name:24}{cells}{'' if figure['ok'] else '  MISSED'}")
    ok = all(figure["ok"] for figure in figures.values())
    if options.json:
        print(json.dumps({"benchmark": "readers", "text": text, "quick": options.quick, "figures": figures, "ok": ok}))
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
