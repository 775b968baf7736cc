"""Out and in again: the same logits as ``transformers`` gives, the same weights, and one line for what cannot be."""

import dataclasses
from pathlib import Path
from typing import Any

import orjson
import pytest

from tilth.corpus.errors import UserError
from tilth.train import checkpoint
from tilth.train.job import TrainConfig, TrainJob
from tilth.train.layout import Layout
from tilth.train.model import ModelConfig

torch = pytest.importorskip("torch")
pytest.importorskip("megatron.core")

LLAMA = ModelConfig(
    300, layers=2, hidden_size=32, heads=4, query_groups=2, sequence_length=24, rope_base=5000, norm_epsilon=1e-6
)
GPT2 = ModelConfig(
    300,
    layers=2,
    hidden_size=32,
    heads=4,
    sequence_length=24,
    position="learned",
    normalization="LayerNorm",
    activation="gelu",
    bias=True,
)
BERT = dataclasses.replace(GPT2, kind="bert", norm_epsilon=1e-6)
MODELS = {
    "llama": LLAMA,
    "llama, untied": dataclasses.replace(LLAMA, tied_embeddings=False, query_groups=None),
    "gpt2": GPT2,
    "gpt2, untied, other gelu": dataclasses.replace(GPT2, tied_embeddings=False, activation="gelu_tanh"),
    "bert": BERT,
    "bert, sentence order": dataclasses.replace(BERT, sentence_order=True),
}
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """Return a function that writes a checkpoint of a model whose weights, biases among them, are all at random."""
    from tilth.train.build import build_model
    from tilth.train.cpu_backend import cuda_on_cpu
    from tilth.train.identity import seed_manifest
    from tilth.train.layout import alone
    from tilth.train.loop import write_checkpoint

    def written(model: ModelConfig, name: str = "model") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        with cuda_on_cpu(), alone(), torch.no_grad():
            torch.manual_seed(3)
            built = build_model(model, Layout())
            for parameter in built.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)
            write_checkpoint(folder, [built], None, seed_manifest(TrainJob(model, TrainConfig(steps=1), "-")))
        return checkpoint.checkpoints(folder)[0]

    return written


def logits(source: Path, tokens: Any, types: Any = None) -> tuple[Any, Any]:
    """Ours, of a checkpoint: those of the vocabulary, and of the sentence order."""
    from tilth.train.build import build_model
    from tilth.train.cpu_backend import cuda_on_cpu
    from tilth.train.layout import alone
    from tilth.train.state import load_state

    model = ModelConfig(**checkpoint.read_checkpoint(source).model)
    positions = torch.arange(tokens.shape[1]).expand_as(tokens)
    with cuda_on_cpu(), alone(), torch.no_grad():
        built = build_model(model, Layout()).eval()
        load_state(source, [built], None)
        more = {"types": types} if model.kind == "bert" else {}
        found = built(tokens, positions, None, **more)
    found, order = found if isinstance(found, tuple) else (found, None)
    return found[..., : model.vocabulary_size], order


@pytest.mark.parametrize("name", MODELS)
def test_transformers_gives_the_same_logits_and_comes_back_the_same(name: str, write: Any, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    from tilth.train.cpu_backend import cuda_on_cpu
    from tilth.train.hugging_face.folder import export_model, import_model

    model = MODELS[name]
    source = write(model)
    with cuda_on_cpu():
        config = export_model(source, tmp_path / "out")
    theirs = getattr(transformers, config["architectures"][0]).from_pretrained(tmp_path / "out").eval()
    tokens = torch.randint(0, 300, (3, 24), generator=torch.Generator().manual_seed(0))
    types = (torch.arange(24) > 11).long().expand_as(tokens)
    ours, order = logits(source, tokens, types)
    with torch.no_grad():
        told = theirs(tokens, token_type_ids=types) if model.kind == "bert" else theirs(tokens)
    found = told.prediction_logits if model.sentence_order else told.logits
    assert found.shape == ours.shape  # the vocabulary without its padding
    torch.testing.assert_close(found, ours, atol=1e-4, rtol=0)
    if model.sentence_order:
        torch.testing.assert_close(told.seq_relationship_logits, order, atol=1e-4, rtol=0)

    theirs.save_pretrained(tmp_path / "again")  # as another program would have written it
    with cuda_on_cpu():
        assert import_model(tmp_path / "again", tmp_path / "in") == dataclasses.replace(
            model,
            ffn_hidden_size=model.feed_forward_size,
            query_groups=None if "gpt2" in name or model.kind == "bert" else model.key_heads,
            rope_base=model.rope_base,
        )
    back, order_back = logits(checkpoint.checkpoints(tmp_path / "in")[0], tokens, types)
    torch.testing.assert_close(back, ours, atol=1e-6, rtol=0)
    if order is not None:
        torch.testing.assert_close(order_back, order, atol=1e-6, rtol=0)


def test_transformers_generates_the_same_text(write: Any, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    from tilth.train.cpu_backend import cuda_on_cpu
    from tilth.train.hugging_face.folder import export_model

    source = write(LLAMA)
    with cuda_on_cpu():
        export_model(source, tmp_path / "out")
    theirs = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "out").eval()
    tokens = torch.tensor([[5, 9, 77]])
    told = theirs.generate(tokens, max_new_tokens=8, do_sample=False, eos_token_id=None, pad_token_id=0)[0].tolist()
    text = tokens
    for _ in range(8):
        text = torch.cat([text, logits(source, text)[0][:, -1:].argmax(-1)], dim=1)
    assert told == text[0].tolist()


def test_a_tokenizer_goes_with_its_model(write: Any, tmp_path: Path, token_folder: Path) -> None:
    from tilth.tokenize.tokenizer import Tokenizer
    from tilth.train.cpu_backend import cuda_on_cpu
    from tilth.train.hugging_face.folder import export_model

    with cuda_on_cpu():
        config = export_model(write(LLAMA), tmp_path / "out", token_folder / "tokenizer.model")
    before, after = Tokenizer.load(token_folder / "tokenizer.model"), Tokenizer.load(tmp_path / "out")
    assert after.digest == before.digest
    assert config["eos_token_id"] == after.separator == before.separator
    with cuda_on_cpu(), pytest.raises(UserError, match="trained with a vocabulary of 256, found 300 in"):
        export_model(
            write(dataclasses.replace(LLAMA, vocabulary_size=256), "other"),
            tmp_path / "other out",
            token_folder / "tokenizer.model",
        )


def test_a_shape_that_no_class_has_is_refused(write: Any, tmp_path: Path) -> None:
    from tilth.train.cpu_backend import cuda_on_cpu
    from tilth.train.hugging_face.folder import export_model

    source = write(dataclasses.replace(LLAMA, normalization="LayerNorm"))
    with (
        cuda_on_cpu(),
        pytest.raises(UserError, match="no class of Hugging Face's has gpt with rope positions, LayerN"),
    ):
        export_model(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "mamba"}, "model_type: found 'mamba', expected one of gpt2, llama, megatron-bert"),
        ({"attention_bias": True}, "attention_bias: found True, expected False"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "rope_type: found 'yarn', expected 'default'"),
        ({"num_hidden_layers": 3}, "'model.layers.2.input_layernorm.weight' is missing"),
        ({"vocab_size": 299}, "embedding.word_embeddings.weight"),
        ({"num_attention_heads": 3}, "expected"),
    ],
)
def test_a_folder_that_cannot_be_read_is_refused_in_one_line(
    changes: dict[str, Any], words: str, write: Any, tmp_path: Path
) -> None:
    from tilth.train.cpu_backend import cuda_on_cpu
    from tilth.train.hugging_face.folder import export_model, import_model

    with cuda_on_cpu():
        config = export_model(write(LLAMA), tmp_path / "out")
        (tmp_path / "out" / "config.json").write_bytes(orjson.dumps(config | changes))
        with pytest.raises(UserError) as caught:
            import_model(tmp_path / "out", tmp_path / "in")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_only_safetensors_are_read(write: Any, tmp_path: Path) -> None:
    from tilth.train.cpu_backend import cuda_on_cpu
    from tilth.train.hugging_face.folder import export_model, import_model

    with cuda_on_cpu():
        export_model(write(LLAMA), tmp_path / "out")
        weights = tmp_path / "out" / "model.safetensors"
        weights.rename(weights.with_name("pytorch_model.bin"))
        with pytest.raises(UserError, match=r"model\.safetensors: not found; only safetensors are read"):
            import_model(tmp_path / "out", tmp_path / "in")
        weights.write_bytes(b"not at all")
        with pytest.raises(UserError, match="not safetensors"):
            import_model(tmp_path / "out", tmp_path / "in")
