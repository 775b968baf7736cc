"""Bits a byte of documents under a ladder of models: what predictive selection reads.

Every document is scored alone, long ones in windows with context (``tilth.eval.windows``). The published PreSelect code
joins documents and slides over the joints, so that a loss depends on its neighbour in the file. Models are Tilth's
checkpoints, or folders in Hugging Face's format where ``transformers`` is installed.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tilth.corpus.document import text_bytes
from tilth.corpus.errors import UserError
from tilth.eval.bits_per_byte import evaluate
from tilth.eval.windows import cut_windows

Progress = Callable[[int, int], None]
LONGEST = 2048  # tokens of a window, where a model allows more


@dataclass(frozen=True)
class Rung:
    """One model of a ladder: a checkpoint of Tilth's with its tokenizer, or a local Hugging Face folder."""

    name: str
    checkpoint: Path | None = None
    tokenizer: Path | None = None
    huggingface: Path | None = None

    def __post_init__(self) -> None:
        """Raise ``UserError`` unless exactly one kind of model is named."""
        tilth = self.checkpoint is not None and self.tokenizer is not None
        if tilth == (self.huggingface is not None):
            raise UserError(f"model '{self.name}': expected 'checkpoint' with 'tokenizer', or 'huggingface'; name one")


def ladder_losses(
    ladder: Sequence[Rung], documents: pa.Table, folder: Path, on_progress: Progress | None = None
) -> dict[str, np.ndarray]:
    """Return bits a byte (float64, one a document) of ``documents`` (``id``, ``text``, ``source``) under every model.

    Works in ``folder``, where what is done is found again. Empty documents are NaN. Raises ``UserError`` for a model
    that is missing or damaged, two models of one name, or a loss that is not finite.
    """
    names = [rung.name for rung in ladder]
    if len(set(names)) != len(names):
        raise UserError(f"ladder: two models have one name among {', '.join(names)}; rename one")
    found: dict[str, np.ndarray] = {}
    for tokenizer, checkpoints in by_tokenizer(ladder):
        result = evaluate(checkpoints, tokenizer, documents, folder / f"{len(found):02d}", on_progress=on_progress)
        bits = result.documents.column("bits").to_numpy().reshape(len(checkpoints), -1)
        sizes = result.documents.column("bytes").to_numpy()[: documents.num_rows]
        for row, name in enumerate(checkpoints):
            found[name] = per_byte(bits[row], sizes)
    for rung in ladder:
        if rung.huggingface is not None:
            found[rung.name] = huggingface_losses(rung.huggingface, documents, on_progress)
    sizes = np.asarray(text_bytes(documents.column("text").combine_chunks()))
    for name, values in found.items():
        if not np.isfinite(values[sizes > 0]).all():
            raise UserError(f"model '{name}': gave a loss that is not finite; its training diverged: leave it out")
    return {name: found[name] for name in names}


def by_tokenizer(ladder: Sequence[Rung]) -> Iterator[tuple[Path, Mapping[str, Path]]]:
    """Yield every tokenizer with its checkpoints by name, so that texts are encoded once for all of them."""
    groups: dict[Path, dict[str, Path]] = {}
    for rung in ladder:
        if rung.checkpoint is not None and rung.tokenizer is not None:
            groups.setdefault(rung.tokenizer, {})[rung.name] = rung.checkpoint
    yield from groups.items()


def per_byte(bits: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return bits over bytes; NaN where there is no byte."""
    return np.asarray(np.divide(bits, sizes, out=np.full(len(bits), math.nan), where=sizes > 0))


def huggingface_losses(path: Path, documents: pa.Table, on_progress: Progress | None = None) -> np.ndarray:
    """Return bits a byte of every document under a causal model in a local folder: float64.

    A document begins after the model's own beginning (or, where it has none, end) token. Nothing is downloaded and no
    code of the folder is run. Raises ``UserError`` where ``transformers`` is missing or the folder holds no such model.
    """
    try:
        import torch
        from safetensors import SafetensorError
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as error:
        raise UserError(
            f"{path}: a Hugging Face folder needs transformers and torch: pip install 'tilth[hf,train]'"
        ) from error
    if not path.is_dir():
        raise UserError(f"{path}: no such folder; download the model first")
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        model: Any = AutoModelForCausalLM.from_pretrained(
            path, local_files_only=True, trust_remote_code=False, use_safetensors=True
        )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise UserError(f"{path}: not a causal model ({' '.join(str(error).split())[:160]})") from error
    model.eval()
    first = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if first is None:
        raise UserError(f"{path}: its tokenizer has neither a beginning nor an end token; add one to its configuration")
    length = min(int(getattr(model.config, "max_position_embeddings", LONGEST)), LONGEST)
    texts = documents.column("text").to_pylist()
    nats = np.zeros(len(texts))
    for number, text in enumerate(texts):
        tokens = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        nats[number] = window_nats(model, torch, [first, *tokens], length)
        if on_progress is not None:
            on_progress(number + 1, len(texts))
    return per_byte(nats / math.log(2), np.asarray(text_bytes(documents.column("text").combine_chunks())))


def window_nats(model: Any, torch: Any, tokens: list[int], length: int) -> float:
    """Return the nats of all ``tokens`` but the first, in windows of at most ``length`` inputs."""
    total = 0.0
    windows = cut_windows(np.array([len(tokens) - 1]), length)
    rows = zip(windows.start.tolist(), windows.length.tolist(), windows.scored.tolist(), strict=True)
    with torch.no_grad():
        for start, size, scored in rows:
            piece = torch.tensor([tokens[start : start + size + 1]])
            logits = model(piece[:, :-1]).logits[0, size - scored :].double()
            losses = torch.nn.functional.cross_entropy(logits, piece[0, 1 + size - scored :], reduction="sum")
            total += float(losses)
    return total
