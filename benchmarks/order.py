"""Training order: what the index costs, how fast samples are read, whether a longer run begins with the same samples.

Beside Megatron-core's GPTDataset over the same tokens, where megatron.core can be imported. The tokens are random, the
documents log-normal around 1,000 tokens from ten sources in turns of eight documents: content changes none of the
figures, the length of the runs of a source does.

    python benchmarks/order.py [--quick] [--json]
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import re
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tilth.tokenize.order import TrainingOrder
from tilth.tokenize.shards import Encoding, ShardWriter
from tilth.tokenize.token_set import TokenSet

SEQUENCE = 2048
BATCH = 8  # samples asked for at once: a micro-batch
SOURCES = 10
ENCODING = Encoding("0" * 32, 32_768, 1)
DOCUMENTS_A_WRITE = 8_000


def synthetic(folder: Path, tokens: int, parts: int) -> TokenSet:
    """Write ``tokens`` random tokens as a token set."""
    generator = np.random.default_rng(0)
    block = generator.integers(3, ENCODING.vocabulary_size, 2**24, dtype=np.uint16)
    names = pa.array([f"source-{number}" for number in range(SOURCES)])
    finished = []
    for part in range(parts):
        with ShardWriter(folder / f"part-{part:05d}.arrow", ENCODING, np.dtype(np.uint16)) as writer:
            left = tokens // parts
            while left > 0:
                lengths = np.clip(generator.lognormal(6.5, 0.9, DOCUMENTS_A_WRITE), 2, 100_000).astype(np.int64)
                lengths = lengths[: np.searchsorted(np.cumsum(lengths), left) + 1]
                offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
                values = np.resize(block, offsets[-1])
                values[offsets[1:] - 1] = ENCODING.separator
                turns = np.arange(len(lengths)) // 8 % SOURCES
                ids = pa.FixedSizeBinaryArray.from_buffers(
                    pa.binary(16), len(lengths), [None, pa.py_buffer(generator.bytes(16 * len(lengths)))]
                )
                columns = [ids, names.take(pa.array(turns)), pa.array(4 * lengths)]
                writer.write(pa.record_batch(columns, names=["id", "source", "bytes"]), values, offsets)
                left -= int(offsets[-1])
            finished.append(writer.commit())
    return TokenSet(folder, ENCODING, tuple(finished))


def anonymous_bytes() -> int:
    """Return the memory of this process that no file backs (Linux; elsewhere 0)."""
    status = Path("/proc/self/status")
    found = re.search(r"RssAnon:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) * 1024 if found else 0


def index_memory(token_set: TokenSet) -> tuple[int, int]:
    """Return the peak of what NumPy and Arrow allocated for an index, and what the process grew by: bytes.

    To be called in a process of its own: what was allocated before and freed meanwhile would hide the index.
    """
    before = anonymous_bytes()
    tracemalloc.start()
    order = TrainingOrder(token_set, SEQUENCE, 1)
    order.batch(0, SOURCES * 4)  # the permutations of all sources
    peak = tracemalloc.get_traced_memory()[1] + pa.default_memory_pool().max_memory()
    return peak, anonymous_bytes() - before


def timed(call: Callable[[], Any], repeats: int) -> float:
    """Return the best seconds of some calls."""
    best = float("inf")
    for _ in range(repeats):
        begin = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - begin)
    return best


def reading_rate(read: Callable[[int], int], seconds: float) -> float:
    """Return tokens a second of ``read(call number)``, which returns tokens, over the last of two passes."""
    for _ in range(2):
        calls = tokens = 0
        begin = time.perf_counter()
        while time.perf_counter() - begin < seconds:
            tokens += read(calls)
            calls += 1
        rate = tokens / (time.perf_counter() - begin)
    return rate


def measure_tilth(token_set: TokenSet, seconds: float) -> dict[str, float]:
    """Return our figures."""
    TrainingOrder(token_set, SEQUENCE, 1).batch(0, 1)  # compile
    order = TrainingOrder(token_set, SEQUENCE, 1)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        peak, growth = process.submit(index_memory, token_set).result()
    epoch = sum(order.samples_per_epoch.values())
    half, past = order.batch(0, min(epoch // 2, 2_000)), TrainingOrder(token_set, SEQUENCE, 1)
    past.batch(3 * epoch, 1)  # a run of three epochs
    kept = float(np.mean([np.array_equal(half[k], past.batch(k, 1)[0]) for k in range(200)]))
    return {
        "index_seconds": timed(lambda: TrainingOrder(token_set, SEQUENCE, 1).batch(0, SOURCES * 4), 3),
        "index_peak_megabytes": peak / 1e6,
        "index_process_growth_megabytes": growth / 1e6,
        "read_million_tokens_per_second": reading_rate(
            lambda call: order.batch(call * BATCH % epoch, BATCH).size - BATCH, seconds
        )
        / 1e6,
        "jump_to_sample_10_million_seconds": timed(lambda: TrainingOrder(token_set, SEQUENCE, 1).batch(10**7, 1), 1),
        "samples_kept_past_an_epoch": kept,
    }


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence what Megatron-core writes to the standard output and error."""
    with (
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield


def measure_megatron(token_set: TokenSet, folder: Path, seconds: float) -> dict[str, float]:
    """Return Megatron-core's figures over the same documents, written as .bin and .idx."""
    with quiet():
        import torch
        from megatron.core.datasets.blended_megatron_dataset_builder import BlendedMegatronDatasetBuilder
        from megatron.core.datasets.gpt_dataset import GPTDataset, GPTDatasetConfig
        from megatron.core.datasets.indexed_dataset import IndexedDatasetBuilder

    prefix = folder / "megatron"
    builder = IndexedDatasetBuilder(f"{prefix}.bin", dtype=np.uint16)
    for shard in token_set.shards():
        for batch in shard.batches:
            lengths = np.diff(batch.offsets)
            builder.add_document(torch.from_numpy(batch.tokens.astype(np.int32)), lengths.tolist())
            # add_document takes one document of many sequences: every sequence is a document here
            builder.document_indices[-1:] = range(builder.document_indices[-2] + 1, len(builder.sequence_lengths) + 1)
    builder.finalize(f"{prefix}.idx")

    class Ids:
        """What GPTDataset asks of a tokenizer."""

        eod, pad, vocab_size, unique_identifiers = 1, 2, ENCODING.vocabulary_size, {"name": "ids"}

    def build(samples: int, cache: str) -> Any:
        configuration = GPTDatasetConfig(
            random_seed=1,
            sequence_length=SEQUENCE,
            blend=([str(prefix)], None),
            split="1,0,0",
            path_to_cache=str(folder / cache),
            tokenizer=Ids(),  # type: ignore[arg-type]
            reset_position_ids=False,
            reset_attention_mask=False,
            eod_mask_loss=False,
            create_attention_mask=False,
        )
        return BlendedMegatronDatasetBuilder(GPTDataset, [samples, 0, 0], lambda: True, configuration).build()[0]

    epoch = token_set.total.tokens // SEQUENCE
    with quiet():
        begin = time.perf_counter()
        data = build(epoch // 2, "half")
        index_seconds = time.perf_counter() - begin
        longer, past = build(epoch * 3 // 4, "longer"), build(3 * epoch, "past")

    def kept(other: Any) -> float:
        return sum(torch.equal(data[k]["tokens"], other[k]["tokens"]) for k in range(200)) / 200

    size = len(data)

    def read(call: int) -> int:
        # the bare read; __getitem__ also makes labels, masks and positions
        rows = [data._query_document_sample_shuffle_indices((call * BATCH + row) % size)[0] for row in range(BATCH)]
        return int(np.stack(rows).size) - BATCH

    return {
        "megatron_tokens": float(token_set.total.tokens),
        "megatron_index_seconds": index_seconds,
        "megatron_read_million_tokens_per_second": reading_rate(read, seconds) / 1e6,
        "megatron_samples_kept_within_an_epoch": kept(longer),
        "megatron_samples_kept_past_an_epoch": kept(past),
    }


FLOORS: dict[str, tuple[str, float]] = {
    "index_seconds": ("at most", 2.0),
    "index_peak_megabytes": ("at most", 200.0),
    "index_process_growth_megabytes": ("at most", 200.0),
    "read_million_tokens_per_second": ("at least", 20.0),
    "samples_kept_past_an_epoch": ("at least", 1.0),
}


def main() -> int:
    """Measure, print a table, and with ``--json`` one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one second a rate, Megatron-core over 50 million tokens")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--tokens", type=int, default=10**9, help="tokens of the token set (2 bytes each on disk)")
    arguments = parser.parse_args()
    seconds = 1.0 if arguments.quick else 5.0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        token_set = synthetic(folder / "tokens", arguments.tokens, 8)
        figures = {"tokens": float(token_set.total.tokens), "documents": float(token_set.total.documents)}
        figures |= measure_tilth(token_set, seconds)
        try:
            with quiet():
                import megatron.core  # noqa: F401
        except ImportError:
            print("megatron.core cannot be imported: its part is skipped")
        else:
            small = token_set
            if arguments.quick:
                small = synthetic(folder / "small", 50_000_000, 1)
            figures |= measure_megatron(small, folder, seconds)
    report = {
        name: {
            "value": round(value, 4),
            **({"floor": f"{FLOORS[name][0]} {FLOORS[name][1]}"} if name in FLOORS else {}),
            "ok": name not in FLOORS
            or (value <= FLOORS[name][1] if FLOORS[name][0] == "at most" else value >= FLOORS[name][1]),
        }
        for name, value in figures.items()
    }
    for name, entry in report.items():
        print(f"{name:45} {entry['value']:>16,} {entry.get('floor', ''):>16} {'' if entry['ok'] else 'MISSED'}")
    ok = all(entry["ok"] for entry in report.values())
    if arguments.json:
        print(json.dumps({"benchmark": "order", "figures": report, "ok": ok}))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
