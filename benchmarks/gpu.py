"""Training speed on one GPU: GPT-2 124M at 1,024 positions and BERT-base at 512, packed, in bfloat16.

    python benchmarks/gpu.py TOKENS [--tokenizer TOKENIZER] [--steps 60]

TOKENS is a folder of token shards as ``tilth run`` leaves it, so the real loader reads them, and checkpoints are
written as in any run. Tokens a second are those of the log, checkpoints and first steps left out; MFU is operations of
the model (tilth.train.model.flops_per_token) over the data sheet's for dense bfloat16. Without a GPU it says so.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tilth.train import launch
from tilth.train.job import TrainConfig, TrainJob
from tilth.train.model import ModelConfig
from tilth.train.presets import PRESETS

MFU = {"floor": 0.25, "goal": 0.40}
STALL = 0.01  # floor: share of a step that its samples may take
SETTLING = 10  # steps that warm up kernels and memory
BATCH = {"gpt2-124m": (64, 16), "bert-base": (128, 32)}  # sequences a step, and at once


def measure(name: str, tokens: Path, tokenizer: Path | None, steps: int, folder: Path) -> dict[str, Any]:
    from tilth.tokenize.token_set import TokenSet
    from tilth.train.samples import open_material

    vocabulary = TokenSet.open(tokens).encoding.vocabulary_size
    batch_size, micro = BATCH[name]
    job = TrainJob(
        ModelConfig(vocabulary, **PRESETS[name]),
        TrainConfig(
            steps=steps,
            batch_size=batch_size,
            micro_batch_size=micro,
            learning_rate=6e-4,
            warmup_steps=min(steps, 20),
            precision="bf16",
            checkpoint_every=max(steps // 2, 1),
        ),
        str(tokens),
        tokenizer=str(tokenizer) if tokenizer else None,
    )
    records: list[Any] = []
    started = time.perf_counter()
    first: list[float] = []

    def on_step(record: Any) -> None:
        first.append(time.perf_counter() - started)
        records.append(record)

    launch.train(job, folder / name, on_step)
    settled = records[SETTLING:] or records
    seconds = statistics.median(record["seconds"] for record in settled)
    material = open_material(job)
    begun = time.perf_counter()
    for step in range(5):
        rows = material.samples.batch(step * batch_size, batch_size)
        material.objective.collate(rows, step * batch_size)
    loading = (time.perf_counter() - begun) / 5
    mfu = statistics.median(record["mfu"] for record in settled)
    return {
        "parameters": {"value": job.model.parameters},
        "tokens a second": {"value": round(batch_size * job.model.sequence_length / seconds)},
        "mfu": {"value": mfu, "floor": f"at least {MFU['floor']}, goal {MFU['goal']}", "ok": mfu >= MFU["floor"]},
        "loading over step": {
            "value": round(loading / seconds, 5),
            "floor": f"at most {STALL}",
            "ok": loading / seconds <= STALL,
        },
        "seconds to the first step": {"value": round(first[0], 1)},
        "loss": {"value": records[-1]["loss"]},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tokens", type=Path, help="a folder of token shards")
    parser.add_argument("--tokenizer", type=Path, help="of the shards; with it BERT-base is timed too")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    given = parser.parse_args()
    import torch

    if not torch.cuda.is_available():
        print("no GPU here: nothing was timed")
        return 0
    names = ["gpt2-124m", *(["bert-base"] if given.tokenizer else [])]
    with tempfile.TemporaryDirectory() as folder:
        figures = {name: measure(name, given.tokens, given.tokenizer, given.steps, Path(folder)) for name in names}
    for name, told in figures.items():
        print(f"{name} on {torch.cuda.get_device_name()} (torch {torch.__version__})")
        for figure, one in told.items():
            verdict = "" if one.get("ok", True) else "FAILED"
            print(f"  {figure:28} {one['value']:>14,.5g}  {one.get('floor', '')} {verdict}")
    ok = all(one.get("ok", True) for told in figures.values() for one in told.values())
    if given.json:
        print(json.dumps({"benchmark": "gpu", "figures": figures, "ok": ok}))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
