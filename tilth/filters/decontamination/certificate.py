"""The certificate: which examples of which benchmarks the corpus held before decontamination, and what was nearly held.

It is made from the stored measurements, before anything is removed, and names the benchmarks by the digests of their
files, so that a claim of cleanliness says against what.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
import pyarrow.compute as pc

from tilth.corpus.chain import Stored
from tilth.corpus.store import file_digest, write_atomically
from tilth.filters.decontamination.benchmarks import Benchmark
from tilth.filters.decontamination.ngrams import EXAMPLES, PASSAGES
from tilth.filters.dedup.clusters import read_table

CERTIFICATE: Final = "certificate.json"
SHOWN: Final = 3  # documents told of an example
DONE: Final = "contaminated", "near_miss"


def write_certificate(
    folder: Path,
    head: Stored,
    prefix: str,
    index: Path,
    benchmarks: Sequence[Benchmark],
    settings: Mapping[str, Any],
    limit: float,
) -> None:
    """Write ``certificate.json``: settings, benchmarks with digests and counts, verdicts of the examples found."""
    example = read_table(index / PASSAGES).column("example").to_numpy()
    examples = read_table(index / EXAMPLES)
    found: dict[int, list[dict[str, Any]]] = {}
    documents = 0
    names = [f"{prefix}.{name}" for name in ("share", "passages", "shares", "starts", "ends")]
    for part in range(head.parts):
        for batch in head.lineage.read(part, needs=names):
            share = batch.column(names[0]).to_numpy(zero_copy_only=False)
            documents += int((share >= limit).sum())
            touched = batch.filter(pc.greater(batch.column(names[0]), 0.0))
            for row in touched.to_pylist():
                for passage, part_held, start, end in zip(*(row[name] for name in names[1:]), strict=True):
                    found.setdefault(int(example[passage]), []).append(
                        {
                            "document": row["id"].hex(),
                            "source": row["source"],
                            "share": round(part_held, 6),
                            "span": [start, end],
                        }
                    )
    verdicts = []
    for number, places in sorted(found.items()):
        places.sort(key=lambda place: (-place["share"], place["document"], place["span"]))
        row = examples.slice(number, 1).to_pylist()[0]
        verdicts.append(
            {
                "benchmark": row["benchmark"],
                "example": row["number"],
                "verdict": DONE[0] if places[0]["share"] >= limit else DONE[1],
                "share": places[0]["share"],
                "documents": len({place["document"] for place in places if place["share"] >= limit}),
                "places": places[:SHOWN],
            }
        )
    told = []
    column = np.array(examples.column("benchmark").to_pylist())
    usable = examples.column("passages").to_numpy()
    for benchmark in benchmarks:
        own = column == benchmark.name
        of_kind = dict.fromkeys(DONE, 0)
        for verdict in verdicts:
            if verdict["benchmark"] == benchmark.name:
                of_kind[verdict["verdict"]] += 1
        told.append(
            {
                "name": benchmark.name,
                "files": {path.name: file_digest(path) for path in benchmark.files()},
                "examples": int(own.sum()),
                "too_short_to_look_for": int((own & (usable == 0)).sum()),
                **of_kind,
            }
        )
    certificate = {
        "settings": {**settings, "share": limit},
        "documents": {"looked_at": head.manifest.account.documents_out, "contaminated": documents},
        "corpus": head.manifest.account.set_digest,
        "benchmarks": told,
        "verdicts": verdicts,
    }
    write_atomically(folder / CERTIFICATE, orjson.dumps(certificate, option=orjson.OPT_INDENT_2))
