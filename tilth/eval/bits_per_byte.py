"""Bits per byte of held-out documents: the bits that a model needs for a byte of text it never saw. Lower is better.

Loss per token cannot be compared between tokenizers, bits per byte can. A document is scored alone: its context begins
with the separator that ends every document in training, all its own tokens count and nothing else does, and long
documents are read in windows (see ``tilth.eval.windows``). A BERT reads every window seven times, a seventh of its
tokens hidden each time, so that each is guessed once from the rest: bits of a pseudo-likelihood, to be compared between
BERTs only. Every document keeps its figure, so that two checkpoints, or
two recipes, can be compared document by document; paired differences show effects that means over documents hide.
"""

import math
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from tilth.corpus.document import text_bytes, text_digests
from tilth.corpus.errors import UserError
from tilth.corpus.stage import fingerprint
from tilth.eval.windows import cut_windows, window_length
from tilth.tokenize.tokenizer import Tokenizer
from tilth.train.checkpoint import Checkpoint, read_checkpoint
from tilth.train.launch import run_workers

VERSION = 2  # raised when the same arguments give other figures
RESULT, TOKENS = "bits_per_byte.arrow", "documents.arrow"
MOST_PROCESSES = 8  # by default: each holds the model and takes seconds to start

BITS = pa.schema(
    [
        pa.field("checkpoint", pa.string(), nullable=False),
        pa.field("id", pa.binary(16), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),  # UTF-8 bytes of the text
        pa.field("tokens", pa.int64(), nullable=False),
        pa.field("bits", pa.float64(), nullable=False),  # of all its tokens
        pa.field("correct", pa.int64(), nullable=False),  # tokens that the model would have guessed
    ]
)


@dataclass(frozen=True)
class SourceBits:
    """What the documents of a source came to under one checkpoint."""

    documents: int
    bytes: int
    tokens: int
    bits: float
    correct: int = 0

    @property
    def accuracy(self) -> float:
        """Share of the tokens whose most probable guess was right; NaN where there is no token."""
        return self.correct / self.tokens if self.tokens else math.nan

    @property
    def bits_per_byte(self) -> float:
        """Bits over bytes of all documents together; NaN where there is no byte."""
        return self.bits / self.bytes if self.bytes else math.nan


@dataclass(frozen=True)
class EvalResult:
    """Bits of every document under every checkpoint: the table ``BITS``, checkpoint by checkpoint."""

    documents: pa.Table

    @property
    def checkpoints(self) -> tuple[str, ...]:
        """Names of the checkpoints, in the order in which they were given."""
        return tuple(self.documents.column("checkpoint").unique().to_pylist())

    def sources(self, checkpoint: str) -> dict[str, SourceBits]:
        """Return the figures of every source under ``checkpoint``, sorted by name."""
        rows = self.documents.filter(pc.field("checkpoint") == checkpoint)
        parts = [("id", "count"), ("bytes", "sum"), ("tokens", "sum"), ("bits", "sum"), ("correct", "sum")]
        sums = rows.group_by("source", use_threads=False).aggregate(parts)
        found = {
            row["source"]: SourceBits(
                row["id_count"], row["bytes_sum"], row["tokens_sum"], row["bits_sum"], row["correct_sum"]
            )
            for row in sums.to_pylist()
        }
        return dict(sorted(found.items()))

    def total(self, checkpoint: str) -> SourceBits:
        """Return the figures of all documents together under ``checkpoint``."""
        parts = self.sources(checkpoint).values()
        return SourceBits(
            sum(part.documents for part in parts),
            sum(part.bytes for part in parts),
            sum(part.tokens for part in parts),
            math.fsum(part.bits for part in parts),
            sum(part.correct for part in parts),
        )


def evaluate(
    checkpoints: Mapping[str, Path],
    tokenizer_path: Path,
    documents: pa.Table,
    folder: Path,
    processes: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> EvalResult:
    """Score ``documents`` (columns ``id``, ``text``, ``source``) under every one of ``checkpoints`` (name -> folder).

    Works in ``folder``, where the result is kept and found again by its fingerprint. ``on_progress`` gets tokens scored
    and tokens to score. The figures do not depend on the number of ``processes``. Raises ``UserError`` where there is
    nothing to score, a checkpoint is missing or damaged, or the tokenizer's size is not the one it was trained with.
    """
    if not checkpoints or not documents.num_rows:
        raise UserError(
            f"{folder}: evaluation: found {len(checkpoints)} checkpoints and {documents.num_rows} documents, "
            f"expected at least one of each; name some"
        )
    known = find_result(checkpoints, tokenizer_path, documents, folder)
    if known is not None:
        return known
    tokenizer = Tokenizer.load(tokenizer_path)
    opened = {name: _open(path, tokenizer) for name, path in checkpoints.items()}
    asked = _fingerprint(opened, tokenizer, documents)
    path = folder / RESULT
    folder.mkdir(parents=True, exist_ok=True)
    tokens, offsets = tokenizer.encode_column(documents.column("text").combine_chunks(), separated=False)
    _write(folder / TOKENS, pa.table({"tokens": pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(tokens))}))
    processes = processes or min(os.cpu_count() or 1, MOST_PROCESSES)
    total = len(opened) * int(offsets[-1])
    special = {"separator": tokenizer.separator, "mask": tokenizer.special.get("mask", -1)}
    _score(folder, list(opened.values()), special, processes, total, on_progress)
    sizes = np.diff(offsets)
    parts = []
    for number, (name, checkpoint) in enumerate(opened.items()):
        scores = pa.concat_tables([_read(folder / f"nats-{number}-{rank}.arrow") for rank in range(processes)])
        parts.append(_document_bits(name, documents, sizes, window_length(checkpoint.model), scores))
    result = pa.concat_tables(parts).replace_schema_metadata({"fingerprint": asked})
    _write(path, result)
    return EvalResult(result)


def find_result(
    checkpoints: Mapping[str, Path], tokenizer_path: Path, documents: pa.Table, folder: Path
) -> EvalResult | None:
    """Return the result that ``evaluate`` left in ``folder`` for the same content, if any. Raises as it does."""
    path = folder / RESULT
    if not path.exists():
        return None
    tokenizer = Tokenizer.load(tokenizer_path)
    opened = {name: _open(path, tokenizer) for name, path in checkpoints.items()}
    kept = _read(path)
    same = (kept.schema.metadata or {}).get(b"fingerprint") == _fingerprint(opened, tokenizer, documents).encode()
    return EvalResult(kept) if same else None


def _fingerprint(opened: Mapping[str, Checkpoint], tokenizer: Tokenizer, documents: pa.Table) -> str:
    """Of all that decides a result: the content of checkpoints, tokenizer and documents, not where they lie."""
    return fingerprint(
        VERSION,
        [[name, checkpoint.fingerprint] for name, checkpoint in opened.items()],
        tokenizer.digest,
        [value.hex() for value in documents.column("id").to_pylist()],
        [value.hex() for value in text_digests(documents.column("text").combine_chunks()).to_pylist()],
        documents.column("source").to_pylist(),
    )


def _score(
    folder: Path,
    opened: list[Checkpoint],
    special: Mapping[str, int],
    processes: int,
    total: int,
    on_progress: Callable[[int, int], None] | None,
) -> None:
    """Let ``processes`` workers write the nats of all windows under all checkpoints into ``folder``."""
    job = {"checkpoints": [str(checkpoint.path) for checkpoint in opened], "documents": TOKENS, **special}
    path = folder / "job.json"
    path.write_bytes(orjson.dumps(job))
    for old in folder.glob("progress-*"):
        old.unlink()

    def watch() -> None:
        if on_progress is not None:
            # Each line is the number of tokens of one batch.
            done = sum(int(line) for file in folder.glob("progress-*") for line in file.read_bytes().split())
            on_progress(done, total)

    run_workers([sys.executable, "-W", "ignore", "-m", "tilth.eval.worker", str(path)], processes, folder, watch)


def _document_bits(
    name: str, documents: pa.Table, sizes: np.ndarray, sequence_length: int, scores: pa.Table
) -> pa.Table:
    """Return the rows of ``BITS`` for one checkpoint. ``scores``: window, nats and correct guesses, in any order."""
    windows = cut_windows(sizes, sequence_length)
    nats = np.full(len(windows.document), np.nan)
    nats[scores.column("window").to_numpy()] = scores.column("nats").to_numpy()
    bits = np.bincount(windows.document, weights=nats, minlength=len(sizes)) / math.log(2)
    right = np.zeros(len(windows.document), np.int64)
    right[scores.column("window").to_numpy()] = scores.column("correct").to_numpy()
    correct = np.bincount(windows.document, weights=right, minlength=len(sizes)).astype(np.int64)
    rows = documents.num_rows
    columns = {
        "checkpoint": pa.array([name] * rows),
        "id": documents.column("id").combine_chunks().cast(BITS.field("id").type),
        "source": documents.column("source").combine_chunks().cast(pa.string()),
        "bytes": text_bytes(documents.column("text").combine_chunks()),
        "tokens": pa.array(sizes),
        "bits": pa.array(bits),
        "correct": pa.array(correct),
    }
    return pa.table(columns, schema=BITS)


def _open(path: Path, tokenizer: Tokenizer) -> Checkpoint:
    checkpoint = read_checkpoint(path)
    if checkpoint.model["vocabulary_size"] != tokenizer.vocabulary_size:
        raise UserError(
            f"{path}: trained with a vocabulary of {checkpoint.model['vocabulary_size']}, found "
            f"{tokenizer.vocabulary_size} in {tokenizer.path}; name the tokenizer of its training"
        )
    if checkpoint.model["kind"] == "bert":
        tokenizer.needed("mask")
    return checkpoint


def _read(path: Path) -> pa.Table:
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


def _write(path: Path, table: pa.Table) -> None:
    """Write an Arrow file whole or not at all."""
    partial = path.with_suffix(".partial")
    with pa.OSFile(str(partial), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    partial.replace(path)
