import json
import pickle
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.corpus.errors import UserError
from tilth.tokenize.sentencepiece_model import encode_whole
from tilth.tokenize.settings import TokenizerSettings
from tilth.tokenize.tokenizer import Tokenizer, token_dtype
from tilth.tokenize.train_tokenizer import train_tokenizer

Prose = Callable[[int, int], list[str]]
CORPORA = Path(__file__).resolve().parents[3] / "shared" / "data" / "corpora"

# Texts that tokenizers change: spaces, newlines, SentencePiece's own signs, its pieces by name, all of Unicode.
NASTY = st.text(
    alphabet=st.one_of(st.sampled_from(" \n\t\r\0\u2581\u2585\u2047ab1\u00e9"), st.characters(codec="utf-8"))
)
PARTS = st.sampled_from(
    ["<|end|>", "<|pad|>", "<|unknown|>", "<0x0A>", "\u2581\u2581", " ", "\n\n\n", "\ufeff", "bacoden "]
)


@settings(deadline=None)
@given(st.lists(st.one_of(NASTY, PARTS), max_size=6).map("".join))
def test_every_text_comes_back(tokenizer: Tokenizer, text: str) -> None:
    (tokens,) = tokenizer.encode_batch([text])
    assert tokenizer.decode(tokens) == text


@settings(deadline=None)
@given(st.lists(st.one_of(NASTY, PARTS), max_size=6).map("".join))
def test_the_word_table_changes_no_token(tokenizer: Tokenizer, text: str) -> None:
    (tokens,) = tokenizer.encode_batch([text])
    assert [tokens.tolist()] == encode_whole(tokenizer.library.processor, [text])


@settings(deadline=None)
@given(st.lists(NASTY, max_size=8))
def test_no_text_can_write_a_special_token(tokenizer: Tokenizer, texts: list[str]) -> None:
    for tokens in tokenizer.encode_batch([*texts, "<|end|><|pad|><|unknown|>"]):
        assert not np.isin(tokens, [0, tokenizer.separator, tokenizer.padding]).any()


@settings(deadline=None)
@given(st.lists(NASTY, max_size=8))
def test_a_batch_is_its_texts_one_by_one(tokenizer: Tokenizer, texts: list[str]) -> None:
    alone = [tokenizer.encode_batch([text])[0].tolist() for text in texts]
    assert [tokens.tolist() for tokens in tokenizer.encode_batch(texts)] == alone


def test_a_slice_of_a_column_is_encoded_alone(tokenizer: Tokenizer, prose: Prose) -> None:
    texts = prose(1, 10)
    tokens, offsets = tokenizer.encode_column(pa.array(texts).slice(3, 4), separated=True)
    expected = [[*encoded.tolist(), tokenizer.separator] for encoded in tokenizer.encode_batch(texts[3:7])]
    assert tokens.tolist() == list(chain.from_iterable(expected))
    assert np.diff(offsets).tolist() == [len(encoded) for encoded in expected]


def test_equal_texts_in_any_order_give_equal_bytes(prose: Prose, tmp_path: Path) -> None:
    chosen = TokenizerSettings(vocabulary_size=450, sample_bytes=8_000, seed=5)
    texts = prose(2, 100)
    first = train_tokenizer(texts, tmp_path / "first.model", chosen)
    again = train_tokenizer(iter(texts[::-1]), tmp_path / "elsewhere" / "again.model", chosen)
    assert first.path.read_bytes() == again.path.read_bytes()
    assert first == again
    other = train_tokenizer(texts, tmp_path / "other.model", TokenizerSettings(**{**vars(chosen), "seed": 6}))
    assert other.digest != first.digest


def test_the_vocabulary_begins_with_what_is_never_learned(tokenizer: Tokenizer) -> None:
    pieces = [tokenizer.library.processor.id_to_piece(number) for number in range(6)]
    assert pieces == ["<|unknown|>", "<|end|>", "<|pad|>", "\n", "\n\n", "<0x00>"]
    assert (tokenizer.separator, tokenizer.padding, tokenizer.vocabulary_size) == (1, 2, 500)
    assert tokenizer.dtype == np.uint16


def test_a_paragraph_break_is_one_token_and_digits_stand_alone(tokenizer: Tokenizer) -> None:
    (tokens,) = tokenizer.encode_batch(["\n\n"])
    assert tokens.tolist() == [tokenizer.id_of("\n\n")]
    (tokens,) = tokenizer.encode_batch(["2024"])
    assert len(tokens) == 4


def test_more_special_tokens_are_control_tokens(prose: Prose, tmp_path: Path) -> None:
    chosen = TokenizerSettings(vocabulary_size=450, special_tokens=("<|mask|>", "<|class|>"))
    tokenizer = train_tokenizer(prose(0, 60), tmp_path / "mask.model", chosen)
    mask = tokenizer.id_of("<|mask|>")
    assert mask not in tokenizer.encode_batch(["<|mask|>"])[0]
    assert tokenizer.decode([mask]) == ""
    with pytest.raises(UserError, match=r"no piece '<\|nothing\|>'"):
        tokenizer.id_of("<|nothing|>")


def test_ids_are_uint16_up_to_65536_pieces() -> None:
    assert token_dtype(65_536) == np.uint16
    assert token_dtype(65_537) == np.uint32


def test_a_tokenizer_travels_as_its_path(tokenizer: Tokenizer) -> None:
    sent = pickle.dumps(tokenizer)
    assert len(sent) < 500
    assert (
        pickle.loads(sent).encode_batch(["bacoden gorhal"])[0].tolist()
        == tokenizer.encode_batch(["bacoden gorhal"])[0].tolist()
    )


def test_a_word_without_end_can_be_trained_on(prose: Prose, tmp_path: Path) -> None:
    texts = [*prose(0, 60), "ab" * 100_000]
    assert (
        train_tokenizer(texts, tmp_path / "long.model", TokenizerSettings(vocabulary_size=450)).vocabulary_size == 450
    )


@pytest.mark.parametrize(
    ("texts", "size", "message"),
    [
        ([], 300, "found no text"),
        (["", "\n\n", "\u2581"], 300, "found no text"),
        (["few words here"], 5_000, r"vocabulary_size is 5000, the text has pieces for \d+; lower it"),
        (["".join(chr(0x4E00 + n) for n in range(500))], 300, r"characters alone need \d+; raise it"),
    ],
)
def test_a_vocabulary_that_does_not_fit_the_text_says_what_does(
    texts: list[str], size: int, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        train_tokenizer(texts, tmp_path / "no.model", TokenizerSettings(vocabulary_size=size))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("vocabulary_size", 200),
        ("sample_bytes", 0),
        ("character_coverage", 0.5),
        ("character_coverage", float("nan")),
        ("special_tokens", ("<|end|>",)),
        ("special_tokens", ("a", "a")),
        ("special_tokens", ("",)),
    ],
)
def test_settings_out_of_range_are_named(field: str, value: object) -> None:
    with pytest.raises(UserError, match=f"tokenizer.{field}: found"):
        TokenizerSettings(**{"vocabulary_size": 500, field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("damage", [b"", b"not a model", None])
def test_a_damaged_model_is_refused(damage: bytes | None, tokenizer: Tokenizer, tmp_path: Path) -> None:
    path = tmp_path / "damaged.model"
    path.write_bytes(tokenizer.path.read_bytes()[:-100] if damage is None else damage)
    with pytest.raises(UserError, match="damaged"):
        Tokenizer.load(path)


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.model: no tokenizer model here"):
        Tokenizer.load(tmp_path / "gone.model")


FOREIGN: dict[str, dict[str, object]] = {
    "like ours": {},
    "another separator": {"eos_piece": "</s>"},
    "no bytes": {"byte_fallback": False},
    "a space before": {"add_dummy_prefix": True},
    "trimmed": {"remove_extra_whitespaces": True},
    "normalised": {"normalization_rule_name": "nmt_nfkc"},
    "pieces of words": {"user_defined_symbols": ["of the"]},
    "spaces after": {"treat_whitespace_as_suffix": True},
    "unigram": {"model_type": "unigram"},
}


def foreign_model(path: Path, texts: list[str], **changed: object) -> Path:
    import sentencepiece

    ours = {"byte_fallback": True, "normalization_rule_name": "identity", "add_dummy_prefix": False}
    ours |= {"remove_extra_whitespaces": False, "eos_piece": "<|end|>", "pad_piece": "<|pad|>", "pad_id": 3}
    ours |= {"vocab_size": 420, "model_type": "bpe"}
    with path.open("wb") as stream:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts), model_writer=stream, minloglevel=2, **(ours | changed)
        )
    return path


@pytest.fixture(scope="module", params=FOREIGN)
def foreign(request: pytest.FixtureRequest, prose: Prose, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = tmp_path_factory.mktemp("foreign") / "foreign.model"
    return Tokenizer.load(foreign_model(path, prose(0, 60), **FOREIGN[request.param]))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.one_of(NASTY, PARTS, st.sampled_from(["bacoden of the", " \n a"])), max_size=9).map("".join))
def test_a_model_from_elsewhere_gives_the_ids_of_its_library(foreign: Tokenizer, text: str) -> None:
    (tokens,) = foreign.encode_batch([text])
    if "\u2581" not in text:
        assert tokens.tolist() == foreign.library.processor.encode(text)


def test_the_separator_is_the_models_own_unless_a_file_beside_it_names_another(prose: Prose, tmp_path: Path) -> None:
    path = foreign_model(tmp_path / "m.model", prose(0, 60), eos_piece="</s>", control_symbols=["<other>"])
    assert Tokenizer.load(path).separator == Tokenizer.load(path).id_of("</s>")
    (tmp_path / "special_tokens_map.json").write_text('{"eos_token": {"content": "<other>"}}')
    assert Tokenizer.load(path).separator == Tokenizer.load(path).id_of("<other>")
    assert Tokenizer.load(tmp_path) == Tokenizer.load(path)  # the folder holds one model
    (tmp_path / "special_tokens_map.json").write_text('{"eos_token": "<gone>"}')
    with pytest.raises(UserError, match=r"eos_token: found '<gone>', which the vocabulary lacks"):
        Tokenizer.load(path)


def test_a_model_that_cannot_part_documents_is_refused(prose: Prose, tmp_path: Path) -> None:
    path = foreign_model(tmp_path / "m.model", prose(0, 60), eos_id=-1)
    with pytest.raises(UserError, match="no token is known to separate documents"):
        Tokenizer.load(path)


@pytest.mark.skipif(not CORPORA.is_dir(), reason="real texts lie in ../shared/data beside the repository")
def test_real_text_comes_back_with_sentencepieces_own_tokens(tmp_path: Path) -> None:
    texts = []
    for path in sorted(CORPORA.glob("*.zst")):
        with zstandard.open(path, "rt", encoding="utf-8") as lines:
            texts += [json.loads(line)["text"] for line, _ in zip(lines, range(60), strict=False)]
    tokenizer = train_tokenizer(texts, tmp_path / "real.model", TokenizerSettings(vocabulary_size=4_000))
    encoded = tokenizer.encode_batch(texts)
    assert [tokenizer.decode(tokens) for tokens in encoded] == texts
    assert [tokens.tolist() for tokens in encoded] == encode_whole(tokenizer.library.processor, texts)
