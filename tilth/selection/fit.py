"""What a selection learns from the corpus: a classifier of some documents, log ratios, an n-gram model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa

from tilth.corpus.chain import Stored
from tilth.corpus.errors import UserError
from tilth.corpus.readers import read_part
from tilth.corpus.sources import Source, find_files
from tilth.corpus.splits import plan_parts
from tilth.corpus.store import file_digest, write_atomically
from tilth.filters.fasttext_capsule import MODEL
from tilth.selection.byte_ngrams import train_bytes
from tilth.selection.hashed_ngrams import BUCKETS, log_ratio, ngram_counts
from tilth.selection.preselect import REPORT, write_scorer_capsule
from tilth.selection.scorer import ScorerReport, ScorerSettings, train_scorer

RATIO, BYTE_MODEL = "ratio.npy", "model.npz"
ARRAY_BYTES = 4 << 20
FILE_PART_BYTES = 64 << 20


@dataclass(frozen=True)
class Examples:
    """Where a class's examples come from: sources of the corpus, and files of the user's."""

    sources: tuple[str, ...]
    files: tuple[Path, ...]

    @staticmethod
    def named(names: Sequence[str], sources: Sequence[str], base: Path, stage: str) -> "Examples":
        """Sort names into sources and files relative to ``base``. Raises ``UserError`` for a name that is neither."""
        files = tuple(base / name for name in names if name not in sources)
        for path in files:
            if not path.is_file():
                raise UserError(
                    f"stage '{stage}': '{path.name}' is neither a source ({', '.join(sources)}) nor a file; correct it"
                )
        return Examples(tuple(name for name in names if name in sources), files)

    def describe(self) -> dict[str, object]:
        """Return what a fingerprint needs: files by content."""
        return {"sources": self.sources, "files": [file_digest(path) for path in self.files]}

    def texts(self, stored: Stored) -> Iterator[str]:
        """Yield the text of every example."""
        wanted = set(self.sources)
        for part in range(stored.parts if wanted else 0):
            for batch in stored.lineage.read(part, ["text"]):
                rows = zip(batch.column("text").to_pylist(), batch.column("source").to_pylist(), strict=True)
                yield from (text for text, source in rows if source in wanted)
        for path in self.files:
            source = Source(path.name, (str(path),))
            for part_ in plan_parts(find_files(source, path.parent), FILE_PART_BYTES):
                for chunk in read_part({source.name: source}, part_):
                    yield from chunk.documents.column("text").to_pylist()

    def arrays(self, stored: Stored, most_bytes: int | None = None) -> Iterator[pa.Array]:
        """Yield the examples' texts as arrays of a few MB, up to ``most_bytes`` in all."""
        pending: list[str] = []
        size = total = 0
        for text in self.texts(stored):
            pending.append(text)
            size += len(text)
            if size > ARRAY_BYTES or (most_bytes is not None and total + size > most_bytes):
                yield pa.array(pending, pa.large_string())
                total += size
                pending, size = [], 0
                if most_bytes is not None and total > most_bytes:
                    return
        if pending:
            yield pa.array(pending, pa.large_string())


def fit_importance(folder: Path, stored: Stored, target: Examples) -> None:
    """Write ``ratio.npy``: DSIR's log ratios of the target over all documents that leave ``stored``."""
    raw = np.zeros(BUCKETS, np.int64)
    for part in range(stored.parts):
        for batch in stored.lineage.read(part, ["text"]):
            raw += ngram_counts(batch.column("text"))
    wanted = np.zeros(BUCKETS, np.int64)
    for texts in target.arrays(stored):
        wanted += ngram_counts(texts)
    with (folder / RATIO).open("wb") as stream:
        np.save(stream, log_ratio(wanted, raw))


def fit_byte_model(folder: Path, stored: Stored, reference: Examples, order: int, most_bytes: int) -> None:
    """Write ``model.npz``: a byte n-gram model of the first ``most_bytes`` of the reference texts."""
    train_bytes(reference.arrays(stored, most_bytes), order).save(folder / BYTE_MODEL)


def fit_scorer(
    folder: Path, stored: Stored, positive: Examples, negative: Examples, settings: ScorerSettings
) -> ScorerReport:
    """Train a scorer on documents that leave ``stored``; write the capsule and ``report.json`` into ``folder``."""
    report = train_scorer(positive.texts(stored), negative.texts(stored), folder / MODEL, settings)
    write_atomically(folder / REPORT, orjson.dumps(report, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY))
    write_scorer_capsule(folder, report)
    return report
