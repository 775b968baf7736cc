"""The whole filter chain beside datatrove's: zst JSON lines in, rules and signatures, Arrow out; on one core.

    python benchmarks/chain.py [--every N] [--spacy] [--workers 2] [--json]

Ours: read, normalise, Gopher's quality and repetition, C4 with its edits, FineWeb, two fastText scores, MinHash
signatures, one Arrow file. Each part's share of the time is printed; parts run over the same batches, a signal is
measured whether or not a document was dropped before, and words are split once for all rules. datatrove: text in, and
the same four filters, until one drops a document. Given our words and sentences it is faster than it could be by
itself; ``--spacy`` (the package spaCy beside Tilth) lets it split words as it does. Its MinHash signatures and its
scores are left out, to its advantage.

Time is the processor time of the one thread that works. ``--workers 2`` runs the chain in two processes, each over half
of the files, and compares the elapsed time with one process that does both halves.
"""

import argparse
import io
import json
import multiprocessing
import platform
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import zstandard

from tilth.corpus.document import document_id, documents
from tilth.filters.dedup.signatures import Signatures
from tilth.filters.fasttext_model import label_probabilities, load_model
from tilth.filters.normalise import Normalise
from tilth.filters.rules import judge, preset
from tilth.filters.spans import edit_batch
from tilth.filters.texts import Texts

ROOT = Path(__file__).resolve().parents[1]
CORPORA = ROOT.parent / "shared" / "data" / "corpora"
RULES = ("gopher.datatrove@1", "gopher.repetition.datatrove@1", "fineweb@1")
SPEED = 10.0  # MB/s a core
FASTER = 100.0  # times datatrove's chain
BATCH = 512  # documents


class Clock:
    """Processor seconds by part."""

    def __init__(self) -> None:
        self.parts: dict[str, float] = {}
        self.last = time.thread_time()

    def lap(self, part: str) -> None:
        now = time.thread_time()
        self.parts[part] = self.parts.get(part, 0.0) + now - self.last
        self.last = now


def train_model(folder: Path, texts: list[str]) -> Path:
    """A small classifier, so that its speed is that of a trained one."""
    import fasttext

    lines = [
        f"__label__{'a' if place % 2 else 'b'} {' '.join(text[:2000].split())}" for place, text in enumerate(texts)
    ]
    (folder / "train.txt").write_text("\n".join(lines), encoding="utf-8")
    model = fasttext.train_supervised(
        str(folder / "train.txt"), dim=100, wordNgrams=2, bucket=100_000, epoch=1, thread=1, verbose=0
    )
    model.save_model(str(folder / "model.bin"))
    return folder / "model.bin"


def chain(paths: list[Path], every: int, model_path: Path, out: Path) -> dict[str, Any]:
    """Run the chain over files; return seconds by part, bytes of text and documents."""
    model = load_model(str(model_path))
    normalise, c4, signatures = Normalise("normalise"), preset("c4.datatrove@1"), Signatures("minhash", "signature")
    if c4.edits is None:
        raise RuntimeError("c4.datatrove@1 has no edits")
    clock, size, count = Clock(), 0, 0
    writer = None
    for path in paths:
        with path.open("rb") as raw:
            lines = io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(raw), 1 << 20)
            done = False
            number = 0
            while not done:
                found = []
                while len(found) < BATCH:
                    line = lines.readline()
                    if not line:
                        done = True
                        break
                    if number % every == 0:
                        found.append(orjson.loads(line)["text"])
                    number += 1
                if not found:
                    break
                ids = [document_id(path.name, str(number + row)) for row in range(len(found))]
                batch = documents({"id": ids, "text": found, "source": [path.name] * len(found)})
                size += sum(batch.column("bytes").to_pylist())
                count += len(found)
                clock.lap("read")
                batch = normalise.apply(batch).kept
                clock.lap("normalise")
                texts = Texts.of(batch.column("text"))
                _ = texts.words
                clock.lap("words")
                kept = np.ones(len(texts), np.bool_)
                for reference in RULES:
                    rules = preset(reference)
                    signals = rules.measure(texts)
                    kept &= judge(rules, [signals[rule.name] for rule in rules.rules]).rule < 0
                    clock.lap(reference)
                signals = c4.measure(texts)
                kept &= judge(c4, [signals[rule.name] for rule in c4.rules]).rule < 0
                batch = edit_batch(batch, c4.edits(texts)).kept
                clock.lap("c4.datatrove@1")
                for _ in range(2):
                    label_probabilities(model, batch.column("text"))
                clock.lap("two fastText scores")
                signatures.apply(batch)
                clock.lap("minhash")
                batch = batch.filter(pa.array(kept))
                if writer is None:
                    options = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", compression_level=1))
                    writer = pa.ipc.new_file(str(out), batch.schema, options=options)
                writer.write(batch)
                clock.lap("write")
    if writer is not None:
        writer.close()
    return {"seconds": clock.parts, "bytes": size, "documents": count}


def peer_chain(paths: list[Path], every: int, *, spacy: bool) -> dict[str, Any]:
    """Run datatrove's filters over the same files; our words and sentences are found before its time counts."""
    import datatrove.pipeline.filters.c4_filters as c4
    import datatrove.pipeline.filters.fineweb_quality_filter as fineweb
    import datatrove.pipeline.filters.gopher_quality_filter as quality
    import datatrove.pipeline.filters.gopher_repetition_filter as repetition
    from datatrove.data import Document

    sys.path.append(str(ROOT / "tests" / "filters"))
    from plain_rules import sentences_of, words_of

    words: dict[str, list[str]] = {}
    sentences: dict[str, int] = {}
    if not spacy:
        for module in (quality, repetition, fineweb):
            module.split_into_words = lambda text, language: words[text]
        c4.split_into_sentences = lambda line, language: [line] * sentences[line]
    filters = [
        quality.GopherQualityFilter(),
        repetition.GopherRepetitionFilter(),
        c4.C4QualityFilter(),
        fineweb.FineWebQualityFilter(),
    ]
    seconds = size = 0.0
    for path in paths:
        with zstandard.open(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines):
                if number % every:
                    continue
                text = orjson.loads(line)["text"]
                if not spacy:
                    asked = _Recorder(text)
                    words = {one: words_of(one) for one in (text, asked.cleaned)}
                    sentences = {one: sentences_of(one) for one in asked.lines}
                size += len(text.encode())
                start = time.thread_time()
                document = Document(text=orjson.loads(line)["text"], id=str(number))
                for one in filters:
                    if one.filter(document) is not True:
                        break
                seconds += time.thread_time() - start
    return {"seconds": seconds, "bytes": size}


class _Recorder:
    """What C4's filter will ask about a text: the lines it counts sentences of, and the text it leaves."""

    def __init__(self, text: str) -> None:
        from plain_rules import CITATION

        self.lines = {CITATION.sub("", line.strip()) for line in text.splitlines()}
        rules = preset("c4.datatrove@1")
        texts = Texts.of(pa.array([text], pa.large_string()))
        from tilth.filters.spans import edited

        self.cleaned = edited(texts, rules.edits(texts)).data.tobytes().decode() if rules.edits else text


def work(arguments: tuple[list[Path], int, Path, Path]) -> float:
    start = time.perf_counter()
    chain(*arguments)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=int, default=1, help="take every N-th text")
    parser.add_argument("--peer-every", type=int, default=20, help="the same for the peer")
    parser.add_argument("--spacy", action="store_true", help="let datatrove split words with spaCy")
    parser.add_argument("--workers", type=int, default=1, choices=(1, 2))
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    options = parser.parse_args()
    paths = sorted(CORPORA.glob("*.zst"))
    if not paths:
        sys.exit("the texts lie in ../shared/data/corpora beside the repository; there is nothing to run without")
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="tilth-chain-") as name:
        folder = Path(name)
        with zstandard.open(paths[0], "rt", encoding="utf-8") as lines:
            model = train_model(
                folder, [orjson.loads(line)["text"] for line, _ in zip(lines, range(400), strict=False)]
            )
        chain(paths, 2000, model, folder / "out.arrow")  # compiles
        found = chain(paths, options.every, model, folder / "out.arrow")
        total = sum(found["seconds"].values())
        figures["mb_per_second"] = found["bytes"] / 1e6 / total
        print(f"{found['bytes'] / 1e6:.1f} MB in {found['documents']:,} documents: {figures['mb_per_second']:.1f} MB/s")
        for part, seconds in found["seconds"].items():
            print(f"  {part:32} {seconds / total:6.1%}  {seconds * 1e9 / found['bytes']:6.2f} ms/MB")
        figures["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        print(f"peak memory {figures['peak_mb']:.0f} MB")
        peer = peer_chain(paths, options.peer_every, spacy=options.spacy)
        figures["peer_mb_per_second"] = peer["bytes"] / 1e6 / peer["seconds"]
        figures["times_the_peer"] = figures["mb_per_second"] / figures["peer_mb_per_second"]
        print(
            f"datatrove's filters{' with spaCy' if options.spacy else ', given our words'}: "
            f"{figures['peer_mb_per_second']:.2f} MB/s, {figures['times_the_peer']:.1f} times slower"
        )
        if options.workers == 2:
            halves = [(paths[half::2], options.every, model, folder / f"out{half}.arrow") for half in (0, 1)]
            alone = sum(work(half) for half in halves)
            start = time.perf_counter()
            with multiprocessing.get_context("spawn").Pool(2) as pool:
                pool.map(work, halves)
            figures["two_workers"] = alone / (time.perf_counter() - start)
            print(f"two workers: {figures['two_workers']:.2f} times one")
    ok = figures["mb_per_second"] >= SPEED and (not options.spacy or figures["times_the_peer"] >= FASTER)
    if options.json:
        machine = f"{platform.processor() or platform.machine()}, Python {platform.python_version()}"
        print(json.dumps({"benchmark": "chain", "machine": machine, "figures": figures, "ok": ok}))
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
