"""Fused attention against Megatron's own, values and gradients."""

from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("megatron.core")


@pytest.fixture
def both(world: object) -> tuple[Any, Any]:
    from megatron.core.tensor_parallel import model_parallel_cuda_manual_seed
    from megatron.core.transformer.dot_product_attention import DotProductAttention
    from megatron.core.transformer.enums import AttnMaskType

    from tilth.train.attention import FusedAttention
    from tilth.train.block import transformer_config
    from tilth.train.layout import Layout
    from tilth.train.model import ModelConfig

    model_parallel_cuda_manual_seed(1, force_reset_rng=True)  # Megatron's own asks for it even without dropout
    config = transformer_config(ModelConfig(300, hidden_size=32, heads=4, sequence_length=16), Layout())
    made = [kind(config, 1, AttnMaskType.causal, "self") for kind in (FusedAttention, DotProductAttention)]
    return made[0], made[1]


def compared(both: tuple[Any, Any], mask: Any) -> None:
    torch.manual_seed(0)
    given = [torch.randn(16, 3, 4, 8) for _ in range(3)]
    outputs, gradients = [], []
    for attention in both:
        inputs = [tensor.clone().requires_grad_() for tensor in given]
        output = attention(*inputs, mask)
        (output * torch.linspace(-1, 1, output.numel()).view_as(output)).sum().backward()
        outputs.append(output)
        gradients.append([tensor.grad for tensor in inputs])
    torch.testing.assert_close(outputs[0], outputs[1], atol=1e-6, rtol=1e-5)
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)


def test_causal_attention_equals_megatrons(both: tuple[Any, Any]) -> None:
    compared(both, None)


def test_attention_inside_documents_equals_megatrons(both: tuple[Any, Any]) -> None:
    documents = torch.tensor([[0] * 6 + [1] * 10, [0] * 16, [0] * 3 + [1] * 3 + [2] * 10])
    same = documents[:, :, None] == documents[:, None, :]
    hidden = ~(same & torch.ones(16, 16, dtype=torch.bool).tril())
    compared(both, hidden[:, None])


def test_padding_does_not_reach_the_text_before_it(both: tuple[Any, Any]) -> None:
    torch.manual_seed(0)
    fused = both[0]
    query, key, value = (torch.randn(16, 1, 4, 8) for _ in range(3))
    whole = fused(query, key, value, None)
    key[10:], value[10:] = 9.0, -9.0
    torch.testing.assert_close(fused(query, key, value, None)[:10], whole[:10])


def test_what_it_cannot_do_it_refuses(both: tuple[Any, Any]) -> None:
    tensors = [torch.zeros(2, 1, 4, 8)] * 3
    with pytest.raises(NotImplementedError, match="packed"):
        both[0](*tensors, None, packed_seq_params=object())
