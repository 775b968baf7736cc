"""Documents that share a row are read as if each stood alone: attention and positions say so, and so do the losses."""

import dataclasses
from typing import Any, Literal

import numpy as np
import pytest

from tilth.tokenize.bert_order import BertRows
from tilth.train.job import ObjectiveConfig, TrainConfig, TrainJob
from tilth.train.model import ModelConfig
from tilth.train.objectives.batch import Batch
from tilth.train.objectives.causal import Causal

torch = pytest.importorskip("torch")
pytest.importorskip("megatron.core")

GPT = ModelConfig(300, layers=2, hidden_size=32, heads=4, sequence_length=24)
BERT = dataclasses.replace(GPT, kind="bert", position="learned", sentence_order=True)
SEPARATOR, CLASS, PADDING = 1, 2, 0


def empty_rows(count: int) -> BertRows:
    shape = (count, 24)
    tokens, segments = np.full(shape, PADDING, np.int64), np.full(shape, -1, np.int32)
    return BertRows(tokens, segments, np.zeros(shape, np.int8), np.full(shape, -1, np.int8))


def losses_of(model: ModelConfig, batch: Batch) -> Any:
    """Losses of every row of ``batch``, with the weights that seed 1 gives."""
    from tilth.train.build import build_model
    from tilth.train.layout import Layout
    from tilth.train.loop import forward

    torch.manual_seed(1)
    optimisation = TrainConfig(steps=1, batch_size=len(batch.tokens))
    job = TrainJob(model, optimisation, "-", tokenizer="-", packing="cut" if model.kind == "gpt" else "segments")
    device = torch.device("cpu")
    with torch.no_grad():
        return forward(job, [build_model(model, Layout()).eval()], [batch], device, backward=False)


@pytest.mark.parametrize("position", ["rope", "learned"])
def test_a_gpt_reads_a_document_in_a_row_as_it_reads_it_alone(
    world: object, position: Literal["rope", "learned"]
) -> None:
    generator = np.random.default_rng(0)
    first, second = (generator.integers(4, 300, size) for size in (9, 11))
    # the separator before a document begins it; what is left of the row is padding
    together = np.concatenate([first, [SEPARATOR], second, [SEPARATOR], [-1] * 3])
    alone = np.full((2, 25), -1)
    alone[0, :10] = together[:10]
    alone[1, :13] = together[9:22]
    model = dataclasses.replace(GPT, position=position)
    apart = Causal(SEPARATOR)
    row, each = (losses_of(model, apart.collate(rows, 0)) for rows in (together[None], alone))
    assert row.counts.tolist() == [21]
    assert each.counts.tolist() == [9, 12]
    np.testing.assert_allclose(row.nats.sum(), each.nats.sum(), rtol=1e-5)
    joined = losses_of(model, Causal().collate(together[None], 0))
    assert abs(joined.nats.sum() - row.nats.sum()) > 1e-3
    assert joined.counts.tolist() == [21]


def test_a_bert_reads_a_segment_in_a_row_as_it_reads_it_alone(world: object, vocabulary: Any) -> None:
    from tilth.train.objectives.choose import objective_of

    generator = np.random.default_rng(0)
    rows = empty_rows(3)

    def put(row: int, at: int, number: int, text: np.ndarray, follows: int) -> None:
        these = slice(at, at + len(text) + 3)
        rows.tokens[row, these] = [CLASS, *text[:4], SEPARATOR, *text[4:], SEPARATOR]
        rows.segments[row, these] = number
        rows.types[row, at + 6 : these.stop] = 1
        rows.follows[row, at] = follows

    one, two = generator.integers(4, 300, 7), generator.integers(4, 300, 8)
    put(0, 0, 0, one, 1)
    put(0, 10, 1, two, 0)
    put(1, 0, 0, one, 1)
    put(2, 0, 0, two, 0)
    job = TrainJob(
        BERT, TrainConfig(steps=1), "-", tokenizer="-", packing="segments", objective=ObjectiveConfig(rate=0.5)
    )
    batch = objective_of(job, None, vocabulary).collate(rows, 0)
    assert batch.order is not None
    assert batch.order[0, [0, 10]].tolist() == [0, 1]  # 1: exchanged
    # all are asked for the same tokens, which stand there unhidden
    counts = (rows.segments >= 0) & (rows.tokens > 3)
    batch = dataclasses.replace(batch, tokens=rows.tokens, counts=counts)
    row, each = losses_of(BERT, batch.rows(0, 1)), losses_of(BERT, batch.rows(1, 2))
    assert row.counts.tolist() == [15]
    assert row.pairs.tolist() == [2]
    assert each.pairs.tolist() == [1, 1]
    np.testing.assert_allclose(row.nats.sum(), each.nats.sum(), rtol=1e-5)
    np.testing.assert_allclose(row.order.sum(), each.order.sum(), rtol=1e-5)
    assert row.loss == pytest.approx(row.nats.sum() / 15 + row.order.sum() / 2)
    assert row.loss == pytest.approx(each.loss, rel=1e-5)


def test_padding_is_neither_hidden_nor_asked_for(vocabulary: Any) -> None:
    from tilth.train.objectives.masked import Masking
    from tilth.train.objectives.segments import Segments

    rows = empty_rows(50)
    rows.tokens[:, :10] = [CLASS, 5, 6, 7, 8, 9, 10, 11, 12, SEPARATOR]
    rows.segments[:, :10] = 0
    batch = Segments(Masking(1, rate=0.5), vocabulary).collate(rows, 0)
    assert batch.counts[:, 1:9].sum() == 50 * 4
    assert not batch.counts[:, [0, *range(9, 24)]].any()
    assert (batch.tokens[:, 10:] == PADDING).all()
    assert batch.order is None
