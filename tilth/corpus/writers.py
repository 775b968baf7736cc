"""Writers: the documents that leave a stage, as files that other tools open; one file a part, in bounded memory.

Every format holds the same columns: ``id`` (32 hex digits), ``text``, ``source``, ``url``, ``date``, ``language`` and
``metadata``. Metadata is JSON text in columnar files, because records differ in it, and an object in JSON lines.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, Protocol

import orjson
import pyarrow as pa
import zstandard

COLUMNS = ("id", "text", "source", "url", "date", "language", "metadata")
EXPORTED = pa.schema([pa.field(name, pa.string()) for name in COLUMNS])
ExportFormat = Literal["jsonl", "parquet", "arrow", "huggingface"]
SPLIT = "train"  # Hugging Face's name for data that is not split

# zstd at level 3, its default: texts to a third, at about 300 MB/s a core; level 1 saves a third of the time and costs
# a tenth of the size.
LEVEL = 3


class Writer(Protocol):
    """Takes the batches of one file; closing it makes it whole."""

    def write(self, batch: pa.RecordBatch) -> None:
        """Append documents (schema EXPORTED)."""

    def close(self) -> None:
        """End the file."""


def exported(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a batch of documents as it is exported (schema EXPORTED)."""
    ids = pa.array([id.hex() for id in batch.column("id").to_pylist()], pa.string())
    return pa.RecordBatch.from_arrays([ids, *(batch.column(name) for name in COLUMNS[1:])], schema=EXPORTED)


class JsonLines:
    """JSON lines in one zstd frame."""

    def __init__(self, path: Path) -> None:
        self.stream = zstandard.open(path, "wb", cctx=zstandard.ZstdCompressor(level=LEVEL, write_checksum=True))

    def write(self, batch: pa.RecordBatch) -> None:
        """Append documents."""
        for row in batch.to_pylist():
            if row["metadata"] is not None:
                row["metadata"] = orjson.Fragment(row["metadata"])
            self.stream.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))

    def close(self) -> None:
        """End the frame."""
        self.stream.close()


class ArrowStream:
    """The stream format of Arrow IPC, uncompressed: what Hugging Face ``datasets`` maps into memory."""

    def __init__(self, path: Path) -> None:
        self.writer = pa.ipc.new_stream(str(path), EXPORTED)

    def write(self, batch: pa.RecordBatch) -> None:
        """Append documents."""
        self.writer.write_batch(batch)

    def close(self) -> None:
        """End the stream."""
        self.writer.close()


def parquet_writer(path: Path) -> Writer:
    """Return a writer of Parquet: zstd, a row group a batch, checksums on every page."""
    import pyarrow.parquet as pq

    made: Writer = pq.ParquetWriter(path, EXPORTED, compression="zstd", write_page_checksum=True)
    return made


def arrow_writer(path: Path) -> Writer:
    """Return a writer of Arrow IPC files, compressed with zstd."""
    options = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", compression_level=LEVEL))
    made: Writer = pa.ipc.new_file(str(path), EXPORTED, options=options)
    return made


WRITERS: dict[ExportFormat, Callable[[Path], Any]] = {
    "jsonl": JsonLines,
    "parquet": parquet_writer,
    "arrow": arrow_writer,
    "huggingface": ArrowStream,
}
SUFFIXES: dict[ExportFormat, str] = {"jsonl": ".jsonl.zst", "parquet": ".parquet", "arrow": ".arrow"}


def file_name(format: ExportFormat, part: int, parts: int) -> str:
    """Return the name of a part's file, relative to the export's folder."""
    if format == "huggingface":
        return f"{SPLIT}/data-{part:05d}-of-{parts:05d}.arrow"
    return f"part-{part:05d}{SUFFIXES[format]}"


def write_file(path: Path, format: ExportFormat, batches: Iterator[pa.RecordBatch]) -> int:
    """Write documents (schema EXPORTED) to one file; return how many."""
    path.parent.mkdir(parents=True, exist_ok=True)
    documents = 0
    writer = WRITERS[format](path)
    try:
        for batch in batches:
            writer.write(batch)
            documents += batch.num_rows
    finally:
        writer.close()
    return documents


def hugging_face_files(names: list[str], fingerprint: str) -> dict[str, bytes]:
    """Return the small files that make a folder of Arrow streams one that ``datasets`` opens, by relative name.

    ``load_from_disk`` reads the two JSON files of a saved dataset beside its streams and ``dataset_dict.json`` above
    them; ``load_dataset`` reads the front matter of ``README.md`` (datasets 5.2, ``DatasetDict.save_to_disk`` and
    "Structure your repository").
    """
    features = {name: {"dtype": "string", "_type": "Value"} for name in COLUMNS}
    state: dict[str, Any] = {
        "_data_files": [{"filename": Path(name).name} for name in names],
        "_fingerprint": fingerprint[:16],
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": SPLIT,
    }
    readme = f"""---
configs:
- config_name: default
  data_files:
  - split: {SPLIT}
    path: {SPLIT}/*.arrow
---
"""
    return {
        "dataset_dict.json": orjson.dumps({"splits": [SPLIT]}),
        f"{SPLIT}/dataset_info.json": orjson.dumps({"features": features}),
        f"{SPLIT}/state.json": orjson.dumps(state),
        "README.md": readme.encode(),
    }
