"""How much of a machine a step uses: operations of the model over operations that the device could have done.

The peak of a known GPU is the maker's figure for dense bfloat16; any other device is measured with one large product of
matrices, which says what the machine does, not what its maker says.
"""

import time

import torch

from tilth.train.model import ModelConfig

# Dense bfloat16 operations a second, without sparsity, by a part of the device's name: NVIDIA's data sheets.
PEAKS = {
    "H200": 989.5e12,
    "H100 PCIe": 756e12,
    "H100": 989.5e12,
    "A100": 312e12,
    "L40S": 362e12,
    "B200": 2250e12,
}
SIDE = 1024  # of the matrices of a measurement: 2 x 1024**3 operations, about 0.03 s on a core
MEASUREMENTS = 5


def peak(device: torch.device, bf16: bool) -> tuple[float, str]:
    """Return the operations a second that ``device`` could do, and where the figure is from."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        for part, known in PEAKS.items():
            if bf16 and part in name:
                return known, f"{name}: data sheet"
    kind = torch.bfloat16 if bf16 else torch.float32
    matrix = torch.ones(SIDE, SIDE, dtype=kind, device=device)
    best = float("inf")
    for _ in range(MEASUREMENTS):
        started = time.perf_counter()
        # read one number: on a GPU that waits for the product
        float((matrix @ matrix)[0, 0])
        best = min(best, time.perf_counter() - started)
    return 2.0 * SIDE**3 / best, f"{device.type}: measured"


def flops_of_step(model: ModelConfig, tokens: int, rate: float) -> float:
    """Return the operations of a step over ``tokens`` tokens; ``rate``: share of them that is predicted."""
    return tokens * model.flops_per_token(rate if model.kind == "bert" else 1.0)
