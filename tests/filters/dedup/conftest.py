"""Corpora for the tests of deduplication: stored as parts, run through stages; and the near-duplicate truth."""

import io
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import zstandard

from tilth.corpus.chain import Chain, Stored
from tilth.corpus.engines import engine
from tilth.corpus.sources import Source, find_files, input_digests
from tilth.corpus.splits import plan_parts
from tilth.corpus.stage import Stage

sys.path.insert(0, str(Path(__file__).parent))  # the module of copies, for the tests and their workers

TRUTH = Path(__file__).parents[3].parent / "shared/data/dedup/cppdocs_versions_first1000.jsonl.zst"

Record = dict[str, str]
Make = Callable[[Stored], Stage]


@pytest.fixture
def run_stages(tmp_path: Path) -> Callable[..., Stored]:
    """A function that writes records (by source), reads them and applies stages; it returns what is stored last."""

    def run(
        records: dict[str, Sequence[Record]],
        stages: Sequence[Make],
        *,
        name: str = "run",
        by: str = "local",
        workers: int = 1,
        part_bytes: int = 1500,
    ) -> Stored:
        base = tmp_path / f"{name}-input"
        sources = []
        for source, rows in records.items():
            base.mkdir(exist_ok=True)
            (base / f"{source}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
            sources.append(Source(source, (f"{source}.jsonl",), id="id", date="date"))
        chain = Chain(tmp_path / name, engine(by, workers))
        chain.root.mkdir(exist_ok=True)
        files = {source.name: find_files(source, base) for source in sources}
        digests = {key: input_digests(found, chain.root / "inputs.json") for key, found in files.items()}
        parts = plan_parts((file for found in files.values() for file in found), part_bytes)
        head = chain.read({source.name: source for source in sources}, parts, digests)
        for make in stages:
            head = chain.apply(make(head), head)
        return head

    return run


@pytest.fixture(scope="session")
def truth() -> list[dict[str, object]]:
    """The first pages of the near-duplicate truth: versions of each, and the Jaccard similarity of every pair."""
    if not TRUTH.is_file():
        pytest.skip("the near-duplicate truth lies in ../shared/data beside the repository")
    with TRUTH.open("rb") as raw:
        lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(raw), "utf-8").readlines()
    return [json.loads(line) for line in lines]
