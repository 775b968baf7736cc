"""Text in, token shards out: how fast, beside the tokenizer libraries, datatrove's step and a Megatron .bin writer.

Every contender reads the same documents from Arrow files and gets two cores: the libraries as two threads of one batch
call, which is their best, the others as two processes. Clocks run from the loaded tokenizer to the flushed file; rates
are MB (1e6 bytes of UTF-8) by the wall and by the processor's second, which says more on a shared machine. The ids are
compared with the library's, all of them.

    python benchmarks/token_shards.py [--quick | --megabytes N] [--kind KIND] [--json] [--corpora FOLDER]
"""

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tilth.corpus.document import document_id, documents
from tilth.tokenize.settings import TokenizerSettings
from tilth.tokenize.shards import SHARD_BYTES, Encoding, read_shard, write_shards
from tilth.tokenize.tokenizer import Tokenizer
from tilth.tokenize.train_tokenizer import model_name, train_tokenizer

CORES = 2
VOCABULARY = 32_000
BATCH_BYTES = 4_000_000
KINDS = ("sentencepiece-bpe", "sentencepiece-unigram", "byte-bpe", "wordpiece")
FLOOR = 0.9  # of the library's rate

Clock = tuple[float, float, float]  # begin and end by the wall, processor seconds


def texts_of(folder: Path, most: int) -> list[str]:
    """Read about ``most`` bytes of text from the JSON lines of ``folder``, as much of each file."""
    import zstandard

    found = []
    files = sorted(folder.glob("*.jsonl.zst"))
    for path in files:
        size = 0
        with zstandard.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                text = json.loads(line)["text"]
                size += len(text.encode())
                found.append(text)
                if size > most / len(files):
                    break
    return found


def write_documents(texts: list[str], path: Path) -> None:
    """Write documents as Arrow batches of about ``BATCH_BYTES``."""
    schema = documents({"id": [], "text": [], "source": []}).schema
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        first = size = 0
        for number, text in enumerate(texts, 1):
            size += len(text)
            if size > BATCH_BYTES or number == len(texts):
                ids = [document_id("bench", str(row)) for row in range(first, number)]
                columns = {"id": ids, "text": texts[first:number], "source": ["bench"] * (number - first)}
                writer.write_batch(documents(columns))
                first, size = number, 0


def batches(path: Path) -> Iterator[pa.RecordBatch]:
    with pa.memory_map(str(path)) as source:
        reader = pa.ipc.open_file(source)
        for number in range(reader.num_record_batches):
            yield reader.get_batch(number)


def clocked(work: Callable[[], Any]) -> Clock:
    begin, used = time.time(), time.process_time()
    work()
    return begin, time.time(), time.process_time() - used


def run_library(model: Path, parts: list[Path], out: Path) -> Clock:
    """Encode everything with the library's best batch call on two threads; keep the ids as it returns them."""
    os.environ |= {"TOKENIZERS_PARALLELISM": "true", "RAYON_NUM_THREADS": str(CORES)}
    texts = [text for part in parts for batch in batches(part) for text in batch.column("text").to_pylist()]
    if model.suffix == ".model":
        import sentencepiece

        processor = sentencepiece.SentencePieceProcessor(model_file=str(model))
        return clocked(lambda: processor.encode(texts, num_threads=CORES))
    from tokenizers import Tokenizer as Library

    library = Library.from_file(str(model))
    library.encode_special_tokens = True
    return clocked(lambda: [one.ids for one in library.encode_batch_fast(texts, add_special_tokens=False)])


def run_tilth(model: Path, parts: list[Path], out: Path) -> Clock:
    """Write shards of one part."""
    tokenizer = Tokenizer.load(model)
    tokenizer.encode_batch(["warm", "the", "kernels"])
    (part,) = parts

    def encoded() -> Iterator[tuple[pa.RecordBatch, np.ndarray, np.ndarray]]:
        for batch in batches(part):
            yield batch, *tokenizer.encode_column(batch.column("text"), separated=True)

    return clocked(lambda: write_shards(encoded(), Encoding.of(tokenizer), out, int(part.stem[-1]), SHARD_BYTES))


def run_megatron(model: Path, parts: list[Path], out: Path) -> Clock:
    """Write .bin and .idx as Megatron-LM's preprocess_data.py does: encode, append the separator, add the document."""
    warnings.simplefilter("ignore")  # megatron-core names what is not installed
    import torch
    from megatron.core.datasets.indexed_dataset import IndexedDatasetBuilder

    (part,) = parts
    tokenizer = Tokenizer.load(model)
    prefix = str(out / part.stem)

    def work() -> None:
        builder = IndexedDatasetBuilder(prefix + ".bin", dtype=np.uint16)
        for batch in batches(part):
            for ids in tokenizer.library.encode(batch.column("text").to_pylist()):
                builder.add_document(torch.tensor([*ids, tokenizer.separator]), [len(ids) + 1])
        builder.finalize(prefix + ".idx")

    return clocked(work)


def run_datatrove(model: Path, parts: list[Path], out: Path) -> Clock:
    """Run datatrove's DocumentTokenizer, without its shuffling."""
    from datatrove.data import Document
    from datatrove.pipeline.tokens.tokenizer import DocumentTokenizer
    from datatrove.utils.logging import logger

    logger.remove()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    (part,) = parts
    separator = Tokenizer.load(model).library.piece_of(Tokenizer.load(model).separator)
    step = DocumentTokenizer(str(out), str(model), eos_token=separator, shuffle_documents=False)
    stream = (
        Document(text=text, id=str(number))
        for number, text in enumerate(chain.from_iterable(one.column("text").to_pylist() for one in batches(part)))
    )
    return clocked(lambda: step.run(stream, int(part.stem[-1]), CORES))


CONTENDERS: dict[str, Callable[[Path, list[Path], Path], Clock]] = {
    "library": run_library,
    "tilth": run_tilth,
    "megatron_bin": run_megatron,
    "datatrove": run_datatrove,
}


def measured(name: str, model: Path, parts: list[Path], out: Path, size: int) -> dict[str, float]:
    """Return MB/s by the wall, and by a processor's second, of a contender in fresh processes."""
    out.mkdir(parents=True)
    shares = [parts] if name == "library" else [[part] for part in parts]
    with multiprocessing.get_context("spawn").Pool(len(shares), maxtasksperchild=1) as pool:
        clocks = pool.starmap(CONTENDERS[name], [(model, share, out) for share in shares], chunksize=1)
    wall = max(end for _, end, _ in clocks) - min(begin for begin, _, _ in clocks)
    return {"wall": size / wall / 1e6, "core": size / sum(used for _, _, used in clocks) / 1e6}


def equal_ids(model: Path, parts: list[Path], shards: Path) -> bool:
    """Tell whether the shards hold the library's own ids of every document, and the separator after each."""
    library = Tokenizer.load(model)
    for number, part in enumerate(parts):
        found = [one for path in sorted(shards.glob(f"part-{number:05d}-*")) for one in read_shard(path).batches]
        ours = np.concatenate([one.tokens for one in found])
        at = 0
        for batch in batches(part):
            for ids in library.library.encode(batch.column("text").to_pylist()):
                if not np.array_equal(ours[at : at + len(ids) + 1], [*ids, library.separator]):
                    return False
                at += len(ids) + 1
        if at != len(ours):
            return False
    return True


def main() -> int:
    """Measure, print a table, and with ``--json`` one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="12 MB of text")
    parser.add_argument("--megabytes", type=int, default=100, help="of text, where not --quick")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--kind", choices=KINDS, help="this one alone")
    shared = Path(__file__).resolve().parents[2] / "shared" / "data" / "corpora"
    parser.add_argument("--corpora", type=Path, default=shared, help="folder of .jsonl.zst files with a field 'text'")
    arguments = parser.parse_args()
    texts = texts_of(arguments.corpora, 12_000_000 if arguments.quick else arguments.megabytes * 10**6)
    if not texts:
        print(f"{arguments.corpora}: no .jsonl.zst file; name a folder with --corpora")
        return 1
    size = sum(len(text.encode()) for text in texts)
    report: dict[str, Any] = {}
    ok = True
    print(f"{size / 1e6:.1f} MB, {len(texts)} documents, {CORES} cores, {VOCABULARY} pieces")
    print(f"{'':24}{'':16}{'MB/s':>8}{'MB/s a core':>14}")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        parts = [folder / f"part-{number}.arrow" for number in range(CORES)]
        for number, part in enumerate(parts):
            write_documents(texts[number::CORES], part)
        for kind in (arguments.kind,) if arguments.kind else KINDS:
            model = folder / kind / model_name(kind)
            settings = TokenizerSettings(kind=kind, vocabulary_size=VOCABULARY, sample_bytes=10_000_000)
            train_tokenizer(texts, model, settings)
            rates: dict[str, Any] = {}
            for name in CONTENDERS:
                if name == "datatrove" and model.suffix == ".model":
                    continue  # it reads tokenizer.json alone
                rates[name] = measured(name, model, parts, folder / kind / name, size)
                print(f"{kind:24}{name:16}{rates[name]['wall']:8.1f}{rates[name]['core']:14.1f}", flush=True)
            rates["equal_ids"] = equal_ids(model, parts, folder / kind / "tilth")
            rates["of_library"] = {by: rates["tilth"][by] / rates["library"][by] for by in ("wall", "core")}
            passed = rates["equal_ids"] and rates["of_library"]["core"] >= FLOOR
            ok = ok and passed
            print(
                f"{kind:24}of the library: {rates['of_library']['wall']:.2f} by the wall, "
                f"{rates['of_library']['core']:.2f} a core (at least {FLOOR}); ids equal: {rates['equal_ids']}"
                f"{'' if passed else '  MISSED'}"
            )
            report[kind] = rates
    if arguments.json:
        print(json.dumps({"benchmark": "tokenize", "megabytes": size / 1e6, "kinds": report, "ok": ok}))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
