import json
from pathlib import Path

import numpy as np
import pytest

from tilth.corpus.errors import UserError
from tilth.report.training import POINTS, token_summary, training_curve


def write_log(path: Path, steps: int) -> None:
    constant = {"grad_norm": 1.0, "lr": 0.1, "seconds": 2.0, "tokens_per_second": 5.0}
    lines = [{"step": step, "tokens": 10 * step, "loss": 5 - step / steps, **constant} for step in range(1, steps + 1)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_short_log_is_shown_step_by_step(tmp_path: Path) -> None:
    write_log(tmp_path / "log.jsonl", 5)
    curve = training_curve(tmp_path / "log.jsonl")
    assert curve is not None
    assert (curve.steps, curve.tokens, curve.seconds, curve.steps_a_point) == (5, 50, 10.0, 1)
    assert curve.at_tokens == (10, 20, 30, 40, 50)
    assert curve.first_loss == 4.8
    assert curve.last_loss == 4.0


@pytest.mark.parametrize("steps", [POINTS, POINTS + 1, 2999])
def test_a_long_log_becomes_means_that_keep_the_mean(tmp_path: Path, steps: int) -> None:
    write_log(tmp_path / "log.jsonl", steps)
    curve = training_curve(tmp_path / "log.jsonl")
    assert curve is not None
    width = curve.steps_a_point
    assert len(curve.loss) <= POINTS
    sizes = [width] * (steps // width) + ([steps % width] if steps % width else [])
    assert np.average(curve.loss, weights=sizes) == pytest.approx(
        np.mean([5 - step / steps for step in range(1, steps + 1)])
    )


def test_a_log_with_skipped_steps_and_looks_at_held_out_samples_is_read_as_it_is(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    write_log(log, 4)
    records = [json.loads(line) for line in log.read_text().splitlines()]
    records[0] |= {"loss": None, "grad_norm": None, "skipped": "loss is nan"}
    records[3] |= {"held_out_loss": 4.25}
    log.write_text("".join(json.dumps(record) + "\n" for record in records))
    curve = training_curve(log)
    assert curve is not None
    assert (curve.skipped, curve.held_out, curve.first_loss) == (1, ((40, 4.25),), 4.5)
    assert np.isnan(curve.loss[0])


def test_a_training_without_a_step_has_no_curve(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").touch()
    assert training_curve(tmp_path / "log.jsonl") is None


def test_tokens_are_read_from_the_manifest_that_tokenizing_writes(tmp_path: Path) -> None:
    from tilth.corpus.document import documents
    from tilth.tokenize.settings import TokenizerSettings
    from tilth.tokenize.shards import tokenize_part
    from tilth.tokenize.token_set import write_manifest
    from tilth.tokenize.tokenizer import Tokenizer
    from tilth.tokenize.train_tokenizer import train_tokenizer

    texts = ["The quick brown fox jumps over the lazy dog. " * 4, "Der schnelle braune Fuchs springt. " * 4, "x"]
    model = tmp_path / "tokenizer.model"
    train_tokenizer(texts, model, TokenizerSettings(vocabulary_size=300))
    batch = documents({"id": [bytes([n]) * 16 for n in range(3)], "text": texts, "source": ["en", "de", "en"]})
    part = tokenize_part([batch], model, tmp_path / "tokens" / "part-00000.arrow")
    write_manifest(tmp_path / "tokens", Tokenizer.load(model), [part])
    summary = token_summary(tmp_path / "tokens", {"en": {"epochs": 2.5}})
    assert summary.vocabulary_size == 300
    assert {row.source: (row.amount.documents, row.amount.bytes) for row in summary.sources} == {
        "en": (2, len(texts[0]) + 1),
        "de": (1, len(texts[1])),
    }
    assert summary.tokens == part.total.tokens
    assert {row.source: row.epochs for row in summary.sources} == {"en": 2.5, "de": None}


def test_a_manifest_without_sources_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "_manifest.json").write_text('{"format": 1}')
    with pytest.raises(UserError, match="field 'sources' not found"):
        token_summary(tmp_path, {})
