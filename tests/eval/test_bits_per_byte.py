"""Bits per byte: true against a plain computation, the same for any number of processes, kept and found again."""

import math
import shutil
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tilth.corpus.errors import UserError
from tilth.eval.bits_per_byte import BITS, EvalResult, SourceBits, evaluate

torch = pytest.importorskip("torch")
pytest.importorskip("megatron.core")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def evaluated(
    seed_checkpoint: Path, tokenizer_path: Path, held_out: pa.Table, tmp_path_factory: pytest.TempPathFactory
) -> tuple[EvalResult, Path]:
    folder = tmp_path_factory.mktemp("evaluated")
    progress: list[tuple[int, int]] = []
    result = evaluate(
        {"before": seed_checkpoint, "again": seed_checkpoint},
        tokenizer_path,
        held_out,
        folder,
        processes=2,
        on_progress=lambda done, total: progress.append((done, total)),
    )
    assert progress[-1][0] == progress[-1][1] == 2 * result.total("before").tokens
    assert progress == sorted(progress)
    return result, folder


def test_the_bits_are_those_of_a_plain_computation(
    evaluated: tuple[EvalResult, Path], seed_checkpoint: Path, tokenizer_path: Path, held_out: pa.Table
) -> None:
    from tilth.tokenize.tokenizer import Tokenizer
    from tilth.train.build import build_model
    from tilth.train.checkpoint import read_checkpoint
    from tilth.train.cpu_backend import cuda_on_cpu
    from tilth.train.layout import Layout, alone
    from tilth.train.model import ModelConfig
    from tilth.train.state import load_state

    tokenizer = Tokenizer.load(tokenizer_path)
    model = ModelConfig(**read_checkpoint(seed_checkpoint).model)
    expected = []
    with cuda_on_cpu(), alone(), torch.no_grad():
        gpt = build_model(model, Layout())
        load_state(seed_checkpoint, [gpt], None)
        gpt.eval()
        for tokens in tokenizer.encode_batch(held_out.column("text").to_pylist()):
            nats = 0.0
            text = [tokenizer.separator, *tokens.tolist()]
            for place in range(1, len(text)):  # every token by itself, in the window that should predict it
                half = model.sequence_length // 2
                first = 0 if place <= model.sequence_length else -(-(place - model.sequence_length) // half) * half
                first = min(first, max(len(text) - 1 - model.sequence_length, 0))
                inputs = torch.tensor([text[first:place]])
                logits = gpt(inputs, torch.arange(place - first)[None], None)[0, -1, : model.vocabulary_size]
                nats -= torch.log_softmax(logits.double(), 0)[text[place]].item()
            expected.append(nats / math.log(2))
    result = evaluated[0].documents
    assert result.schema.equals(BITS)
    found = result.filter(pc.equal(result["checkpoint"], "before"))
    assert found["bits"].to_pylist() == pytest.approx(expected, rel=1e-5)
    assert found["id"].to_pylist() == held_out["id"].to_pylist()
    assert found["bytes"].to_pylist() == held_out["bytes"].to_pylist()


def test_an_untrained_model_knows_nothing_but_its_vocabulary(evaluated: tuple[EvalResult, Path]) -> None:
    total = evaluated[0].total("before")
    assert total.bits_per_byte == pytest.approx(math.log2(300) * total.tokens / total.bytes, rel=0.01)


def test_the_same_checkpoint_has_the_same_bits(evaluated: tuple[EvalResult, Path]) -> None:
    result = evaluated[0]
    assert result.checkpoints == ("before", "again")
    assert result.sources("before") == result.sources("again")


def test_sources_add_up_to_the_whole(evaluated: tuple[EvalResult, Path], held_out: pa.Table) -> None:
    result = evaluated[0]
    sources, total = result.sources("before"), result.total("before")
    assert list(sources) == ["north", "south"]
    assert total.documents == held_out.num_rows
    assert total.bytes == sum(held_out["bytes"].to_pylist())
    assert total.bits == pytest.approx(sum(part.bits for part in sources.values()))


def test_the_result_does_not_depend_on_the_number_of_processes(
    evaluated: tuple[EvalResult, Path], seed_checkpoint: Path, tokenizer_path: Path, held_out: pa.Table, tmp_path: Path
) -> None:
    one = evaluate({"before": seed_checkpoint}, tokenizer_path, held_out, tmp_path, processes=1)
    bits = evaluated[0].documents["bits"].to_pylist()[: held_out.num_rows]
    assert one.documents["bits"].to_pylist() == bits  # to the last bit


def test_a_result_is_found_again_and_only_for_the_same_question(
    evaluated: tuple[EvalResult, Path], seed_checkpoint: Path, tokenizer_path: Path, held_out: pa.Table, tmp_path: Path
) -> None:
    result, folder = evaluated
    log = folder / "worker-0.log"
    before = log.stat().st_mtime_ns
    moved = tmp_path / "step-00000000"
    shutil.copytree(seed_checkpoint, moved)
    kept = evaluate({"before": moved, "again": moved}, tokenizer_path, held_out, folder)
    assert kept.documents.equals(result.documents)
    assert log.stat().st_mtime_ns == before  # nothing was started
    evaluate({"before": moved}, tokenizer_path, held_out.slice(0, 3), folder, processes=1)
    assert log.stat().st_mtime_ns > before


def test_a_tokenizer_of_another_size_is_refused(
    seed_checkpoint: Path, tokenizer_path: Path, held_out: pa.Table, tmp_path: Path
) -> None:
    other = tmp_path / "step-00000000"
    shutil.copytree(seed_checkpoint, other)
    manifest = orjson.loads((other / "manifest.json").read_bytes())
    manifest["model"]["vocabulary_size"] = 299
    (other / "manifest.json").write_bytes(orjson.dumps(manifest))
    with pytest.raises(UserError, match="trained with a vocabulary of 299, found 300 in"):
        evaluate({"a": other}, tokenizer_path, held_out, tmp_path)


def test_no_documents_and_no_checkpoints_are_refused(
    seed_checkpoint: Path, tokenizer_path: Path, held_out: pa.Table, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="1 checkpoints and 0 documents"):
        evaluate({"a": seed_checkpoint}, tokenizer_path, held_out.slice(0, 0), tmp_path)
    with pytest.raises(UserError, match="0 checkpoints and 18 documents"):
        evaluate({}, tokenizer_path, held_out, tmp_path)


def test_a_source_without_bytes_has_no_figure() -> None:
    assert np.isnan(SourceBits(1, 0, 0, 0.0).bits_per_byte)
