"""Losses of a ladder: bits a byte of documents scored alone, whichever kind of model gives them."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tilth.corpus.errors import UserError
from tilth.eval.bits_per_byte import evaluate
from tilth.eval.losses import Rung, huggingface_losses, ladder_losses, window_nats


def test_a_checkpoint_gives_the_bits_of_the_evaluation(
    seed_checkpoint: Path, tokenizer_path: Path, held_out: pa.Table, tmp_path: Path
) -> None:
    ladder = [Rung(name, seed_checkpoint, tokenizer_path) for name in ("one", "two")]
    found = ladder_losses(ladder, held_out, tmp_path / "ladder")
    expected = evaluate({"alone": seed_checkpoint}, tokenizer_path, held_out, tmp_path / "alone").documents
    bits, sizes = expected.column("bits").to_numpy(), expected.column("bytes").to_numpy()
    assert list(found) == ["one", "two"]
    assert np.isnan(found["one"][sizes == 0]).all()
    np.testing.assert_allclose(found["one"][sizes > 0], bits[sizes > 0] / sizes[sizes > 0])
    np.testing.assert_array_equal(found["one"], found["two"])


def test_a_document_is_scored_alone(
    seed_checkpoint: Path, tokenizer_path: Path, held_out: pa.Table, tmp_path: Path
) -> None:
    ladder = [Rung("m", seed_checkpoint, tokenizer_path)]
    together = ladder_losses(ladder, held_out, tmp_path / "together")["m"]
    apart = ladder_losses(ladder, held_out.slice(4, 2), tmp_path / "apart")["m"]
    np.testing.assert_allclose(apart, together[4:6], rtol=1e-6)


def test_a_rung_names_one_kind_of_model() -> None:
    for rung in (
        {},
        {"checkpoint": Path("a")},
        {"checkpoint": Path("a"), "tokenizer": Path("b"), "huggingface": Path("c")},
    ):
        with pytest.raises(UserError, match="model 'm': expected 'checkpoint' with 'tokenizer', or 'huggingface'"):
            Rung("m", **rung)


def test_two_models_of_one_name_are_refused(held_out: pa.Table, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="two models have one name"):
        ladder_losses([Rung("m", Path("a"), Path("b"))] * 2, held_out, tmp_path)


class Uniform:
    """A model that knows nothing of its four tokens, and remembers what it was shown."""

    def __init__(self) -> None:
        self.seen: list[list[int]] = []

    def __call__(self, tokens: Any) -> Any:
        import torch

        self.seen += tokens.tolist()

        class Answer:
            logits = torch.zeros(*tokens.shape, 4)

        return Answer


@pytest.mark.parametrize("size", [1, 3, 8, 9, 21])
def test_windows_count_every_token_once(size: int) -> None:
    torch = pytest.importorskip("torch")
    model, tokens = Uniform(), [0, *([1, 2, 3] * size)[:size]]
    assert window_nats(model, torch, tokens, 8) == pytest.approx(size * math.log(4))
    assert all(len(window) <= 8 for window in model.seen)
    assert model.seen[0][0] == 0


def test_a_hugging_face_folder_is_read_without_a_network(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers", reason="the package 'transformers' is not installed")
    from tokenizers import Tokenizer, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={c: n for n, c in enumerate([*alphabet, "<eos>"])}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>").save_pretrained(tmp_path)
    torch.manual_seed(0)
    model = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=257, n_positions=16, n_embd=16, n_layer=2, n_head=2, bos_token_id=256, eos_token_id=256
        )
    ).eval()
    model.save_pretrained(tmp_path)
    texts = ["hello", "größe " * 9]
    found = huggingface_losses(tmp_path, pa.table({"text": texts}))
    tokens = torch.tensor([[256, *tokenizer.encode("hello").ids]])
    with torch.no_grad():
        nats = torch.nn.functional.cross_entropy(model(tokens[:, :-1]).logits[0], tokens[0, 1:], reduction="sum")
    assert found[0] == pytest.approx(float(nats) / math.log(2) / 5, rel=1e-5)
    assert 6 < found[1] < 10
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(UserError, match="not a causal model"):
        huggingface_losses(tmp_path, pa.table({"text": texts}))


def test_a_folder_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such folder|needs transformers and torch"):
        huggingface_losses(tmp_path / "gone", pa.table({"text": ["a"]}))
