import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tilth.corpus.errors import UserError
from tilth.tokenize.fit import bring_tokenizer, given_digests
from tilth.tokenize.settings import TokenizerSettings
from tilth.tokenize.tokenizer import Tokenizer
from tilth.tokenize.train_tokenizer import train_on_sources

Prose = Callable[[int, int], list[str]]


def test_a_brought_tokenizer_keeps_its_ids_and_its_own_separator(tokenizer: Tokenizer, tmp_path: Path) -> None:
    brought = bring_tokenizer(tokenizer.path, tmp_path / "plain")
    assert brought == tokenizer
    other = bring_tokenizer(tokenizer.path, tmp_path / "other", separator="<|pad|>")
    assert other.separator == tokenizer.padding
    assert Tokenizer.load(tmp_path / "other").separator == tokenizer.padding  # the folder says so itself
    assert given_digests(tmp_path / "plain") != given_digests(tmp_path / "other")
    with pytest.raises(UserError, match="eos_token: found '<gone>'"):
        bring_tokenizer(tokenizer.path, tmp_path / "gone", separator="<gone>")


def test_a_folder_brings_what_says_its_special_tokens(tokenizer: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    shutil.copy(tokenizer.path, tmp_path / "given" / "any.model")
    (tmp_path / "given" / "tokenizer_config.json").write_text('{"eos_token": "<|pad|>", "sep_token": "<|end|>"}')
    assert bring_tokenizer(tmp_path / "given", tmp_path / "run").separator == tokenizer.padding
    with pytest.raises(UserError, match="no tokenizer model here"):
        given_digests(tmp_path / "nowhere")


def test_weights_move_the_vocabulary_towards_a_domain(prose: Prose, tmp_path: Path) -> None:
    domain = [f"chlorophyll photosynthesis {number}\n" for number in range(20)]
    texts = [("wiki", text) for text in prose(0, 100)] + [("plants", text) for text in domain]
    sizes = {}
    for name, weights in (("equal", {"wiki": 1, "plants": 0.01}), ("amplified", {"wiki": 1, "plants": 9})):
        chosen = TokenizerSettings(vocabulary_size=400, sample_bytes=30_000, weights=weights)
        trained = train_on_sources(texts, tmp_path / name / "t.model", chosen)
        again = train_on_sources(texts[::-1], tmp_path / name / "again.model", chosen)
        assert trained == again
        sizes[name] = sum(map(len, trained.encode_batch(domain)))
    assert sizes["amplified"] < sizes["equal"]
