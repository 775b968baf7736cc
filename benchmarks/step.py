"""A training step of ours on Megatron-core beside the same model in plain PyTorch, in one run on one process.

The claim: Megatron's parallel layers, schedule, gradient buffers and optimizer, with the CPU in the place of CUDA, cost
at most a twentieth more than a model written for one process; and the fused attention beats Megatron's own. All begin
with the same weights and see the same samples, so equal losses prove that the same thing is timed. Then a whole run of
the smallest model, as ``tilth run`` starts it: seconds to its first step, and how long a step waits for its samples.
bfloat16 is held to a floor where the processor multiplies it in tiles (AMX); elsewhere its speed is only told.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, rms_norm, scaled_dot_product_attention, silu

from tilth.train.cpu_backend import cuda_on_cpu
from tilth.train.job import TrainConfig, TrainJob
from tilth.train.model import ModelConfig

SLOWDOWN = 1.05  # floor: our step may take this times the plain one
ATTENTION = 1.0  # floor: a step with Megatron's own attention takes at least this times ours
LOSS = 1e-4  # floor: largest difference of the losses
START = 15.0  # floor: seconds from the call to the end of the first step
STALL = 0.01  # floor: share of a step that its samples may take
BF16 = 1.8  # floor: a step in single precision takes at least this times one in bfloat16, with AMX


class Plain(nn.Module):
    """The default model of ``ModelConfig`` as one would write it for one process: Llama's layer, tied embeddings."""

    def __init__(self, config: ModelConfig, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.config = config
        self.weights = nn.ParameterDict(
            {name.replace(".", "/"): nn.Parameter(value.clone()) for name, value in weights.items()}
        )
        width = config.hidden_size // config.heads
        angles = torch.arange(config.sequence_length)[:, None] * 10_000.0 ** (-torch.arange(0, width, 2) / width)
        self.cosine, self.sine = torch.cos(angles).repeat(1, 2), torch.sin(angles).repeat(1, 2)

    def weight(self, name: str) -> Tensor:
        return self.weights[name.replace(".", "/")]

    def rotate(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, dim=-1)
        return x * self.cosine + torch.cat((-second, first), dim=-1) * self.sine

    def forward(self, inputs: Tensor, labels: Tensor) -> Tensor:
        config = self.config
        batch, positions = inputs.shape
        embedding = self.weight("embedding.word_embeddings.weight")
        x = embedding[inputs]
        for layer in range(config.layers):
            at = f"decoder.layers.{layer}."
            y = rms_norm(x, (config.hidden_size,), self.weight(at + "input_layernorm.weight"), 1e-5)
            qkv = (y @ self.weight(at + "self_attention.linear_qkv.weight").T).view(batch, positions, config.heads, -1)
            query, key, value = (part.transpose(1, 2) for part in qkv.chunk(3, dim=-1))
            y = scaled_dot_product_attention(self.rotate(query), self.rotate(key), value, is_causal=True)
            y = y.transpose(1, 2).reshape(batch, positions, -1)
            x = x + y @ self.weight(at + "self_attention.linear_proj.weight").T
            y = rms_norm(x, (config.hidden_size,), self.weight(at + "pre_mlp_layernorm.weight"), 1e-5)
            gate, up = (y @ self.weight(at + "mlp.linear_fc1.weight").T).chunk(2, dim=-1)
            x = x + (silu(gate) * up) @ self.weight(at + "mlp.linear_fc2.weight").T
        x = rms_norm(x, (config.hidden_size,), self.weight("decoder.final_layernorm.weight"), 1e-5)
        logits = x @ embedding[: config.vocabulary_size].T
        return cross_entropy(logits.flatten(0, 1), labels.flatten())


class Samples:
    """Uniform tokens: what they say does not matter here."""

    fingerprint = "uniform"

    def __init__(self, config: ModelConfig) -> None:
        self.config = config

    def batch(self, first: int, count: int) -> np.ndarray:
        size = (count, self.config.sequence_length + 1)
        return np.random.default_rng(first).integers(0, self.config.vocabulary_size, size)


def plain_step(model: Plain, optimizer: torch.optim.Optimizer, rows: np.ndarray) -> float:
    with torch._C.DisableTorchFunction():  # outside of the mode that stands in for CUDA
        tokens = torch.from_numpy(rows)
        optimizer.zero_grad()
        loss = model(tokens[:, :-1], tokens[:, 1:])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return float(loss.detach())


def seconds(steps: dict[str, Callable[[int], float]], count: int) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Median seconds of a step and the losses of every contender, taken in turns so that all share the same weather."""
    taken: dict[str, list[float]] = {name: [] for name in steps}
    losses: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(count):
        for name, step in steps.items():
            started = time.perf_counter()
            losses[name].append(step(number))
            taken[name].append(time.perf_counter() - started)
    return {name: statistics.median(values[2:]) for name, values in taken.items()}, losses


def measure(config: ModelConfig, batch_size: int, count: int) -> dict[str, Any]:
    from megatron.core.transformer.dot_product_attention import DotProductAttention

    from tilth.train import block
    from tilth.train.layout import alone
    from tilth.train.loop import build, take_step

    optimisation = TrainConfig(steps=count, batch_size=batch_size, learning_rate=1e-3, schedule="constant")
    job = TrainJob(config, optimisation, "-")
    samples = Samples(config)
    with cuda_on_cpu(), alone() as device:
        torch.manual_seed(0)
        parts, model, optimizer = build(job, device)
        begin = {name: value.detach().clone() for name, value in parts[0].named_parameters()}
        fused, block.FusedAttention = block.FusedAttention, DotProductAttention
        other_parts, other_model, other_optimizer = build(job, device)
        block.FusedAttention = fused
        with torch.no_grad():
            for name, value in other_parts[0].named_parameters():
                value.copy_(begin[name])
        plain = Plain(config, begin)
        groups = [
            {"params": [value for value in plain.parameters() if value.dim() > 1], "weight_decay": 0.1},
            {"params": [value for value in plain.parameters() if value.dim() == 1], "weight_decay": 0.0},
        ]
        adam = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95), eps=1e-8)
        found, losses = seconds(
            {
                "ours": lambda number: take_step(job, number, samples, model, optimizer, device)["loss"],
                "megatron attention": lambda number: take_step(
                    job, number, samples, other_model, other_optimizer, device
                )["loss"],
                "plain": lambda number: plain_step(plain, adam, samples.batch(number * batch_size, batch_size)),
            },
            count,
        )
    tokens = batch_size * config.sequence_length
    return {
        "parameters": config.parameters,
        "tokens a step": tokens,
        **{f"{name}: seconds a step": round(value, 4) for name, value in found.items()},
        **{f"{name}: tokens a second": round(tokens / value) for name, value in found.items()},
        "ours to plain": round(found["ours"] / found["plain"], 3),
        "megatron attention to ours": round(found["megatron attention"] / found["ours"], 3),
        "loss difference": max(abs(a - b) for a, b in zip(losses["ours"], losses["plain"], strict=True)),
    }


def instructions() -> str:
    """Name what this processor multiplies bfloat16 with (Linux; elsewhere not known)."""
    told = Path("/proc/cpuinfo")
    flags = told.read_text() if told.exists() else ""
    return next((name for name in ("amx_bf16", "avx512_bf16") if name in flags), "nothing of its own")


def measure_precision(config: ModelConfig, batch_size: int, count: int) -> dict[str, Any]:
    """Return seconds of a step in bfloat16 and in single precision, taken in turns."""
    from tilth.train.layout import alone
    from tilth.train.loop import build, take_step

    samples = Samples(config)
    steps: dict[str, Callable[[int], float]] = {}
    with cuda_on_cpu(), alone() as device:
        for precision in ("fp32", "bf16"):
            optimisation = TrainConfig(steps=count, batch_size=batch_size, schedule="constant")
            job = TrainJob(config, replace(optimisation, precision=precision), "-")
            _, model, optimizer = build(job, device)
            steps[precision] = lambda number, job=job, model=model, optimizer=optimizer: take_step(
                job, number, samples, model, optimizer, device
            )["loss"]
        found, _ = seconds(steps, count)
    named = f"fp32 to bf16, {instructions()}"
    return {
        **{f"{name}: seconds a step": round(value, 4) for name, value in found.items()},
        named: round(found["fp32"] / found["bf16"], 3),
    }


def measure_run(steps: int) -> dict[str, Any]:
    """Return how long a run takes to start, and the share of a step that reading and collating its samples takes."""
    from tilth.corpus.document import document_id, documents
    from tilth.tokenize.settings import TokenizerSettings, bytes_vocabulary
    from tilth.tokenize.shards import tokenize_part
    from tilth.tokenize.token_set import write_manifest
    from tilth.tokenize.train_tokenizer import train_tokenizer
    from tilth.train import launch
    from tilth.train.samples import open_material

    letters = np.random.default_rng(0).integers(97, 123, (200, 5000), np.uint8)
    texts = [row.tobytes().decode() for row in letters]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokenizer = train_tokenizer(
            texts, folder / "tokenizer.json", TokenizerSettings(kind="bytes", vocabulary_size=bytes_vocabulary(0))
        )
        ids = [document_id("letters", str(number)) for number in range(len(texts))]
        batch = documents({"id": ids, "text": texts, "source": ["letters"] * len(texts)})
        part = tokenize_part([batch], folder / "tokenizer.json", folder / "tokens" / "part-00000.arrow")
        write_manifest(folder / "tokens", tokenizer, [part])
        config = ModelConfig(tokenizer.vocabulary_size)
        job = TrainJob(config, TrainConfig(steps=steps, batch_size=8), str(folder / "tokens"))
        started = time.perf_counter()
        first: list[float] = []
        records: list[Any] = []

        def on_step(record: Any) -> None:
            first.append(time.perf_counter() - started)
            records.append(record)

        launch.train(job, folder / "model", on_step)
        material = open_material(job)
        material.objective.collate(material.samples.batch(0, 8), 0)
        begun = time.perf_counter()
        for step in range(steps):
            material.objective.collate(material.samples.batch(step * 8, 8), step * 8)
        loading = (time.perf_counter() - begun) / steps
    step = statistics.median(record["seconds"] for record in records)
    return {
        "seconds to the first step": round(first[0], 2),
        "seconds a step": round(step, 4),
        "loading over step": round(loading / step, 5),
    }


def judge(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every figure with its floor, where it has one, and whether it holds."""
    limits = {
        "ours to plain": ("at most", SLOWDOWN),
        "megatron attention to ours": ("at least", ATTENTION),
        "loss difference": ("at most", LOSS),
        "seconds to the first step": ("at most", START),
        "loading over step": ("at most", STALL),
        "fp32 to bf16, amx_bf16": ("at least", BF16),
    }
    judged: dict[str, dict[str, Any]] = {}
    for name, value in found.items():
        judged[name] = {"value": value}
        if name in limits:
            kind, limit = limits[name]
            judged[name] |= {"floor": f"{kind} {limit}", "ok": value <= limit if kind == "at most" else value >= limit}
    return judged


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the small model only, under 50 seconds")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    models = {"demo": (ModelConfig(8000), 8)}
    if not given.quick:
        models["larger"] = (ModelConfig(8000, layers=6, hidden_size=256, heads=8, sequence_length=512), 4)
    judged = {
        name: judge(measure(config, batch_size, 14 if given.quick else 20))
        for name, (config, batch_size) in models.items()
    }
    judged["a run"] = judge(measure_run(20))
    if instructions() == "amx_bf16" or not given.quick:
        judged["precision"] = judge(measure_precision(ModelConfig(8000), 8, 8))
    for name, figures in judged.items():
        print(f"{name} (threads: {given.threads}, torch {torch.__version__})")
        for figure, told in figures.items():
            verdict = "" if told.get("ok", True) else "FAILED"
            print(f"  {figure:36} {told['value']:>12,.6g}  {told.get('floor', '')} {verdict}")
    ok = all(told.get("ok", True) for figures in judged.values() for told in figures.values())
    if given.json:
        print(json.dumps({"benchmark": "step", "quick": given.quick, "figures": judged, "ok": ok}))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
