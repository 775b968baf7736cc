import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from tilth.corpus.errors import UserError
from tilth.tokenize.settings import TokenizerSettings
from tilth.tokenize.shards import SourceCount, tokenize_part
from tilth.tokenize.token_set import MANIFEST, TokenSet, write_manifest
from tilth.tokenize.tokenizer import Tokenizer
from tilth.tokenize.train_tokenizer import train_tokenizer

MakeTokenSet = Callable[..., TokenSet]
BatchOf = Callable[..., pa.RecordBatch]
Prose = Callable[[int, int], list[str]]


@pytest.fixture
def token_set(make_token_set: MakeTokenSet, prose: Prose, tmp_path: Path) -> TokenSet:
    parts = [[("wiki", prose(1, 10)), ("law", prose(2, 5))], [("wiki", prose(3, 8))]]
    return make_token_set(tmp_path / "tokens", parts)


def test_what_is_opened_is_what_was_written(token_set: TokenSet, tokenizer: Tokenizer) -> None:
    opened = TokenSet.open(token_set.folder, verify_digests=True)
    assert opened == token_set
    assert opened.digest == token_set.digest
    assert list(opened.sources) == ["law", "wiki"]
    assert opened.sources["wiki"].documents == 18
    assert opened.total.tokens == sum(len(batch.tokens) for shard in opened.shards() for batch in shard.batches)
    assert opened.encoding.tokenizer == tokenizer.digest


def test_the_manifest_shows_counts_to_people(token_set: TokenSet) -> None:
    data = json.loads((token_set.folder / MANIFEST).read_text())
    assert (data["dtype"], data["vocabulary_size"], data["separator"]) == ("uint16", 500, 1)
    assert data["documents"] == 23 == sum(source["documents"] for source in data["sources"].values())
    assert [part["name"] for part in data["parts"]] == ["part-00000.arrow", "part-00001.arrow"]


def test_a_token_set_can_move(token_set: TokenSet, tmp_path: Path) -> None:
    shutil.move(token_set.folder, tmp_path / "elsewhere")
    assert TokenSet.open(tmp_path / "elsewhere", verify_digests=True).digest == token_set.digest


def test_the_digest_follows_the_content(make_token_set: MakeTokenSet, prose: Prose, tmp_path: Path) -> None:
    texts = prose(1, 4)
    digests = {
        make_token_set(tmp_path / str(number), parts).digest
        for number, parts in enumerate(
            [
                [[("wiki", texts)]],
                [[("wiki", texts[::-1])]],
                [[("law", texts)]],
                [[("wiki", texts[:2])], [("wiki", texts[2:])]],
                [[("wiki", texts[2:])], [("wiki", texts[:2])]],
            ]
        )
    }
    assert len(digests) == 5
    assert make_token_set(tmp_path / "again", [[("wiki", texts)]]).digest in digests


def test_a_shard_that_is_not_named_is_not_read(token_set: TokenSet) -> None:
    shutil.copy(token_set.folder / "part-00000.arrow", token_set.folder / "part-00002.arrow")
    assert TokenSet.open(token_set.folder) == token_set


def test_a_missing_shard_is_named(token_set: TokenSet) -> None:
    (token_set.folder / "part-00001.arrow").unlink()
    with pytest.raises(UserError, match=r"part-00001\.arrow: token shard not found"):
        TokenSet.open(token_set.folder)


def test_a_shard_of_another_size_is_refused(token_set: TokenSet) -> None:
    with (token_set.folder / "part-00001.arrow").open("ab") as stream:
        stream.write(b"\0")
    with pytest.raises(UserError, match=r"part-00001\.arrow: found \d+ bytes, _manifest.json says \d+"):
        TokenSet.open(token_set.folder)


def test_changed_tokens_of_the_same_size_are_found_by_their_digest(token_set: TokenSet) -> None:
    path = token_set.folder / "part-00001.arrow"
    data = bytearray(path.read_bytes())
    tokens = token_set.shards()[1].batches[0].tokens.tobytes()
    data[data.find(tokens)] ^= 1
    path.write_bytes(data)
    TokenSet.open(token_set.folder)
    with pytest.raises(UserError, match=r"part-00001\.arrow: found digest"):
        TokenSet.open(token_set.folder, verify_digests=True)


def test_a_shard_of_another_tokenizer_is_refused(
    token_set: TokenSet, tokenizer: Tokenizer, batch_of: BatchOf, prose: Prose, tmp_path: Path
) -> None:
    other = train_tokenizer(prose(9, 200), tmp_path / "other.model", TokenizerSettings(vocabulary_size=500))
    foreign = tokenize_part([batch_of("wiki", ["text"])], other.path, token_set.folder / "part-00002.arrow")
    with pytest.raises(UserError, match=f"part-00002.arrow: made with tokenizer {other.digest}"):
        write_manifest(token_set.folder, tokenizer, [*token_set.parts, foreign])
    assert TokenSet.open(token_set.folder) == token_set


def test_the_order_of_the_parts_does_not_matter(token_set: TokenSet, tokenizer: Tokenizer) -> None:
    before = (token_set.folder / MANIFEST).read_bytes()
    write_manifest(token_set.folder, tokenizer, token_set.parts[::-1])
    assert (token_set.folder / MANIFEST).read_bytes() == before


@pytest.mark.parametrize("twice", [True, False])
def test_no_part_and_a_part_twice_are_refused(token_set: TokenSet, tokenizer: Tokenizer, twice: bool) -> None:
    with pytest.raises(UserError, match="expected at least one and each once"):
        write_manifest(token_set.folder, tokenizer, [*token_set.parts, *token_set.parts] if twice else [])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not a manifest"),
        (b"[]", "not a manifest"),
        (b"{}", "not a manifest"),
        (b'{"format": 99}', "found format 99, expected 1"),
        (b"\xff", "not a manifest"),
    ],
)
def test_a_damaged_manifest_is_refused(token_set: TokenSet, content: bytes, message: str) -> None:
    (token_set.folder / MANIFEST).write_bytes(content)
    with pytest.raises(UserError, match=message):
        TokenSet.open(token_set.folder)


def test_an_edited_manifest_is_refused(token_set: TokenSet) -> None:
    path = token_set.folder / MANIFEST
    path.write_text(path.read_text().replace(token_set.parts[0].digest, "0" * 32))
    with pytest.raises(UserError, match="was edited"):
        TokenSet.open(token_set.folder)


def test_a_folder_without_tokens_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no token set here"):
        TokenSet.open(tmp_path)


def test_the_sum_of_sources_is_the_total(token_set: TokenSet) -> None:
    assert sum(token_set.sources.values(), SourceCount(0, 0, 0)) == token_set.total
