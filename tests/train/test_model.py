"""The model's shape: its size, its padding, and the layouts that can hold it."""

import dataclasses

import pytest

from tilth.corpus.errors import UserError
from tilth.train.layout import Layout
from tilth.train.model import ModelConfig

LLAMA = ModelConfig(300, layers=2, hidden_size=32, heads=4, sequence_length=16)
GPT2 = dataclasses.replace(LLAMA, position="learned", normalization="LayerNorm", activation="gelu", bias=True)
UNTIED = dataclasses.replace(LLAMA, tied_embeddings=False, vocabulary_size=256)


@pytest.mark.parametrize("config", [LLAMA, GPT2, UNTIED, dataclasses.replace(LLAMA, ffn_hidden_size=24)])
def test_the_number_of_parameters_is_that_of_the_built_model(config: ModelConfig, world: object) -> None:
    pytest.importorskip("megatron.core")
    from tilth.train.build import build_model

    assert sum(parameter.numel() for parameter in build_model(config, Layout()).parameters()) == config.parameters


def test_a_token_that_does_not_exist_is_never_predicted(world: object) -> None:
    torch = pytest.importorskip("torch")
    from tilth.train.build import build_model

    model = build_model(LLAMA, Layout())  # 300 tokens in 384 rows
    with torch.no_grad():
        model.embedding.word_embeddings.weight[300:] = 10.0  # would win if it could
    inputs = torch.arange(16)[None]
    losses = [model(inputs, inputs, None, labels=torch.full((1, 16), label)) for label in range(300)]
    total = torch.exp(-torch.stack(losses)).sum(dim=0)
    torch.testing.assert_close(total, torch.ones(1, 16))  # the 300 share all of the probability


@pytest.mark.parametrize(("size", "padded"), [(1, 128), (128, 128), (129, 256), (8000, 8064)])
def test_the_padded_vocabulary_does_not_depend_on_the_layout(size: int, padded: int) -> None:
    assert ModelConfig(size).padded_vocabulary_size == padded


@pytest.mark.parametrize(
    ("config", "layout", "words"),
    [
        (LLAMA, Layout(tensor=3), "model.heads: found 4, expected a multiple of layout.tensor (3)"),
        (LLAMA, Layout(pipeline=3), "model.layers: found 2, expected a multiple of layout.pipeline (3)"),
        (
            dataclasses.replace(LLAMA, heads=5),
            Layout(),
            "model.hidden_size: found 32, expected a multiple of model.heads",
        ),
        (dataclasses.replace(LLAMA, ffn_hidden_size=30), Layout(tensor=4), "model.ffn_hidden_size: found 30"),
        (dataclasses.replace(LLAMA, hidden_size=36, heads=12), Layout(), "expected a multiple of 2 for rope"),
        (
            dataclasses.replace(LLAMA, sequence_length=15),
            Layout(tensor=2, sequence_parallel=True),
            "model.sequence_length",
        ),
        (dataclasses.replace(LLAMA, layers=0), Layout(), "model.layers: found 0"),
        (dataclasses.replace(LLAMA, dropout=1.0), Layout(), "model.dropout: found 1.0"),
        (LLAMA, Layout(data=0), "layout.data: found 0"),
        (LLAMA, Layout(sequence_parallel=True), "layout.sequence_parallel: needs tensor parallelism"),
    ],
)
def test_a_shape_that_cannot_be_is_refused_in_one_line(config: ModelConfig, layout: Layout, words: str) -> None:
    with pytest.raises(UserError) as caught:
        config.check(layout)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
