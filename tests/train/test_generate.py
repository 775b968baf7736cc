"""Writing on: the same with and without the memory of keys and values, and only what the settings allow."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilth.corpus.errors import UserError
from tilth.train.job import TrainConfig, TrainJob
from tilth.train.layout import Layout
from tilth.train.model import ModelConfig

torch = pytest.importorskip("torch")
pytest.importorskip("megatron.core")

from tilth.train.generate import Sampling, choose, generate, kept_probabilities  # noqa: E402

LLAMA = ModelConfig(300, layers=3, hidden_size=32, heads=4, query_groups=2, sequence_length=48)
GPT2 = dataclasses.replace(LLAMA, query_groups=None, position="learned", normalization="LayerNorm", bias=True)
GREEDY = Sampling(temperature=0.0)
PROMPTS = [[5, 9, 77, 203], [1], [40, 41]]


def written(model: ModelConfig, folder: Path) -> Path:
    from tilth.train.build import build_model
    from tilth.train.cpu_backend import cuda_on_cpu
    from tilth.train.identity import seed_manifest
    from tilth.train.layout import alone
    from tilth.train.loop import write_checkpoint

    folder.mkdir()
    with cuda_on_cpu(), alone(), torch.no_grad():
        torch.manual_seed(4)
        built = build_model(model, Layout())
        for parameter in built.parameters():  # far enough from each other that no two tokens are equally probable
            parameter.add_(torch.randn_like(parameter) * 0.2)
        write_checkpoint(folder, [built], None, seed_manifest(TrainJob(model, TrainConfig(steps=1), "-")))
    return folder / "step-00000000"


@pytest.mark.parametrize("model", [LLAMA, GPT2])
def test_the_memory_changes_nothing(model: ModelConfig, tmp_path: Path) -> None:
    from tilth.train.build import build_model
    from tilth.train.cpu_backend import cuda_on_cpu
    from tilth.train.layout import alone
    from tilth.train.state import load_state

    source = written(model, tmp_path / "model")
    expected = []
    with cuda_on_cpu(), alone(), torch.no_grad():
        built = build_model(model, Layout()).eval()
        load_state(source, [built], None)
        for prompt in PROMPTS:
            text = torch.tensor([prompt])
            for _ in range(20):
                positions = torch.arange(text.shape[1])[None]
                text = torch.cat([text, built(text, positions, None)[:, -1:, :300].argmax(-1)], dim=1)
            expected.append(text[0, len(prompt) :].tolist())
    with cuda_on_cpu():
        assert generate(source, PROMPTS, 20, GREEDY) == expected
        assert generate(source, PROMPTS, 20, Sampling(top_k=1, temperature=3.0)) == expected


def test_a_choice_depends_on_the_seed_and_not_on_the_neighbours(tmp_path: Path) -> None:
    from tilth.train.cpu_backend import cuda_on_cpu

    source = written(LLAMA, tmp_path / "model")
    with cuda_on_cpu():
        one = generate(source, PROMPTS, 12, Sampling(seed=1))
        assert generate(source, PROMPTS[1:], 12, Sampling(seed=1)) == one[1:]
        assert generate(source, PROMPTS, 12, Sampling(seed=2)) != one
        first = one[0][3]
        assert generate(source, PROMPTS[:1], 12, Sampling(seed=1), stop=first) == [one[0][: one[0].index(first)]]


@given(st.lists(st.floats(-20, 20), min_size=1, max_size=30), st.integers(0, 30), st.floats(0.01, 1.0))
def test_what_is_left_out_has_no_probability(logits: list[float], top_k: int, top_p: float) -> None:
    found = kept_probabilities(np.array(logits), Sampling(top_k=top_k, top_p=top_p))
    assert found.sum() == pytest.approx(1.0)
    kept = np.count_nonzero(found)
    assert 1 <= kept <= (top_k or len(logits))
    assert np.array(logits)[found > 0].min() >= np.sort(logits)[-kept] - 1e-9  # equal but for rounding


def test_top_p_keeps_the_fewest_that_reach_it() -> None:
    logits = np.log(np.array([0.1, 0.5, 0.3, 0.1]))
    assert np.flatnonzero(kept_probabilities(logits, Sampling(top_p=0.5))).tolist() == [1]
    assert np.flatnonzero(kept_probabilities(logits, Sampling(top_p=0.51))).tolist() == [1, 2]
    assert kept_probabilities(logits, Sampling(top_p=0.79))[[1, 2]] == pytest.approx([0.625, 0.375])


def test_tokens_are_drawn_as_often_as_they_are_probable() -> None:
    logits = torch.log(torch.tensor([0.2, 0.5, 0.3]))
    generator = np.random.default_rng(0)
    drawn = np.bincount([choose(logits, Sampling(), generator) for _ in range(20_000)], minlength=3) / 20_000
    assert drawn == pytest.approx([0.2, 0.5, 0.3], abs=0.015)


@pytest.mark.parametrize(
    ("model", "prompt", "sampling", "words"),
    [
        (LLAMA, [], GREEDY, "prompt 1: found no token"),
        (LLAMA, [300], GREEDY, "outside of the vocabulary of 300"),
        (LLAMA, [1] * 40, GREEDY, "40 tokens and 12 to write, expected at most 48"),
        (LLAMA, [1], Sampling(temperature=-1.0), "--temperature: found -1.0"),
        (LLAMA, [1], Sampling(top_p=0.0), "--top-p: found 0.0"),
        (LLAMA, [1], Sampling(top_k=-1), "--top-k: found -1"),
        (dataclasses.replace(LLAMA, kind="bert"), [1], GREEDY, "found a bert, which guesses hidden tokens"),
    ],
)
def test_what_cannot_be_written_is_refused(
    model: ModelConfig, prompt: list[int], sampling: Sampling, words: str, tmp_path: Path
) -> None:
    from tilth.train.cpu_backend import cuda_on_cpu

    source = written(model, tmp_path / "model")
    with cuda_on_cpu(), pytest.raises(UserError) as caught:
        generate(source, [prompt], 12, sampling)
    assert words in str(caught.value)
