"""Regression on embeddings, as FineWeb-Edu scores pages: a frozen encoder, and a linear head fitted to rated examples.

FineWeb-Edu (Penedo et al. 2024, arXiv 2406.17557) rates 450,000 pages 0 to 5 with a large model and trains one linear
output on a frozen Snowflake-arctic-embed-m, 512 tokens a page. Here the head is ridge regression in closed form: no
learning rate, no epochs, one answer. The ratings are the user's.

A document is encoded by itself, without padding: in a batch the last bits of an embedding depend on its neighbours,
and a score must not depend on parts or workers. For an encoder of 100 million weights that costs about a third of the
speed on a processor.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import orjson
import pyarrow as pa
import xxhash

from tilth.corpus.errors import UserError
from tilth.corpus.stage import Asset, Outcome
from tilth.corpus.store import file_digest, write_atomically
from tilth.selection.rivals import Measured, same_file

HEAD, REPORT = "head.npy", "report.json"
FEWEST = 10  # rated examples
Pooling = Literal["first", "mean"]


@dataclass(frozen=True)
class EncoderSettings:
    """How a text becomes a vector: its first ``tokens``, then the ``first`` position's or the ``mean`` last layer."""

    pooling: Pooling = "first"
    tokens: int = 512


@dataclass(frozen=True)
class EmbeddingScore(Measured):
    """The rating that a linear head gives a document's embedding. ``head`` (.npy, float64): weights, then the bias.

    ``encoder`` is a local Hugging Face folder, its digest that of ``folder_digest``.
    """

    encoder: Asset
    head: Asset
    settings: EncoderSettings

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """Rate; all documents go on. Raises ``UserError`` where encoder or head are not those of the recipe."""
        head = read_head(self.head.path, self.head.digest)
        vectors = embed(batch.column("text").to_pylist(), self.encoder, self.settings)
        if vectors.shape[1] + 1 != len(head):
            raise UserError(
                f"{self.head.path}: {len(head) - 1} weights for an encoder of {vectors.shape[1]} dimensions; fit again"
            )
        return Outcome(batch, signals={self.name: pa.array(vectors @ head[:-1] + head[-1])})


@lru_cache(maxsize=2)
def read_head(path: str, digest: str) -> np.ndarray:
    """Return the weights of a head whose file has ``digest``: float64."""
    same_file(path, digest)
    return np.asarray(np.load(path, allow_pickle=False))


def folder_digest(folder: Path) -> str:
    """Return the digest of a model's folder: names and content of its files. Raises ``UserError`` where it is none."""
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder}: no encoder there (no config.json); name a local Hugging Face folder")
    found = [(path.name, file_digest(path)) for path in sorted(folder.iterdir()) if path.is_file()]
    return xxhash.xxh3_128_hexdigest(orjson.dumps(found))


@lru_cache(maxsize=1)
def open_encoder(path: str, digest: str) -> tuple[Any, Any]:
    """Return tokenizer and model of a local folder. Downloads nothing and runs no code of the folder.

    Raises ``UserError`` where transformers is missing, or the folder is another or holds no encoder.
    """
    try:
        from safetensors import SafetensorError
        from transformers import AutoModel, AutoTokenizer
    except ImportError as error:
        raise UserError(f"{path}: an encoder needs transformers and torch: pip install 'tilth[hf,train]'") from error
    if folder_digest(Path(path)) != digest:
        raise UserError(f"{path}: the encoder was changed since the run began; run the same command again")
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        model = AutoModel.from_pretrained(
            path, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype="float32"
        )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise UserError(f"{path}: not an encoder ({' '.join(str(error).split())[:160]})") from error
    return tokenizer, model.eval()


def embed(texts: Sequence[str], encoder: Asset, settings: EncoderSettings) -> np.ndarray:
    """Return the embedding of every text, each encoded by itself on one thread: float64, texts x dimensions."""
    tokenizer, model = open_encoder(encoder.path, encoder.digest)
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums of floats depend on how many share them
    rows = []
    try:
        with torch.no_grad():
            for text in texts:
                given = tokenizer(text, truncation=True, max_length=settings.tokens, return_tensors="pt")
                states = model(**given).last_hidden_state[0]
                rows.append((states[0] if settings.pooling == "first" else states.mean(dim=0)).double().numpy())
    finally:
        torch.set_num_threads(threads)
    found = np.stack(rows) if rows else np.zeros((0, int(model.config.hidden_size)))
    if not np.isfinite(found).all():
        raise UserError(f"{encoder.path}: gives an embedding that is not finite; take another encoder")
    return found


def read_ratings(path: Path) -> tuple[list[str], np.ndarray]:
    """Return the texts and the ratings (float64) of a JSON lines file: ``text`` and ``score`` a line.

    Raises ``UserError``, with the line, for what is no such record, and where all ratings are equal.
    """
    texts: list[str] = []
    ratings: list[float] = []
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                record = orjson.loads(line)
                text, rating = record["text"], record["score"]
            except (orjson.JSONDecodeError, KeyError, TypeError) as error:
                raise UserError(f"{path}:{number}: expected an object with 'text' and 'score'; correct it") from error
            if not isinstance(text, str) or isinstance(rating, bool) or not isinstance(rating, int | float):
                raise UserError(f"{path}:{number}: expected a string as 'text' and a number as 'score'; correct it")
            texts.append(text)
            ratings.append(float(rating))
    if len(texts) < FEWEST or len(set(ratings)) < 2:
        raise UserError(
            f"{path}: found {len(texts)} examples with {len(set(ratings))} different ratings, expected at least "
            f"{FEWEST} and 2; rate more"
        )
    return texts, np.array(ratings)


def ridge(vectors: np.ndarray, ratings: np.ndarray, penalty: float) -> np.ndarray:
    """Return weights and bias (float64) that minimise squared error + ``penalty`` * examples * |weights|^2.

    ``vectors``: float64, examples x dimensions. The bias is not penalised.
    """
    centre, mean = vectors.mean(axis=0), ratings.mean()
    moved = vectors - centre
    gram = moved.T @ moved + penalty * len(ratings) * np.eye(vectors.shape[1])
    weights = np.linalg.solve(gram, moved.T @ (ratings - mean))
    return np.append(weights, mean - centre @ weights)


def fit_regression(
    folder: Path, examples: Path, encoder: Asset, settings: EncoderSettings, penalty: float, seed: int
) -> dict[str, Any]:
    """Write ``head.npy`` and ``report.json``: the head, and how well it rates a tenth of the examples, held out.

    A seeded hash of a text decides whether it is held out.
    """
    from scipy.stats import spearmanr

    texts, ratings = read_ratings(examples)
    order = np.argsort([xxhash.xxh3_64_intdigest(text.encode(), seed) for text in texts], kind="stable")
    vectors = embed(texts, encoder, settings)
    held, rest = order[: max(1, len(texts) // 10)], order[max(1, len(texts) // 10) :]
    head = ridge(vectors[rest], ratings[rest], penalty)
    guesses = vectors[held] @ head[:-1] + head[-1]
    varied = len(held) > 1 and np.ptp(guesses) > 0 and np.ptp(ratings[held]) > 0
    report = {
        "examples": len(rest),
        "held_out": len(held),
        "root_mean_squared_error": math.sqrt(float(np.mean((guesses - ratings[held]) ** 2))),
        "of_the_mean_alone": math.sqrt(float(np.mean((ratings[rest].mean() - ratings[held]) ** 2))),
        "spearman": float(spearmanr(guesses, ratings[held]).statistic) if varied else None,
    }
    with (folder / HEAD).open("wb") as stream:
        np.save(stream, head)
    write_atomically(folder / REPORT, orjson.dumps(report, option=orjson.OPT_INDENT_2))
    return report
