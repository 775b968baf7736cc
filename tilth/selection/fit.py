"""What a selection needs from the corpus: a scorer trained on some documents, a cut through the scores of all."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson

from tilth.corpus.chain import Stored
from tilth.corpus.errors import UserError
from tilth.corpus.readers import read_part
from tilth.corpus.sources import Source, find_files
from tilth.corpus.splits import plan_parts
from tilth.corpus.store import file_digest, write_atomically
from tilth.selection.cut import Cut, choose_cut
from tilth.selection.keep_best import id_bytes
from tilth.selection.scorer import ScorerReport, ScorerSettings, train_scorer

MODEL, REPORT = "model.bin", "report.json"
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


def fit_scorer(
    folder: Path, stored: Stored, positive: Examples, negative: Examples, settings: ScorerSettings
) -> ScorerReport:
    """Train a scorer on documents that leave ``stored``; write ``model.bin`` and ``report.json`` into ``folder``."""
    report = train_scorer(positive.texts(stored), negative.texts(stored), folder / MODEL, settings)
    write_atomically(folder / REPORT, orjson.dumps(report, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY))
    return report


def fit_cut(stored: Stored, signal: str, fraction: float) -> Cut:
    """Return the cut that keeps the best ``fraction`` of the bytes that leave ``stored``, by a signal measured before.

    Reads no text; holds 32 bytes a document.
    """
    scores, ids, sizes = [], [], []
    for part in range(stored.parts):
        for batch in stored.lineage.read(part, needs=[signal]):
            scores.append(batch.column(signal).to_numpy(zero_copy_only=False))
            ids.append(id_bytes(batch.column("id")))
            sizes.append(batch.column("bytes").to_numpy())
    return choose_cut(np.concatenate(scores), np.concatenate(ids), np.concatenate(sizes), fraction)
