"""Build small corpora on disk and run chains over them: real files, real readers, real engines."""

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import pyarrow as pa

from tilth.corpus.chain import Chain, Stored
from tilth.corpus.document import document_id, documents
from tilth.corpus.engines import Engine, engine
from tilth.corpus.sources import Source, find_files, input_digests
from tilth.corpus.splits import plan_parts
from tilth.corpus.stage import MapStage, Stage
from tilth.corpus.store import Lineage
from tilth.corpus.tasks import Task

WORDS = ("soil", "root", "seed", "rain", "worm", "field", "plough", "harvest", "fallow", "loam")


def prose(seed: int, count: int) -> list[str]:
    """Return ``count`` short texts; some begin with spaces, some are empty, about one in four stands twice."""
    chance = random.Random(seed)
    texts: list[str] = []
    for _ in range(count):
        if texts and chance.random() < 0.25:
            texts.append(chance.choice(texts))
        else:
            spaces = " " * chance.choice((0, 0, 0, 2))
            texts.append(spaces + " ".join(chance.choices(WORDS, k=chance.randrange(0, 12))))
    return texts


def batch_of(texts: Sequence[str], source: str = "farm", first: int = 0) -> pa.RecordBatch:
    """Return documents of one source, located by their number from ``first`` on."""
    ids = [document_id(source, str(first + number)) for number in range(len(texts))]
    return documents({"id": ids, "text": texts, "source": [source] * len(texts)})


def write_lines(path: Path, texts: Iterable[str]) -> None:
    """Write one JSON record a text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))


def write_corpus(base: Path, documents: int = 60) -> list[Source]:
    """Write two sources, one of them in two files, and return them."""
    texts = prose(1, documents)
    third = documents // 3
    write_lines(base / "farm/a.jsonl", texts[:third])
    write_lines(base / "farm/b.jsonl", texts[third : 2 * third])
    write_lines(base / "web.jsonl", texts[2 * third :])
    return [Source("farm", ("farm/*.jsonl",)), Source("web", ("web.jsonl",))]


def read(chain: Chain, sources: Sequence[Source], base: Path, part_bytes: int = 500) -> Stored:
    """Read the files of ``sources`` below ``base`` in parts of ``part_bytes``."""
    files = {source.name: find_files(source, base) for source in sources}
    digests = {name: input_digests(found, chain.root / "inputs.json") for name, found in files.items()}
    parts = plan_parts((file for found in files.values() for file in found), part_bytes)
    return chain.read({source.name: source for source in sources}, parts, digests)


def run(
    root: Path,
    base: Path,
    sources: Sequence[Source],
    stages: Sequence[Stage],
    by: Engine | None = None,
    part_bytes: int = 500,
    *,
    passes: bool = False,
) -> list[Stored]:
    """Read and apply ``stages`` in order; return everything that is stored, the reading first.

    With ``passes`` map stages that follow one another run together, as a run's do; else one after another.
    """
    chain = Chain(root, by or engine("local", 1))
    head = read(chain, sources, base, part_bytes)
    for is_map, some in groupby(stages, lambda stage: passes and isinstance(stage, MapStage)):
        if is_map:
            head = chain.apply_all(list(some), head)[-1]
            continue
        for stage in some:
            head = chain.apply(stage, head)
    return chain.done


def bytes_below(folder: Path) -> Mapping[str, bytes]:
    """Return the content of every file below ``folder`` by relative path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def texts_of(stored: Stored) -> dict[bytes, str]:
    """Return the documents that leave a stage: id -> text."""
    return {
        row["id"]: row["text"]
        for part in range(stored.parts)
        for batch in stored.lineage.read(part, ["text"])
        for row in batch.to_pylist()
    }


def write_parts(folder: Path, parts: Sequence[Sequence[pa.RecordBatch]]) -> Lineage:
    """Store batches as parts of a reading stage and return how to read them."""
    from tilth.corpus.stage import Effect
    from tilth.corpus.store import PartWriter

    for number, batches in enumerate(parts):
        with PartWriter(folder, number, "written", Effect.EDITS) as writer:
            for batch in batches:
                writer.read(batch, batch_drops(), batch.num_rows)
            writer.commit()
    return Lineage(str(folder))


def batch_drops() -> pa.RecordBatch:
    """Return drops without rows."""
    from tilth.corpus.document import DROP

    return pa.RecordBatch.from_pylist([], schema=DROP)


class Recording:
    """An engine that runs everything in this process and remembers the names of what it ran."""

    def __init__(self) -> None:
        self.inner = engine("local", 1)
        self.names: list[str] = []

    def run(self, tasks: Sequence[Task]) -> None:
        self.names += [task.name for task in tasks]
        self.inner.run(tasks)

    def group(self, job: object, parts: Sequence[int]) -> None:
        self.names += [f"{job.stage.name} part {part}" for part in parts]
        self.inner.group(job, parts)
