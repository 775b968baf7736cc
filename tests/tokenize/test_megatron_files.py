import struct
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tilth.corpus.errors import UserError
from tilth.tokenize.datatrove_files import import_datatrove
from tilth.tokenize.megatron_files import export_megatron, import_megatron
from tilth.tokenize.shards import Encoding, ShardWriter
from tilth.tokenize.token_set import TokenSet
from tilth.tokenize.tokenizer import Tokenizer

MakeTokenSet = Callable[..., TokenSet]
Prose = Callable[[int, int], list[str]]


@pytest.fixture
def token_set(make_token_set: MakeTokenSet, prose: Prose, tmp_path: Path) -> TokenSet:
    return make_token_set(tmp_path / "tokens", [[("wiki", prose(1, 10)), ("law", ["", "x"])], [("wiki", prose(3, 8))]])


def documents_of(token_set: TokenSet) -> list[list[int]]:
    return [
        tokens
        for part in token_set.parts
        for tokens in pa.ipc.open_file(token_set.folder / part.name).read_all().column("tokens").to_pylist()
    ]


def test_megatron_reads_what_was_exported(token_set: TokenSet, tmp_path: Path) -> None:
    indexed = pytest.importorskip("megatron.core.datasets.indexed_dataset")
    export_megatron(token_set, tmp_path / "out" / "text")
    found = indexed.IndexedDataset(str(tmp_path / "out" / "text"))
    assert found.index.dtype == np.uint16
    assert [found[number].tolist() for number in range(len(found))] == documents_of(token_set)
    assert found.document_indices.tolist() == list(range(len(found) + 1))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["text.bin", "text.idx"]


def test_sentences_are_cut_after_their_ends_and_lose_nothing_but_separators(
    token_set: TokenSet, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    indexed = pytest.importorskip("megatron.core.datasets.indexed_dataset")
    newline = tokenizer.id_of("\n")
    export_megatron(token_set, tmp_path / "text", [newline], keep_separator=False)
    found = indexed.IndexedDataset(str(tmp_path / "text"))
    documents = []
    for first, last in pairwise(found.document_indices.tolist()):
        sentences = [found[number].tolist() for number in range(first, last)]
        assert all(newline not in sentence[:-1] for sentence in sentences)
        assert all(sentence[-1] == newline for sentence in sentences[:-1])
        assert all(sentences)
        documents.append([token for sentence in sentences for token in sentence])
    assert documents == [tokens[:-1] for tokens in documents_of(token_set)]


def test_wide_ids_are_exported_as_int32(tmp_path: Path) -> None:
    encoding = Encoding("0" * 32, 70_000, 1)
    rows = pa.record_batch(
        [pa.array([b"0" * 16], pa.binary(16)), pa.array(["wiki"]), pa.array([9])], names=["id", "source", "bytes"]
    )
    with ShardWriter(tmp_path / "part.arrow", encoding, np.dtype(np.uint32)) as writer:
        writer.write(rows, np.array([69_999, 5, 1], np.uint32), np.array([0, 3]))
        part = writer.commit()
    export_megatron(TokenSet(tmp_path, encoding, (part,)), tmp_path / "text")
    assert np.fromfile(tmp_path / "text.bin", np.int32).tolist() == [69_999, 5, 1]
    assert (tmp_path / "text.idx").read_bytes()[17] == 4


def test_what_was_exported_comes_back(token_set: TokenSet, tokenizer: Tokenizer, tmp_path: Path) -> None:
    for number, keep in enumerate((True, False)):
        export_megatron(token_set, tmp_path / "text", keep_separator=keep)
        back = import_megatron([tmp_path / "text"], tokenizer, "old", tmp_path / f"back{number}", 2_000)
        expected = [tokens for tokens in documents_of(token_set) if keep or len(tokens) > 1]
        assert len(back.parts) > 1
        if keep:
            assert documents_of(back) == expected
            assert back.sources["old"].bytes == token_set.total.bytes
        else:
            assert [tokens for tokens in documents_of(back) if len(tokens) > 1] == expected
        assert TokenSet.open(back.folder, verify_digests=True).sources.keys() == {"old"}


def test_files_of_datatrove_come_in(token_set: TokenSet, tokenizer: Tokenizer, tmp_path: Path) -> None:
    pytest.importorskip("datatrove")
    from datatrove.pipeline.tokens.tokenizer import TokenizedFile

    documents = documents_of(token_set)
    for number, end in enumerate((0, -1)):  # with separators, and without
        name = f"00000_{number}.ds"
        file = TokenizedFile(str(tmp_path), name, save_final_metadata=True, tokenizer_name_or_path="ours")
        for tokens in documents:
            file.write(tokens[: len(tokens) + end], None)
        file.close()
        back = import_datatrove([tmp_path / name], tokenizer, "old", tmp_path / f"back{number}")
        assert documents_of(back) == documents
        assert back.total.bytes == token_set.total.bytes


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([[5, 6, 7], [8, 7]], r"every document ends with id 7 \(.*\), expected the separator 1"),
        ([[5, 600]], "found id 600, expected ids below 500"),
        ([[5, 1, 6], [7, 1]], "the separator 1 stands inside a document"),
        ([], "found no document"),
    ],
)
def test_tokens_of_another_tokenizer_are_refused(
    tokens: list[list[int]], message: str, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    flat = [token for document in tokens for token in document]
    np.array(flat, np.uint16).tofile(tmp_path / "a.ds")
    np.cumsum([len(document) for document in tokens]).astype(np.uint64).tofile(tmp_path / "a.ds.index")
    with pytest.raises(UserError, match=message):
        import_datatrove([tmp_path / "a.ds"], tokenizer, "old", tmp_path / "back")
    assert not (tmp_path / "back" / "_manifest.json").exists()


def test_damaged_files_are_named(token_set: TokenSet, tokenizer: Tokenizer, tmp_path: Path) -> None:
    export_megatron(token_set, tmp_path / "text")
    index = (tmp_path / "text.idx").read_bytes()

    def refused(data: bytes, message: str) -> None:
        (tmp_path / "text.idx").write_bytes(data)
        with pytest.raises(UserError, match=message):
            import_megatron([tmp_path / "text"], tokenizer, "old", tmp_path / "back")

    refused(b"", "not an index of Megatron, or damaged")
    refused(index[:-9], "not an index of Megatron, or damaged")
    refused(index[:9] + struct.pack("<Q", 2) + index[17:], "version 2")
    refused(index[:34] + struct.pack("<i", 10**6) + index[38:], "do not lie one after the other")
    (tmp_path / "text.bin").write_bytes((tmp_path / "text.bin").read_bytes()[:-2])
    refused(index, r"text\.bin: found \d+ bytes, text\.idx says \d+")
    with pytest.raises(UserError, match=r"gone\.idx: no such file"):
        import_megatron([tmp_path / "gone"], tokenizer, "old", tmp_path / "back")
    with pytest.raises(UserError, match=r"text\.bin\.index: no such file"):
        import_datatrove([tmp_path / "text.bin"], tokenizer, "old", tmp_path / "back")
