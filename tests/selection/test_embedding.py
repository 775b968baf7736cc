"""Regression on embeddings: a frozen encoder and a linear head, the same for a document whatever stands beside it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tilth.corpus.document import document_id, documents
from tilth.corpus.engines import engine
from tilth.corpus.errors import UserError
from tilth.corpus.stage import Asset
from tilth.corpus.store import file_digest
from tilth.recipe.recipe import Recipe
from tilth.run import Run
from tilth.selection.embedding import (
    HEAD,
    EmbeddingScore,
    EncoderSettings,
    embed,
    fit_regression,
    folder_digest,
    read_ratings,
    ridge,
)
from tilth.show import Silent

WORDS = ["council", "shall", "amend", "section", "click", "buy", "offers", "win"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Asset:
    """A folder of an untrained BERT over eight words."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers", reason="the package 'transformers' is not installed")
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    folder = tmp_path_factory.mktemp("encoder")
    vocabulary = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    shape = transformers.BertConfig(
        vocab_size=12, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=16,
    )  # fmt: skip
    transformers.BertModel(shape).save_pretrained(folder)
    return Asset(str(folder), folder_digest(folder))


def rated(folder: Path, count: int = 80) -> Path:
    """Write texts of eight words, rated by how many of them are of the law."""
    chance = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for _ in range(count):
        words = chance.choice(WORDS, 8).tolist()
        rows.append({"text": " ".join(words), "score": sum(word in WORDS[:4] for word in words)})
    (folder / "rated.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "rated.jsonl"


def test_ridge_is_least_squares_with_a_free_bias() -> None:
    chance = np.random.default_rng(1)
    vectors, truth = chance.normal(size=(200, 5)) + 3, np.array([1.0, -2, 0, 4, 0.5])
    head = ridge(vectors, vectors @ truth + 7, 1e-12)
    np.testing.assert_allclose(head, [*truth, 7], atol=1e-6)
    heavy = ridge(vectors, vectors @ truth + 7, 1e12)
    np.testing.assert_allclose(heavy[:-1], 0, atol=1e-6)
    assert heavy[-1] == pytest.approx((vectors @ truth + 7).mean())


@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_an_embedding_does_not_depend_on_its_neighbours(encoder: Asset, pooling: Any) -> None:
    settings = EncoderSettings(pooling, 8)
    texts = ["council shall", "", " ".join(WORDS * 9), "buy offers win click buy"]
    together = embed(texts, encoder, settings)
    assert together.shape == (4, 16)
    for row, text in enumerate(texts):
        np.testing.assert_array_equal(embed([text], encoder, settings)[0], together[row])
    longer = embed([" ".join(WORDS * 9) + " council"], encoder, settings)[0]
    np.testing.assert_array_equal(longer, together[2])  # beyond the first tokens nothing counts


def test_a_head_rates_what_was_held_out_and_scores_as_a_stage(encoder: Asset, tmp_path: Path) -> None:
    settings = EncoderSettings("mean", 16)
    report = fit_regression(tmp_path, rated(tmp_path), encoder, settings, 1e-4, 0)
    assert report["root_mean_squared_error"] < 0.8 * report["of_the_mean_alone"]
    assert (report["examples"], report["held_out"]) == (72, 8)
    head = Asset(str(tmp_path / HEAD), file_digest(tmp_path / HEAD))
    texts = ["council shall amend section", "click buy offers win"]
    ids = [document_id("a", text) for text in texts]
    batch = documents({"id": ids, "text": texts, "source": ["a", "a"]})
    outcome = EmbeddingScore("regression", encoder, head, settings).apply(batch)
    law, web = outcome.signals["regression"].to_pylist()
    assert law > web
    assert outcome.kept.num_rows == 2
    with pytest.raises(UserError, match="encoder was changed"):
        embed(texts, Asset(encoder.path, "0" * 32), settings)


def test_a_recipe_selects_by_rating_and_its_inverse_takes_the_rest(encoder: Asset, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in rated(tmp_path, 120).read_text().splitlines()]
    (tmp_path / "rated.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:80]))
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps({"text": row["text"]}) + "\n" for row in rows[80:]))
    taken = []
    for inverse in (False, True):
        stages = [
            {"use": "regression", "encoder": encoder.path, "examples": "rated.jsonl", "pooling": "mean", "tokens": 16},
            {"use": "select", "by": "regression", "keep": 0.3, "inverse": inverse},
        ]
        recipe = {"name": "rated", "sources": [{"name": "pool", "path": "pool.jsonl"}], "stages": stages}
        run = Run(Recipe.model_validate(recipe), tmp_path, tmp_path / "run", engine("local", 1), Silent())
        run.execute("select")
        taken.append([text for batch in run.head.lineage.read(0, ["text"]) for text in batch["text"].to_pylist()])
    best, rest = taken
    assert sorted(best + rest) == sorted(row["text"] for row in rows[80:])
    rating = {row["text"]: row["score"] for row in rows}
    assert np.mean([rating[text] for text in best]) > np.mean([rating[text] for text in rest]) + 0.5


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ('{"text": "a"}\n', "rated.jsonl:1: expected an object with 'text' and 'score'"),
        ('{"text": "a", "score": true}\n', "a number as 'score'"),
        ('{"text": "a", "score": 1}\n' * 12, "12 examples with 1 different ratings"),
        ("", "found 0 examples"),
    ],
)
def test_examples_that_cannot_be_learned_from_are_one_line(lines: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "rated.jsonl").write_text(lines)
    with pytest.raises(UserError, match=complaint):
        read_ratings(tmp_path / "rated.jsonl")


def test_a_folder_without_an_encoder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no encoder there"):
        folder_digest(tmp_path)
    pytest.importorskip("torch")
    pytest.importorskip("transformers", reason="the package 'transformers' is not installed")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="not an encoder"):
        embed(["a"], Asset(str(tmp_path), folder_digest(tmp_path)), EncoderSettings())


def test_a_column_of_no_documents_has_no_embeddings(encoder: Asset) -> None:
    assert pa.array(embed([], encoder, EncoderSettings())[:, 0]).equals(pa.array([], pa.float64()))
