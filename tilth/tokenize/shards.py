"""A token shard: an uncompressed Arrow IPC file with one row a document, memory-mapped and read without a copy.

Tokens keep their document: its id, its source and its size in bytes stand beside them, so that every token a model
sees can name the page it came from. The price over bare tokens: about 50 bytes a document, 2.5 % at 1,000 tokens each.
Uncompressed, because compression takes away the random access (docs/decisions/token-shards.md has the figures).

What stands in a shard depends on the documents in their order, the tokenizer, and nothing else: not on how the
documents came batched, nor when.
"""

import os
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tilth.corpus.document import ID
from tilth.corpus.errors import UserError
from tilth.corpus.store import file_digest, temporary_name
from tilth.tokenize.tokenizer import Tokenizer, token_dtype

# A record batch is closed by the document that brings it to this many tokens: 2 MB of uint16. Smaller batches make the
# index longer (about 1 us a batch to read), larger ones only cost the writer memory.
BATCH_TOKENS = 2**20

# A shard is closed by the document that brings its tokens to this many bytes. Large enough that 1e12 tokens are 4,000
# files, small enough to copy again when a copy broke.
SHARD_BYTES = 512_000_000

COLUMNS = ("id", "source", "bytes", "tokens")


@dataclass(frozen=True)
class Encoding:
    """What the token ids of a shard mean; stands in the schema's metadata of every shard."""

    tokenizer: str  # xxh3-128 of the model file, 32 hex digits
    vocabulary_size: int
    separator: int  # the id after every document

    @staticmethod
    def of(tokenizer: Tokenizer) -> "Encoding":
        """Return the encoding that a tokenizer gives."""
        return Encoding(tokenizer.digest, tokenizer.vocabulary_size, tokenizer.separator)


@dataclass(frozen=True)
class SourceCount:
    """What a source has in a part: documents, UTF-8 bytes of text, tokens with separators."""

    documents: int
    bytes: int
    tokens: int

    def __add__(self, other: "SourceCount") -> "SourceCount":
        return SourceCount(self.documents + other.documents, self.bytes + other.bytes, self.tokens + other.tokens)


NOTHING = SourceCount(0, 0, 0)


@dataclass(frozen=True)
class TokenPart:
    """A finished shard, as the manifest names it."""

    name: str  # of the file
    size: int  # bytes of the file
    digest: str  # xxh3-128 of the file, 32 hex digits
    sources: Mapping[str, SourceCount]

    @property
    def total(self) -> SourceCount:
        """Documents, bytes and tokens of all sources."""
        return sum(self.sources.values(), NOTHING)

    def to_json(self) -> dict[str, Any]:
        """Return JSON's types."""
        return asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "TokenPart":
        """Return the part that ``to_json`` described."""
        sources = {name: SourceCount(**count) for name, count in data["sources"].items()}
        return TokenPart(str(data["name"]), int(data["size"]), str(data["digest"]), sources)


@dataclass(frozen=True)
class TokenBatch:
    """A record batch of a shard, its arrays views of the mapped file."""

    documents: pa.RecordBatch  # id, source, bytes, tokens
    tokens: np.ndarray  # uint16 or uint32: the documents' tokens, one after the other
    offsets: np.ndarray  # int64 (documents + 1,): document i has tokens[offsets[i]:offsets[i + 1]]


@dataclass(frozen=True)
class Shard:
    """An opened shard. The file stays mapped as long as one of its arrays lives, and holds no file descriptor."""

    path: Path
    encoding: Encoding
    batches: tuple[TokenBatch, ...]


def shard_schema(encoding: Encoding, dtype: np.dtype) -> pa.Schema:
    """Return the schema of a shard."""
    item = pa.field("item", pa.from_numpy_dtype(dtype), nullable=False)
    return pa.schema(
        [
            pa.field("id", ID, nullable=False),
            pa.field("source", pa.string(), nullable=False),
            pa.field("bytes", pa.int64(), nullable=False),  # UTF-8 bytes of the text
            pa.field("tokens", pa.large_list(item), nullable=False),  # the document's, then the separator
        ],
        metadata={f"tilth.{name}": str(value) for name, value in asdict(encoding).items()},
    )


class ShardWriter:
    """Writes one shard under a temporary name. A context manager: leaving it without ``commit`` leaves nothing behind.

    Holds at most one record batch and the batch that it was last given.
    """

    def __init__(self, path: Path | str, encoding: Encoding, dtype: np.dtype) -> None:
        """Raises ``UserError`` where ``dtype`` or the separator does not fit the size of the vocabulary."""
        self.path = Path(path)
        self.encoding = encoding
        expected = token_dtype(encoding.vocabulary_size)
        if dtype != expected:
            raise UserError(
                f"{self.path}: tokens: found type {dtype}, expected {expected} for a vocabulary of "
                f"{encoding.vocabulary_size} pieces; convert them"
            )
        if not 0 <= encoding.separator < encoding.vocabulary_size:
            raise UserError(
                f"{self.path}: separator: found {encoding.separator}, expected an id below "
                f"{encoding.vocabulary_size}, the size of the vocabulary; name the tokenizer's own separator"
            )
        self.schema = shard_schema(encoding, dtype)
        self.sources: dict[str, SourceCount] = {}
        self._pending = pa.RecordBatch.from_pylist([], schema=self.schema)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._temporary = temporary_name(self.path)
        self._stream = self._temporary.open("wb")
        self._writer = pa.ipc.new_file(self._stream, self.schema, options=pa.ipc.IpcWriteOptions(use_threads=False))

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._stream.close()
        self._temporary.unlink(missing_ok=True)

    def write(self, documents: pa.RecordBatch, tokens: np.ndarray, offsets: np.ndarray) -> None:
        """Append documents (``id``, ``source``, ``bytes``) and their tokens with separators, as in ``TokenBatch``.

        Raises ``UserError`` where a token is outside the vocabulary, or a document does not end with the separator.
        """
        self._check(tokens, offsets)
        lists = pa.LargeListArray.from_arrays(offsets, pa.array(tokens), type=self.schema.field("tokens").type)
        arrays = [documents.column(name) for name in COLUMNS[:-1]]
        batch = pa.RecordBatch.from_arrays([*arrays, lists], schema=self.schema)
        _count(self.sources, batch)
        batch = pa.concat_batches([self._pending, batch])
        ends = batch.column("tokens").offsets.to_numpy()[1:]
        first, written = 0, 0
        while batch.num_rows and ends[-1] - written >= BATCH_TOKENS:
            after = int(np.searchsorted(ends, written + BATCH_TOKENS)) + 1
            self._write(batch, first, after)
            first, written = after, int(ends[after - 1])
        self._pending = batch.slice(first)

    def _check(self, tokens: np.ndarray, offsets: np.ndarray) -> None:
        size, separator = self.encoding.vocabulary_size, self.encoding.separator
        if len(tokens) and (largest := int(tokens.max())) >= size:
            raise UserError(
                f"{self.path}: tokens: found id {largest}, expected ids below {size}, the size of the vocabulary; "
                "name the tokenizer that made them"
            )
        ends = offsets[1:]
        if (np.diff(offsets) < 1).any() or (tokens[ends - 1] != separator).any():
            raise UserError(
                f"{self.path}: tokens: found a document that does not end with {separator}, the separator; "
                "end every document with it"
            )

    def _write(self, batch: pa.RecordBatch, first: int, after: int) -> None:
        """Write rows from ``first`` to ``after`` in buffers of their own: a slice is written with what surrounds it."""
        rows = batch.select(list(COLUMNS[:-1])).take(pa.array(np.arange(first, after)))
        lists = batch.column("tokens")
        offsets = lists.offsets.to_numpy()[first : after + 1]
        values = lists.values.to_numpy(zero_copy_only=True)[offsets[0] : offsets[-1]]
        tokens = pa.LargeListArray.from_arrays(
            pa.array(offsets - offsets[0]), pa.array(values), type=self.schema.field("tokens").type
        )
        self._writer.write_batch(pa.RecordBatch.from_arrays([*rows.columns, tokens], schema=self.schema))

    def commit(self) -> TokenPart:
        """Flush to the disk, take the final name, say what was written."""
        if self._pending.num_rows:
            self._write(self._pending, 0, self._pending.num_rows)
        self._writer.close()
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()
        size, digest = self._temporary.stat().st_size, file_digest(self._temporary)
        self._temporary.replace(self.path)
        return TokenPart(self.path.name, size, digest, dict(sorted(self.sources.items())))


def tokenize_part(batches: Iterable[pa.RecordBatch], tokenizer_path: Path | str, out_path: Path | str) -> TokenPart:
    """Tokenize the documents of one part into one shard. Made to run in a worker process.

    ``batches`` hold ``id``, ``text``, ``source`` and ``bytes``; every document becomes one row, an empty one too.
    """
    tokenizer = Tokenizer.load(tokenizer_path)
    with ShardWriter(out_path, Encoding.of(tokenizer), tokenizer.dtype) as writer:
        for batch in batches:
            writer.write(batch, *tokenizer.encode_column(batch.column("text"), separated=True))
        return writer.commit()


def shard_name(part: int, number: int) -> str:
    """Return the file name of a part's shard. Names sort as the documents do."""
    return f"part-{part:05d}-{number:03d}.arrow"


def tokenize_shards(
    batches: Iterable[pa.RecordBatch], tokenizer_path: Path | str, folder: Path, part: int, shard_bytes: int
) -> list[TokenPart]:
    """Tokenize the documents of one part into shards; see ``write_shards``. Made to run in a worker process."""
    tokenizer = Tokenizer.load(tokenizer_path)
    encoded = ((batch, *tokenizer.encode_column(batch.column("text"), separated=True)) for batch in batches)
    return write_shards(encoded, Encoding.of(tokenizer), folder, part, shard_bytes)


def write_shards(
    encoded: Iterable[tuple[pa.RecordBatch, np.ndarray, np.ndarray]],
    encoding: Encoding,
    folder: Path,
    part: int,
    shard_bytes: int,
) -> list[TokenPart]:
    """Write documents, their tokens and offsets as shards of about ``shard_bytes`` of tokens, at least one.

    Where a shard ends depends on the documents, not on how they came batched. Shards of the part that an earlier
    attempt left behind are removed.
    """
    dtype = token_dtype(encoding.vocabulary_size)
    most = max(shard_bytes // dtype.itemsize, 1)
    finished: list[TokenPart] = []
    with ExitStack() as stack:
        writer = stack.enter_context(ShardWriter(folder / shard_name(part, 0), encoding, dtype))
        room = most
        for batch, tokens, offsets in encoded:
            first = 0
            while first < batch.num_rows:
                if room <= 0:
                    finished.append(writer.commit())
                    writer = stack.enter_context(ShardWriter(folder / shard_name(part, len(finished)), encoding, dtype))
                    room = most
                after = min(int(np.searchsorted(offsets, offsets[first] + room)), batch.num_rows)
                start, stop = int(offsets[first]), int(offsets[after])
                bounds = offsets[first : after + 1] - offsets[first]
                writer.write(batch.slice(first, after - first), tokens[start:stop], bounds)
                room -= stop - start
                first = after
        finished.append(writer.commit())
    names = {one.name for one in finished}
    for path in folder.glob(f"part-{part:05d}-*.arrow"):
        if path.name not in names:
            path.unlink()
    return finished


def read_shard(path: Path | str) -> Shard:
    """Map a shard. No token is read or copied.

    Raises ``UserError`` where the file is missing, damaged or not a token shard.
    """
    path = Path(path)
    try:
        with pa.memory_map(str(path)) as source:  # closing it frees the descriptor; the mapping lives with the arrays
            reader = pa.ipc.open_file(source)
            encoding = _encoding(reader.schema, path)
            batches = tuple(_token_batch(reader.get_batch(number)) for number in range(reader.num_record_batches))
            return Shard(path, encoding, batches)
    except FileNotFoundError as error:
        raise UserError(f"{path}: token shard not found; tokenize again") from error
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a token shard, or damaged ({error}); tokenize again") from error


def _encoding(schema: pa.Schema, path: Path) -> Encoding:
    metadata = {key.decode(): value.decode() for key, value in (schema.metadata or {}).items()}
    try:
        encoding = Encoding(
            metadata["tilth.tokenizer"], int(metadata["tilth.vocabulary_size"]), int(metadata["tilth.separator"])
        )
    except (KeyError, ValueError) as error:
        raise UserError(f"{path}: an Arrow file, but not a token shard (metadata {error}); tokenize again") from error
    expected = shard_schema(encoding, token_dtype(encoding.vocabulary_size))
    if not schema.equals(expected):
        found, wanted = (", ".join(f"{field.name} {field.type}" for field in columns) for columns in (schema, expected))
        raise UserError(f"{path}: found columns {found}; expected {wanted}; tokenize again")
    return encoding


def _token_batch(documents: pa.RecordBatch) -> TokenBatch:
    documents.validate()  # offsets and sizes: damage shows here, not in the middle of a run
    tokens = documents.column("tokens")
    return TokenBatch(
        documents,
        tokens.values.to_numpy(zero_copy_only=True),
        tokens.offsets.to_numpy(zero_copy_only=True),
    )


def _count(sources: dict[str, SourceCount], batch: pa.RecordBatch) -> None:
    """Add what every source has in ``batch``."""
    codes = batch.column("source").dictionary_encode()
    names, places = codes.dictionary.to_pylist(), codes.indices.to_numpy()
    documents = np.bincount(places, minlength=len(names))
    sizes, tokens = np.zeros(len(names), np.int64), np.zeros(len(names), np.int64)
    np.add.at(sizes, places, batch.column("bytes").to_numpy())
    np.add.at(tokens, places, np.diff(batch.column("tokens").offsets.to_numpy()))
    for place, name in enumerate(names):
        found = SourceCount(int(documents[place]), int(sizes[place]), int(tokens[place]))
        sources[name] = sources.get(name, NOTHING) + found
