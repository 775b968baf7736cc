"""The whole filter chain beside datatrove's: zst JSON lines in, rules, scores and signatures, a columnar file out.

    python benchmarks/chain.py [--quick] [--json]

Both read the same files and do the same work: Gopher's quality and repetition, C4 with its edits, FineWeb, two fastText
scores, a MinHash signature of 112 values over runs of five words, and what is left is written (Arrow with zstd here,
Parquet there, which has no Arrow writer). Ours normalises too; datatrove has no such step and is spared it. Its steps
run one over another as its executor runs them, with its own words by spaCy; where spaCy or fasteners is not installed
beside Tilth, the peer is left out, which is said.

Ours are the stages of a recipe, as one pass of a run takes batches through them: what a rule drops goes no further, in
both. Each part's share of the time is printed. Beside that:

- every signal of every document: all presets measured before anything is dropped, as one does who wants to ask about
  limits later;
- as `tilth run` does it: the same stages with one worker, where every stage is accounted for and stored by itself;
- documents that pass every rule of ours: hardly any is dropped by datatrove, so that both do all of their work.

Also: one process beside two that share the same documents, by elapsed time from the moment when both are ready, and
peak memory of a process that reads the documents once and of one that reads them four times.

Seconds are processor seconds of the whole process, compilation and models loaded before.
"""

import argparse
import importlib.util
import json
import multiprocessing
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import zstandard

from tilth.corpus.chain import Chain
from tilth.corpus.engines.local import LocalEngine
from tilth.corpus.one_pass import flow
from tilth.corpus.readers.json_lines import read_json_lines
from tilth.corpus.sources import Source, find_files, input_digests
from tilth.corpus.splits import Slice, plan_parts
from tilth.corpus.stage import Asset, MapStage
from tilth.corpus.store import file_digest
from tilth.filters.apply_rules import ApplyRules
from tilth.filters.dedup.signatures import Signatures
from tilth.filters.edit_lines import EditLines
from tilth.filters.measure import Measure
from tilth.filters.normalise import Normalise
from tilth.filters.rules import judge, preset
from tilth.filters.score import Score
from tilth.filters.texts import Texts

ROOT = Path(__file__).resolve().parents[1]
CORPORA = ROOT.parent / "shared" / "data" / "corpora"
RULES = ("gopher.datatrove@1", "gopher.repetition.datatrove@1", "c4.datatrove@1", "fineweb@1")
SPEED = 10.0  # MB/s a core
FASTER = 100.0  # times datatrove's chain
TWO = 1.8  # times one worker
GROWTH = 1.1  # peak memory of four times the documents, to that of one
BATCH = 512  # documents

clock = time.process_time


class Laps:
    """Processor seconds by part."""

    def __init__(self) -> None:
        self.parts: dict[str, float] = {}
        self.last = clock()

    def lap(self, part: str) -> None:
        now = clock()
        self.parts[part] = self.parts.get(part, 0.0) + now - self.last
        self.last = now


def lay_out(folder: Path, every: int, halves: int = 1, wanted: Callable[[str], bool] | None = None) -> list[Path]:
    """Write every N-th text of the corpora as zst JSON lines, dealt out to so many files; return their paths."""
    folder.mkdir()
    paths = [folder / f"texts-{half}.jsonl.zst" for half in range(halves)]
    writers = [zstandard.ZstdCompressor(3).stream_writer(path.open("wb")) for path in paths]
    count = 0
    for corpus in sorted(CORPORA.glob("*.zst")):
        with zstandard.open(corpus, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines):
                if number % every:
                    continue
                record = orjson.loads(line)
                if wanted is not None and not wanted(record["text"]):
                    continue
                # no more fields: datatrove's writer takes the schema of the first document's for that of all
                writers[count % halves].write(orjson.dumps({"id": record["id"], "text": record["text"]}) + b"\n")
                count += 1
    for writer in writers:
        writer.close()
    return paths


def train_model(path: Path) -> None:
    """Train a small classifier, so that its speed is that of a trained one."""
    import fasttext

    texts = []
    for corpus in sorted(CORPORA.glob("*.zst")):
        with zstandard.open(corpus, "rt", encoding="utf-8") as lines:
            texts += [orjson.loads(line)["text"] for line, _ in zip(lines, range(100), strict=False)]
    lines = [f"__label__{'ab'[place % 2]} {' '.join(text[:2000].split())}" for place, text in enumerate(texts)]
    path.with_suffix(".txt").write_text("\n".join(lines), encoding="utf-8")
    trained = fasttext.train_supervised(
        str(path.with_suffix(".txt")), dim=100, wordNgrams=2, bucket=100_000, epoch=1, thread=1, verbose=0
    )
    trained.save_model(str(path))


def batches(paths: list[Path]) -> Iterator[pa.RecordBatch]:
    """Read documents in batches of ``BATCH``; a path that is there several times is read so often."""
    for path in paths:
        source = Source("texts", (str(path),))
        (file,) = find_files(source, ROOT)
        for chunk in read_json_lines(source, Slice(file, 0, file.size)):
            for start in range(0, chunk.documents.num_rows, BATCH):
                yield chunk.documents.slice(start, BATCH)


def stages(model_path: Path, *, measure_all: bool = False) -> list[MapStage]:
    """Return the stages of the chain; with ``measure_all`` nothing is dropped before everything was measured."""
    model = Asset(str(model_path), file_digest(model_path))
    after: list[MapStage] = [Score(name, model, "__label__a") for name in ("first score", "second score")]
    after.append(Signatures("minhash", "signature"))
    drops = [ApplyRules(f"{rules} drops", rules) for rules in RULES]
    if measure_all:
        measures = [Measure(rules, (rules,)) for rules in RULES]
        return [Normalise("normalise"), *measures, EditLines("C4's edits", "c4.datatrove@1"), *after, *drops]
    found: list[MapStage] = [Normalise("normalise")]
    for rules, drop in zip(RULES, drops, strict=True):
        found += [Measure(rules, (rules,)), drop]
        if rules.startswith("c4"):
            found.append(EditLines("C4's edits", rules))
    return [*found, *after]


def chain(paths: list[Path], model_path: Path, out: Path, *, measure_all: bool = False) -> dict[str, Any]:
    """Take every batch through the chain in memory; return seconds by part, bytes of text, documents in and out."""
    size = count = kept_count = 0
    options = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", compression_level=1))
    writer = None
    chosen = stages(model_path, measure_all=measure_all)
    laps = Laps()
    for batch in batches(paths):
        size += int(np.sum(batch.column("bytes").to_numpy()))
        count += batch.num_rows
        laps.lap("read")
        for stage, (_, outcome) in zip(chosen, flow(chosen, batch), strict=True):
            laps.lap("drops" if stage.name.endswith("drops") else stage.name)
            if stage.name == "normalise":  # the first that asks for words would be charged with them
                _ = Texts.shared(outcome.kept.column("text")).words
                laps.lap("words")
            if "text" in outcome.kept.schema.names:
                batch = outcome.kept
        kept = batch.filter(pc.is_in(batch.column("id"), value_set=outcome.kept.column("id")))
        kept_count += kept.num_rows
        if writer is None:
            writer = pa.ipc.new_file(str(out), kept.schema, options=options)
        writer.write(kept)
        laps.lap("write")
    if writer is not None:
        writer.close()
    return {"seconds": laps.parts, "bytes": size, "documents": count, "kept": kept_count}


def stored_chain(paths: list[Path], model_path: Path, root: Path) -> float:
    """Read and apply the stages as a run with one worker does, every one stored; return seconds."""
    source = Source("texts", tuple(map(str, paths)))
    files = find_files(source, ROOT)
    start = clock()
    run = Chain(root, LocalEngine(1))
    read = run.read({"texts": source}, plan_parts(files, 2_000_000), {"texts": input_digests(files, root / "inputs")})
    run.apply_all(stages(model_path), read)
    return clock() - start


def passes_every_rule(text: str) -> bool:
    """Tell whether a text passes all rules of ours."""
    texts = Texts.of(pa.array([text], pa.large_string()))
    for reference in RULES:
        rules = preset(reference)
        signals = rules.measure(texts)
        if judge(rules, [signals[rule.name] for rule in rules.rules]).rule[0] >= 0:
            return False
    return True


def peer_steps(folder: Path, model: Path, out: Path) -> list[Any]:
    """Return datatrove's steps for the same work; both scores are of the label a, at least 0: they drop nothing."""
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature
    from datatrove.pipeline.filters import (
        C4QualityFilter,
        FastTextClassifierFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
    )
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import ParquetWriter
    from datatrove.utils.hashing import HashConfig
    from fasttext.FastText import _FastText
    from loguru import logger

    scores = [FastTextClassifierFilter(str(model), keep_labels=("a", 0.0), newline_replacement=" ") for _ in range(2)]
    for score in scores:
        score._model = _FastText(str(model))  # by itself it copies the file into a cache of the user's
    logger.disable("datatrove")
    # FineWeb's hash; the default one asks xxhash for what its version 4 no longer has
    hashes = MinhashConfig(n_grams=5, hash_config=HashConfig(hash_fc="sha1", precision=64))
    return [
        JsonlReader(str(folder), compression="zstd"),
        GopherQualityFilter(),
        GopherRepetitionFilter(),
        C4QualityFilter(),
        FineWebQualityFilter(),
        *scores,
        ParquetWriter(str(out / "parquet")),
        MinhashDedupSignature(str(out / "signatures"), config=hashes),
    ]


def peer_chain(folder: Path, model: Path, out: Path) -> dict[str, Any]:
    """Run datatrove's steps one over another, as its executor does; return seconds, and documents out."""
    steps = peer_steps(folder, model, out)
    start = clock()
    data = None
    for step in steps:
        data = step.run(data, 0, 1)
    for _ in data or ():
        pass
    return {"seconds": clock() - start, "kept": int(steps[-1].stats.stats["total"].total)}


def beside_peer(name: str, folder: Path, model: Path, out: Path) -> dict[str, Any]:
    """Run both over the files of a folder; ours several times, as the sample is small."""
    paths = sorted(folder.glob("*.zst"))
    found = [chain(paths, model, out / "ours.arrow") for _ in range(5)]
    ours = sorted(sum(one["seconds"].values()) for one in found)[2]
    size, documents = found[0]["bytes"], found[0]["documents"]
    theirs = peer_chain(folder, model, out / name.replace(" ", "-"))
    return {
        "documents": documents,
        "mb": size / 1e6,
        "kept": found[0]["kept"],
        "peer_kept": theirs["kept"],
        "mb_per_second": size / 1e6 / ours,
        "peer_mb_per_second": size / 1e6 / theirs["seconds"],
        "times_the_peer": theirs["seconds"] / ours,
    }


def worker(wire: Connection, warm: list[Path], paths: list[Path], model: Path, out: Path) -> None:
    """Warm up, say so, wait, run the chain, say how much memory it took at most."""
    chain(warm, model, out)
    wire.send("ready")
    wire.recv()
    chain(paths, model, out)
    wire.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)


def workers(shares: list[list[Path]], warm: list[Path], model: Path, out: Path) -> tuple[float, float]:
    """Run the chain in one process a share; return seconds from when all are ready to the end, and the most MB."""
    context = multiprocessing.get_context("spawn")
    wires, processes = [], []
    for number, share in enumerate(shares):
        here, there = context.Pipe()
        process = context.Process(target=worker, args=(there, warm, share, model, out / f"worker-{number}.arrow"))
        process.start()
        wires.append(here)
        processes.append(process)
    for wire in wires:
        wire.recv()
    start = time.perf_counter()
    for wire in wires:
        wire.send("go")
    peaks = [wire.recv() for wire in wires]
    elapsed = time.perf_counter() - start
    for process in processes:
        process.join()
    return elapsed, max(peaks)


def figure(value: float, floor: float | None = None, *, least: bool = True) -> dict[str, Any]:
    """Return a figure beside the bound it must keep: at least ``floor``, or at most."""
    return {"value": value, "floor": floor, "ok": floor is None or (value >= floor if least else value <= floor)}


def measure(folder: Path, quick: bool) -> dict[str, dict[str, Any]]:
    figures: dict[str, dict[str, Any]] = {}
    model = folder / "model.bin"
    train_model(model)
    out = folder / "out"
    out.mkdir()
    warm = lay_out(folder / "warm", 2000)
    chain(warm, model, out / "warm.arrow")  # compiles
    paths = lay_out(folder / "all", 8 if quick else 1, halves=2)
    found = chain(paths, model, out / "all.arrow")
    total = sum(found["seconds"].values())
    figures["MB/s a core"] = figure(found["bytes"] / 1e6 / total, SPEED)
    print(
        f"{found['bytes'] / 1e6:.1f} MB in {found['documents']:,} documents, {found['kept']:,} kept: "
        f"{found['bytes'] / 1e6 / total:.1f} MB/s"
    )
    for part, seconds in found["seconds"].items():
        print(f"  {part:32} {seconds / total:6.1%}  {seconds * 1e9 / found['bytes']:6.2f} ms/MB")
        figures[f"share of {part}"] = figure(seconds / total)
    every = chain(paths, model, out / "every.arrow", measure_all=True)
    speed = every["bytes"] / 1e6 / sum(every["seconds"].values())
    figures["every signal of every document: MB/s a core"] = figure(speed, SPEED)
    print(f"every signal of every document: {speed:.1f} MB/s")
    for part, seconds in every["seconds"].items():
        print(f"  {part:32}         {seconds * 1e9 / every['bytes']:6.2f} ms/MB")
    speed = found["bytes"] / 1e6 / stored_chain(paths, model, folder / "run")
    figures["every stage stored, as tilth run does: MB/s a core"] = figure(speed, SPEED)
    print(f"every stage stored, as tilth run does: {speed:.1f} MB/s")
    missing = [name for name in ("spacy", "fasteners") if importlib.util.find_spec(name) is None]
    if missing:
        print(f"datatrove's chain is left out: {' and '.join(missing)} not installed (pip install spacy fasteners)")
    else:
        peer_chain(folder / "warm", model, out / "peer-warm")
        lay_out(folder / "same", 80 if quick else 20)
        lay_out(folder / "passing", 50 if quick else 20, wanted=passes_every_rule)
        for name, place in (("the same documents", "same"), ("documents that pass every rule", "passing")):
            told = beside_peer(name, folder / place, model, out)
            print(
                f"{name}: {told['documents']:,}, {told['mb']:.1f} MB, kept {told['kept']:,} and by datatrove "
                f"{told['peer_kept']:,}: {told['mb_per_second']:.1f} MB/s, datatrove "
                f"{told['peer_mb_per_second']:.3f}, {told['times_the_peer']:.0f} times"
            )
            for key in ("mb_per_second", "peer_mb_per_second"):
                figures[f"{name}: {key}"] = figure(told[key])
            figures[f"{name}: times datatrove"] = figure(told["times_the_peer"], FASTER)
    times = 6 if quick else 1  # the same files again: half a second says little
    one, _ = workers([paths * times], warm, model, out)
    two, _ = workers([[path] * times for path in paths], warm, model, out)
    figures["two workers to one"] = figure(one / two, TWO)
    print(f"two workers: {two:.2f} s, one {one:.2f} s, {one / two:.2f} times")
    fewer = paths[:1]
    peaks = [workers([fewer * times], warm, model, out)[1] for times in (1, 4)]
    figures["peak memory of four times the documents"] = figure(peaks[1] / peaks[0], GROWTH, least=False)
    print(f"peak memory: {peaks[0]:.0f} MB, with four times the documents {peaks[1]:.0f} MB")
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="an eighth of the text, and less for the peer")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    options = parser.parse_args()
    if not CORPORA.is_dir():
        sys.exit("the texts lie in ../shared/data/corpora beside the repository; there is nothing to run without")
    with tempfile.TemporaryDirectory(prefix="tilth-chain-") as name:
        figures = measure(Path(name), options.quick)
    for name, told in figures.items():
        if not told["ok"]:
            print(f"MISSED: {name} is {told['value']:.2f}, bound {told['floor']:g}")
    ok = all(told["ok"] for told in figures.values())
    if options.json:
        machine = f"{platform.processor() or platform.machine()}, Python {platform.python_version()}"
        print(json.dumps({"benchmark": "chain", "machine": machine, "figures": figures, "ok": ok}))
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
