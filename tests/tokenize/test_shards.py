from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tilth.corpus.errors import UserError
from tilth.corpus.store import file_digest
from tilth.tokenize import shards
from tilth.tokenize.shards import Encoding, ShardWriter, SourceCount, TokenPart, read_shard, tokenize_part
from tilth.tokenize.tokenizer import Tokenizer

BatchOf = Callable[..., pa.RecordBatch]
Prose = Callable[[int, int], list[str]]


needs_proc = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="asks Linux what the process has mapped")


def rows(path: Path) -> list[dict[str, object]]:
    """Read a shard with nothing of ours."""
    return list(pa.ipc.open_file(path).read_all().to_pylist())


def test_every_document_is_one_row_of_its_tokens_and_the_separator(
    tokenizer: Tokenizer, batch_of: BatchOf, prose: Prose, tmp_path: Path
) -> None:
    texts = ["", *prose(1, 20), "\n"]
    batch = batch_of("wiki", texts)
    tokenize_part([batch], tokenizer.path, tmp_path / "part.arrow")
    found = rows(tmp_path / "part.arrow")
    encoded = [[*tokens.tolist(), tokenizer.separator] for tokens in tokenizer.encode_batch(texts)]
    assert [row["tokens"] for row in found] == encoded
    assert [row["id"] for row in found] == batch.column("id").to_pylist()
    assert [row["bytes"] for row in found] == [len(text.encode()) for text in texts]
    assert {row["source"] for row in found} == {"wiki"}


def test_a_part_counts_what_went_in(tokenizer: Tokenizer, batch_of: BatchOf, prose: Prose, tmp_path: Path) -> None:
    wiki, law = prose(1, 20), ["", *prose(2, 30)]
    batches = [batch_of("wiki", wiki[:7]), batch_of("law", law), batch_of("wiki", wiki[7:], 7)]
    part = tokenize_part(batches, tokenizer.path, tmp_path / "part.arrow")

    def count(texts: list[str]) -> SourceCount:
        tokens = sum(len(tokens) + 1 for tokens in tokenizer.encode_batch(texts))
        return SourceCount(len(texts), sum(len(text.encode()) for text in texts), tokens)

    assert part.sources == {"law": count(law), "wiki": count(wiki)}
    assert part.total == count(wiki + law)
    assert (part.name, part.size) == ("part.arrow", (tmp_path / "part.arrow").stat().st_size)
    assert part.digest == file_digest(tmp_path / "part.arrow")
    assert TokenPart.from_json(part.to_json()) == part


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, 60), max_size=4).map(sorted))
def test_the_file_does_not_depend_on_how_documents_came_batched(
    cuts: list[int],
    tokenizer: Tokenizer,
    batch_of: BatchOf,
    prose: Prose,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shards, "BATCH_TOKENS", 400)
    batch = batch_of("wiki", prose(3, 60))
    bounds = [0, *cuts, 60]
    pieces = [batch.slice(start, end - start) for start, end in pairwise(bounds)]
    whole = tokenize_part([batch], tokenizer.path, tmp_path / "whole.arrow")
    cut = tokenize_part(pieces, tokenizer.path, tmp_path / "cut.arrow")
    assert (cut.size, cut.digest, cut.sources) == (whole.size, whole.digest, whole.sources)


def test_a_record_batch_ends_with_the_document_that_fills_it(
    tokenizer: Tokenizer, batch_of: BatchOf, prose: Prose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "BATCH_TOKENS", 400)
    tokenize_part([batch_of("wiki", prose(3, 60))], tokenizer.path, tmp_path / "part.arrow")
    *full, last = read_shard(tmp_path / "part.arrow").batches
    assert len(full) > 3
    assert all(len(batch.tokens) >= 400 and batch.offsets[-2] < 400 for batch in full)
    assert 0 < len(last.tokens) < 400


@needs_proc
def test_the_reader_copies_no_token(tokenizer: Tokenizer, batch_of: BatchOf, prose: Prose, tmp_path: Path) -> None:
    path = tmp_path / "part.arrow"
    tokenize_part([batch_of("wiki", prose(1, 50))], tokenizer.path, path)
    before = pa.total_allocated_bytes()
    shard = read_shard(path)
    assert pa.total_allocated_bytes() == before
    mapped = [
        line.split()[0].split("-") for line in Path("/proc/self/maps").read_text().splitlines() if str(path) in line
    ]
    for batch in shard.batches:
        for array in (batch.tokens, batch.offsets):
            assert not array.flags.owndata and not array.flags.writeable
            first, after = array.ctypes.data, array.ctypes.data + array.nbytes
            assert any(int(start, 16) <= first and after <= int(end, 16) for start, end in mapped)


@needs_proc
def test_an_open_shard_holds_no_file_descriptor(
    tokenizer: Tokenizer, batch_of: BatchOf, prose: Prose, tmp_path: Path
) -> None:
    path = tmp_path / "part.arrow"
    tokenize_part([batch_of("wiki", prose(1, 5))], tokenizer.path, path)
    before = len(list(Path("/proc/self/fd").iterdir()))
    opened = [read_shard(path) for _ in range(50)]
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert len({batch.tokens.tobytes() for shard in opened for batch in shard.batches}) == 1


def test_a_shard_says_what_its_ids_mean(tokenizer: Tokenizer, batch_of: BatchOf, tmp_path: Path) -> None:
    tokenize_part([batch_of("wiki", ["text"])], tokenizer.path, tmp_path / "part.arrow")
    assert read_shard(tmp_path / "part.arrow").encoding == Encoding(tokenizer.digest, 500, tokenizer.separator)


def test_a_part_without_documents_is_a_shard_without_rows(tokenizer: Tokenizer, tmp_path: Path) -> None:
    part = tokenize_part([], tokenizer.path, tmp_path / "part.arrow")
    assert part.total == SourceCount(0, 0, 0)
    assert read_shard(tmp_path / "part.arrow").batches == ()


def test_a_large_vocabulary_is_written_as_uint32(batch_of: BatchOf, tmp_path: Path) -> None:
    encoding = Encoding("0" * 32, 70_000, 1)
    with ShardWriter(tmp_path / "wide.arrow", encoding, np.dtype(np.uint32)) as writer:
        writer.write(batch_of("wiki", ["a"]), np.array([69_999, 1], np.uint32), np.array([0, 2]))
        writer.commit()
    (batch,) = read_shard(tmp_path / "wide.arrow").batches
    assert batch.tokens.dtype == np.uint32
    assert batch.tokens.tolist() == [69_999, 1]


def test_an_unfinished_shard_leaves_nothing(tokenizer: Tokenizer, batch_of: BatchOf, tmp_path: Path) -> None:
    def broken() -> object:
        yield batch_of("wiki", ["text"])
        raise RuntimeError("the reader failed")

    with pytest.raises(RuntimeError, match="the reader failed"):
        tokenize_part(broken(), tokenizer.path, tmp_path / "tokens" / "part.arrow")  # type: ignore[arg-type]
    assert list((tmp_path / "tokens").iterdir()) == []


def test_a_damaged_shard_is_refused(tokenizer: Tokenizer, batch_of: BatchOf, prose: Prose, tmp_path: Path) -> None:
    path = tmp_path / "part.arrow"
    tokenize_part([batch_of("wiki", prose(1, 5))], tokenizer.path, path)
    data = path.read_bytes()
    for damaged in (b"", b"text", data[:-8], data[: len(data) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"part\.arrow: not a token shard, or damaged"):
            read_shard(path)
    with pytest.raises(UserError, match=r"gone\.arrow: token shard not found"):
        read_shard(tmp_path / "gone.arrow")


def test_another_arrow_file_is_refused(tokenizer: Tokenizer, batch_of: BatchOf, tmp_path: Path) -> None:
    path = tmp_path / "documents.arrow"
    batch = batch_of("wiki", ["text"])
    with pa.ipc.new_file(str(path), batch.schema) as writer:
        writer.write(batch)
    with pytest.raises(UserError, match="an Arrow file, but not a token shard"):
        read_shard(path)
    wrong = batch.schema.with_metadata({f"tilth.{name}": "1" for name in ("tokenizer", "vocabulary_size", "separator")})
    with pa.ipc.new_file(str(path), wrong) as writer:
        writer.write(batch)
    with pytest.raises(
        UserError, match=r"found columns id .*; expected id fixed_size_binary\[16\], .*; tokenize again"
    ):
        read_shard(path)
