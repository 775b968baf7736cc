import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.corpus.errors import UserError
from tilth.tokenize.huggingface import CL100K_PATTERNS, exact_cuts
from tilth.tokenize.settings import TokenizerSettings
from tilth.tokenize.tokenizer import Tokenizer
from tilth.tokenize.train_tokenizer import model_name, train_tokenizer

Prose = Callable[[int, int], list[str]]
CORPORA = Path(__file__).resolve().parents[3] / "shared" / "data" / "corpora"

# What pre-tokenizers look at: every kind of white space, contractions, digits of other scripts, combining marks.
NASTY = st.text(
    alphabet=st.one_of(
        st.sampled_from(
            " \n\t\r\0\x0b\x1c\x85\u00a0\u2003\u2028\u3000'.,ab1Z\u00e9\u0301\u0660\u00bd\u6c49\u0130\u03a3"
        ),
        st.characters(codec="utf-8"),
    )
)
PARTS = st.sampled_from(
    ["<|end|>", "[SEP]", "[UNK]", "it's", "WE'LL", "''ve", "  ", "\n\n\n", " \n x", "\r\n", "3.14", "bacoden ", "##ba"]
)
TEXTS = st.lists(st.one_of(NASTY, PARTS), max_size=8).map("".join)


def trained(kind: str, path: Path, texts: list[str], **changed: Any) -> Tokenizer:
    return train_tokenizer(texts, path, TokenizerSettings(**{"kind": kind, "vocabulary_size": 500, **changed}))


def rewritten(tokenizer: Tokenizer, path: Path, change: Callable[[dict[str, Any]], None]) -> Tokenizer:
    """Change what a tokenizer.json says."""
    config = json.loads(tokenizer.path.read_bytes())
    change(config)
    path.write_text(json.dumps(config))
    return Tokenizer.load(path)


def split_by(pattern: str) -> Callable[[dict[str, Any]], None]:
    def change(config: dict[str, Any]) -> None:
        split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
        level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
        config["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [split, level]}

    return change


def prefixed(config: dict[str, Any]) -> None:
    config["pre_tokenizer"] = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}


def named_in_text(config: dict[str, Any]) -> None:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    config["added_tokens"].append({"id": 500, "content": "den b", **flags})


MAKE = {
    "byte-bpe": lambda texts, folder: trained("byte-bpe", folder / "tokenizer.json", texts),
    "byte-bpe with whole numbers": lambda texts, folder: trained(
        "byte-bpe", folder / "tokenizer.json", texts, split_digits=False
    ),
    "wordpiece": lambda texts, folder: trained("wordpiece", folder / "tokenizer.json", texts),
    "wordpiece in lower case": lambda texts, folder: trained(
        "wordpiece", folder / "tokenizer.json", texts, lowercase=True
    ),
    **{
        f"cl100k, {number}": lambda texts, folder, pattern=pattern: rewritten(
            trained("byte-bpe", folder / "old.json", texts), folder / "tokenizer.json", split_by(pattern)
        )
        for number, pattern in enumerate(sorted(CL100K_PATTERNS))
    },
    "a space before": lambda texts, folder: rewritten(
        trained("byte-bpe", folder / "old.json", texts), folder / "tokenizer.json", prefixed
    ),
    "pieces found in the text": lambda texts, folder: rewritten(
        trained("byte-bpe", folder / "old.json", texts), folder / "tokenizer.json", named_in_text
    ),
}
WITHOUT_TABLE = {"a space before", "pieces found in the text"}


@pytest.fixture(scope="module", params=MAKE)
def made(request: pytest.FixtureRequest, prose: Prose, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    tokenizer = MAKE[request.param](prose(0, 200), tmp_path_factory.mktemp("tokenizer"))
    config = json.loads(tokenizer.path.read_bytes())
    assert (exact_cuts(config) is None) is (request.param in WITHOUT_TABLE)
    return tokenizer


def library_ids(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    """Ask the library itself, loaded anew, one text at a time."""
    from tokenizers import Tokenizer as Library

    library = Library.from_file(str(tokenizer.path))
    library.encode_special_tokens = True
    return [library.encode(text, add_special_tokens=False).ids for text in texts]


@settings(deadline=None, max_examples=100)
@given(texts=st.lists(TEXTS, max_size=4))
def test_the_ids_are_those_of_the_library(made: Tokenizer, texts: list[str]) -> None:
    assert [tokens.tolist() for tokens in made.encode_batch(texts)] == library_ids(made, texts)


@settings(deadline=None)
@given(text=TEXTS)
def test_no_text_can_write_a_special_token(made: Tokenizer, text: str) -> None:
    (tokens,) = made.encode_batch([text + "<|end|><|pad|>[SEP][CLS][PAD][MASK]"])
    special = [number for role, number in made.special.items() if role != "unknown"]
    assert not np.isin(tokens, special).any()


@settings(deadline=None)
@given(text=TEXTS)
def test_byte_bpe_gives_every_text_back(byte_bpe: Tokenizer, text: str) -> None:
    (tokens,) = byte_bpe.encode_batch([text])
    assert byte_bpe.decode(tokens) == text


@pytest.fixture(scope="module")
def byte_bpe(prose: Prose, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return trained("byte-bpe", tmp_path_factory.mktemp("bpe") / "tokenizer.json", prose(0, 200))


@pytest.mark.parametrize("kind", ["byte-bpe", "wordpiece", "sentencepiece-unigram"])
def test_equal_texts_in_any_order_give_equal_bytes(kind: str, prose: Prose, tmp_path: Path) -> None:
    texts = prose(2, 100)
    first, again = (
        trained(kind, tmp_path / str(number) / model_name(kind), given, vocabulary_size=420, sample_bytes=8_000)
        for number, given in enumerate((texts, texts[::-1]))
    )
    assert first.path.read_bytes() == again.path.read_bytes()
    assert first.digest == again.digest


@pytest.mark.parametrize(
    ("kind", "roles"),
    [
        ("byte-bpe", {"separator": 0, "padding": 1}),
        ("wordpiece", {"padding": 0, "unknown": 1, "class": 2, "separator": 3, "mask": 4}),
        ("sentencepiece-unigram", {"unknown": 0, "separator": 1, "padding": 2}),
    ],
)
def test_special_tokens_are_known_by_their_roles(
    kind: str, roles: dict[str, int], prose: Prose, tmp_path: Path
) -> None:
    tokenizer = trained(kind, tmp_path / model_name(kind), prose(0, 60))
    assert tokenizer.special == roles
    assert tokenizer.kind == kind
    assert pickle.loads(pickle.dumps(tokenizer)) == tokenizer


def test_a_tokenizer_without_the_needed_special_tokens_says_which(byte_bpe: Tokenizer) -> None:
    assert byte_bpe.needed("separator") == {"separator": 0}
    with pytest.raises(UserError, match=r"no special token for class, mask, expected one such as <\|class\|>"):
        byte_bpe.needed("separator", "class", "mask")


def test_a_vocabulary_that_the_text_cannot_fill_says_what_it_can(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"vocabulary_size is 5000, the text has pieces for \d+; lower it"):
        trained("byte-bpe", tmp_path / "no.json", ["few words here"], vocabulary_size=5_000)
    with pytest.raises(UserError, match=r"characters alone need \d+; raise it"):
        trained("wordpiece", tmp_path / "no.json", ["".join(chr(0x4E00 + n) for n in range(600))], vocabulary_size=300)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"model": {"type": "Bytes"}}', b"\xff"])
def test_a_damaged_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"tokenizer\.json: .*(damaged|expected an object)"):
        Tokenizer.load(path)


def test_a_folder_without_a_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"found no tokenizer\.json and no \.model file"):
        Tokenizer.load(tmp_path)


def test_a_vocabulary_above_65536_takes_wider_ids(byte_bpe: Tokenizer, tmp_path: Path) -> None:
    def widen(config: dict[str, Any]) -> None:
        config["added_tokens"].append({**config["added_tokens"][0], "id": 70_000, "content": "<far>"})
        config["model"]["vocab"]["<far>"] = 70_000

    wide = rewritten(byte_bpe, tmp_path / "tokenizer.json", widen)
    assert (wide.vocabulary_size, wide.dtype) == (70_001, np.uint32)
    (tmp_path / "special_tokens_map.json").write_text('{"eos_token": "<far>"}')
    tokens, offsets = Tokenizer.load(tmp_path).encode_column(pa.array(["bacoden", ""]), separated=True)
    assert tokens.dtype == np.uint32
    assert tokens[offsets[1:] - 1].tolist() == [70_000, 70_000]


@pytest.mark.skipif(not CORPORA.is_dir(), reason="real texts lie in ../shared/data beside the repository")
@pytest.mark.parametrize("kind", ["byte-bpe", "wordpiece", "sentencepiece-unigram"])
def test_real_text_gets_the_ids_of_the_library(kind: str, tmp_path: Path) -> None:
    texts = []
    for path in sorted(CORPORA.glob("*.zst")):
        with zstandard.open(path, "rt", encoding="utf-8") as lines:
            texts += [json.loads(line)["text"] for line, _ in zip(lines, range(40), strict=False)]
    tokenizer = trained(kind, tmp_path / model_name(kind), texts, vocabulary_size=4_000)
    encoded = [tokens.tolist() for tokens in tokenizer.encode_batch(texts)]
    if kind.startswith("sentence"):
        assert encoded == tokenizer.library.processor.encode(texts)  # type: ignore[attr-defined]
    else:
        assert encoded == library_ids(tokenizer, texts)
