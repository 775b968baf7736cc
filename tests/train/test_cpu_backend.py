"""The CPU in the place of CUDA: answers what Megatron asks, and leaves no trace."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("megatron.core")

from megatron.core.tensor_parallel import random as megatron_random  # noqa: E402

from tilth.train.cpu_backend import cuda_on_cpu  # noqa: E402

if torch.cuda.is_available():
    pytest.skip("this machine has CUDA: nothing stands in for it", allow_module_level=True)

NAMES = ("current_device", "synchronize", "get_rng_state", "set_rng_state", "manual_seed")


def functions() -> list[object]:
    return [getattr(torch.cuda, name) for name in NAMES] + [
        megatron_random._get_cuda_rng_state,
        megatron_random._set_cuda_rng_state,
    ]


def refuses_cuda() -> bool:
    try:
        torch.zeros(1, device="cuda")
    except (RuntimeError, AssertionError):
        return True
    return False


def test_everything_is_as_before_when_the_block_ends() -> None:
    before = functions()
    assert refuses_cuda()
    with cuda_on_cpu():
        assert functions() != before
    assert functions() == before
    assert refuses_cuda()
    assert torch.zeros(1).type() == "torch.FloatTensor"


def test_everything_is_as_before_when_the_block_fails() -> None:
    before = functions()
    with pytest.raises(KeyError), cuda_on_cpu():
        raise KeyError
    assert functions() == before
    assert refuses_cuda()


def test_blocks_can_be_nested() -> None:
    before = functions()
    with cuda_on_cpu():
        with cuda_on_cpu():
            pass
        assert torch.zeros(1, device="cuda").device.type == "cpu"
    assert functions() == before


def test_allocations_on_cuda_land_on_the_cpu() -> None:
    with cuda_on_cpu():
        made = [
            torch.zeros(2, device="cuda"),
            torch.tensor([1.0], device=torch.device("cuda", 0)),
            torch.empty(2, device=torch.cuda.current_device()),
            torch.ones(2).cuda(),
            torch.ones(2).to("cuda"),
            torch.ones(2).to(device="cuda:0"),
        ]
    assert all(tensor.device.type == "cpu" for tensor in made)


def test_a_tensor_says_the_type_that_megatron_looks_for() -> None:
    with cuda_on_cpu():
        assert torch.zeros(1).type() == "torch.cuda.FloatTensor"
        assert torch.zeros(1, dtype=torch.bfloat16).type() == "torch.cuda.BFloat16Tensor"
        assert torch.zeros(1).type(torch.float64).dtype == torch.float64  # a conversion stays a conversion


def test_the_generator_of_cuda_is_that_of_the_cpu() -> None:
    with cuda_on_cpu():
        torch.cuda.manual_seed(5)
        state = torch.cuda.get_rng_state()
        drawn = torch.rand(3)
        torch.cuda.set_rng_state(state)
        assert torch.equal(torch.rand(3), drawn)
    assert torch.equal(torch.rand(3, generator=torch.Generator().manual_seed(5)), drawn)
