from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.corpus.errors import UserError
from tilth.tokenize.settings import TokenizerSettings, bytes_vocabulary
from tilth.tokenize.tokenizer import Tokenizer
from tilth.tokenize.train_tokenizer import train_tokenizer


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    chosen = TokenizerSettings(kind="bytes", vocabulary_size=bytes_vocabulary(1), special_tokens=("<|mask|>",))
    return train_tokenizer([], tmp_path_factory.mktemp("bytes") / "tokenizer.json", chosen)


@settings(deadline=None)
@given(st.lists(st.text(), max_size=5))
def test_a_byte_is_its_id(plain: Tokenizer, texts: list[str]) -> None:
    found = plain.encode_batch(texts)
    assert [bytes(tokens.astype(np.uint8)).decode() for tokens in found] == texts
    assert [plain.decode(tokens) for tokens in found] == texts
    assert [tokens.tolist() for tokens in found] == plain.library.encode(texts)


def test_special_tokens_follow_the_bytes(plain: Tokenizer) -> None:
    assert plain.special == {"separator": 256, "padding": 257, "mask": 258}
    assert (plain.vocabulary_size, plain.kind, plain.dtype) == (259, "bytes", np.uint16)
    assert [plain.library.piece_of(number) for number in (65, 256, 259)] == ["<0x41>", "<|end|>", None]


def test_the_separator_follows_every_text_and_the_empty_one(plain: Tokenizer) -> None:
    import pyarrow as pa

    tokens, offsets = plain.encode_column(pa.array(["x", "ab", "", "c"]).slice(1), separated=True)
    assert tokens.tolist() == [97, 98, 256, 256, 99, 256]
    assert offsets.tolist() == [0, 3, 4, 6]


def test_the_size_of_a_vocabulary_of_bytes_is_not_chosen() -> None:
    with pytest.raises(UserError, match="vocabulary_size: found 300, expected 258 for plain bytes"):
        TokenizerSettings(kind="bytes", vocabulary_size=300)


def test_an_unknown_kind_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"tokenizer\.kind: found 'words', expected one of sentencepiece-bpe"):
        TokenizerSettings(kind="words", vocabulary_size=300)  # type: ignore[arg-type]
