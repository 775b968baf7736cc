"""Whatever happens while tokens are written, what stands under a final name is whole."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from tilth.corpus.errors import UserError
from tilth.corpus.store import is_temporary
from tilth.tokenize.settings import TokenizerSettings
from tilth.tokenize.shards import SHARD_BYTES, Encoding, ShardWriter, read_shard, tokenize_part, tokenize_shards
from tilth.tokenize.token_set import TokenSet, write_manifest
from tilth.tokenize.tokenizer import Tokenizer
from tilth.tokenize.train_tokenizer import train_tokenizer

Prose = Callable[[int, int], list[str]]
BatchOf = Callable[..., pa.RecordBatch]

# Tokenizes the same documents for ever; every second batch ends a shard.
WRITER = """
import sys
from pathlib import Path
import pyarrow as pa
from tilth.tokenize.shards import tokenize_shards

def batches():
    with pa.memory_map(sys.argv[1]) as source:
        found = pa.ipc.open_file(source).get_batch(0)
        while True:
            yield found

print("ready", flush=True)
tokenize_shards(batches(), sys.argv[2], Path(sys.argv[3]), 0, int(sys.argv[4]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("shards", [1, 4, 9])
def test_a_killed_writer_leaves_whole_shards_and_temporary_names(
    shards: int, batch_of: BatchOf, prose: Prose, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    batch = batch_of("wiki", prose(1, 200))
    tokens = len(tokenizer.encode_column(batch.column("text"), separated=True)[0])
    with pa.OSFile(str(tmp_path / "documents.arrow"), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    folder = tmp_path / "tokens"
    arguments = [tmp_path / "documents.arrow", tokenizer.path, folder, 4 * tokens]
    process = subprocess.Popen([sys.executable, "-c", WRITER, *map(str, arguments)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        while len(list(folder.glob("part-*.arrow"))) < shards:
            assert process.poll() is None
            time.sleep(0.01)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout:
            process.stdout.close()
    for path in folder.iterdir():
        if not is_temporary(path):
            assert sum(len(one.tokens) for one in read_shard(path).batches) == 2 * tokens
    with pytest.raises(UserError, match="no token set here"):
        TokenSet.open(folder)
    written = tokenize_shards([batch, batch], tokenizer.path, folder, 0, SHARD_BYTES)
    assert write_manifest(folder, tokenizer, written).total.tokens == 2 * tokens
    assert [path.name for path in folder.glob("part-*")] == [written[0].name]  # what the killed one left is gone


def test_where_a_shard_ends_does_not_depend_on_batches(
    batch_of: BatchOf, prose: Prose, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    batch = batch_of("wiki", prose(1, 100))
    found = []
    for number, size in enumerate((100, 7, 1)):
        pieces = [batch.slice(first, size) for first in range(0, 100, size)]
        found.append(tokenize_shards(pieces, tokenizer.path, tmp_path / str(number), 3, 2_000))
    assert len(found[0]) > 3
    assert found[0] == found[1] == found[2]
    assert sum(part.total.documents for part in found[0]) == 100
    assert [part.name for part in found[0]][:2] == ["part-00003-000.arrow", "part-00003-001.arrow"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sentencepiece-bpe", "byte-bpe", "wordpiece", "bytes"])
def test_a_document_of_50_megabytes_and_an_empty_one_stand_side_by_side(
    kind: str, prose: Prose, batch_of: BatchOf, tmp_path: Path
) -> None:
    settings = TokenizerSettings(kind=kind, vocabulary_size=258 if kind == "bytes" else 400)  # type: ignore[arg-type]
    name = "t.model" if kind.startswith("sentence") else "t.json"
    tokenizer = train_tokenizer(prose(0, 100), tmp_path / name, settings)
    text = "".join(prose(1, 100))
    long = text * (50_000_000 // len(text.encode()) + 1)
    part = tokenize_part([batch_of("wiki", ["", long, ""])], tokenizer.path, tmp_path / "part.arrow")
    tokens = read_shard(tmp_path / "part.arrow").batches[0]
    assert part.total.bytes >= 50_000_000
    assert tokens.tokens[0] == tokens.tokens[-1] == tokenizer.separator
    once = tokenizer.encode_batch([text])[0]
    assert tokens.offsets[2] - tokens.offsets[1] - 1 == pytest.approx(len(once) * (len(long) / len(text)), rel=1e-3)
    if kind == "bytes":
        assert tokenizer.decode(tokens.tokens[1 : 1 + len(text.encode())]) == text


def test_tokens_that_do_not_fit_the_vocabulary_are_not_written(
    batch_of: BatchOf, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    tokens, offsets = tokenizer.encode_column(pa.array(["a", "b"]), separated=True)
    batch = batch_of("wiki", ["a", "b"])
    path = tmp_path / "part.arrow"

    def refused(encoding: Encoding, message: str) -> None:
        with pytest.raises(UserError, match=message), ShardWriter(path, encoding, tokenizer.dtype) as writer:
            writer.write(batch, tokens, offsets)

    refused(Encoding("0" * 32, 10, 1), r"found id \d+, expected ids below 10")
    refused(Encoding("0" * 32, 500, 2), "a document that does not end with 2, the separator")
    refused(Encoding("0" * 32, 500, 500), "separator: found 500, expected an id below 500")
    refused(Encoding("0" * 32, 70_000, 1), "found type uint16, expected uint32 for a vocabulary of 70000")
    assert list(tmp_path.iterdir()) == []
