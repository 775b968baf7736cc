"""Megatron-core's own data sets over token shards: the same samples, bit for bit, as over ``.bin`` and ``.idx``.

For runs that must repeat Megatron's order; ours is ``tilth.tokenize.order``. Their indices are cached under the digest
of the tokens, since Megatron's cache asks only for a path and settings. Give ``BlendedMegatronDatasetBuilder`` one of
these classes and the folder of a token set as the path of a data set.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from megatron.core.datasets.bert_dataset import BERTMaskedWordPieceDataset, BERTMaskedWordPieceDatasetConfig
from megatron.core.datasets.gpt_dataset import GPTDataset, GPTDatasetConfig

from tilth.tokenize.sentences import sequences_of
from tilth.tokenize.token_set import TokenSet


class ArrowTokens:
    """What Megatron's data sets ask of an ``IndexedDataset``, answered from token shards without a copy."""

    def __init__(self, folder: Path | str, sentence_ends: Sequence[int] = (), *, keep_separator: bool = True) -> None:
        self._arguments = (str(folder), tuple(sentence_ends), keep_separator)
        token_set = TokenSet.open(folder)
        self.path_prefix = str(Path(folder) / "megatron" / token_set.digest)
        batches = [batch for shard in token_set.shards() for batch in shard.batches]
        # ids above 65,535 are int32 in Megatron's files, and none reaches 2**31
        dtype = np.int32 if token_set.dtype == np.uint32 else np.uint16
        self._tokens: list[np.ndarray] = [batch.tokens.view(dtype) for batch in batches]
        found = [sequences_of(batch, sentence_ends, keep_separator=keep_separator) for batch in batches]
        self._starts = np.concatenate([np.empty(0, np.int64), *(one.starts for one in found)])
        self._batches = np.repeat(np.arange(len(found), dtype=np.int32), [len(one.starts) for one in found])
        self.sequence_lengths = np.concatenate([np.empty(0, np.int32), *(one.lengths for one in found)])
        counts = np.concatenate([np.zeros(1, np.int64), *(one.of_document for one in found)])
        self.document_indices = np.cumsum(counts)

    def __reduce__(self) -> tuple[Any, ...]:
        """Send the folder: the other process maps the shards itself."""
        return _again, self._arguments

    def __len__(self) -> int:
        return len(self.sequence_lengths)

    def get(self, idx: int, offset: int = 0, length: int | None = None) -> np.ndarray:
        """Return ``length`` tokens of a sequence from ``offset`` on; by default all that follow."""
        start = int(self._starts[idx])
        end = start + int(self.sequence_lengths[idx]) if length is None else start + offset + int(length)
        found: np.ndarray = self._tokens[self._batches[idx]][start + offset : end]
        return found

    def __getitem__(self, idx: int) -> np.ndarray:
        return self.get(idx)


def _again(folder: str, sentence_ends: tuple[int, ...], keep_separator: bool) -> ArrowTokens:
    return ArrowTokens(folder, sentence_ends, keep_separator=keep_separator)


class ArrowGPTDataset(GPTDataset):
    """``GPTDataset`` over a token set."""

    @staticmethod
    def build_low_level_dataset(dataset_path: str, config: GPTDatasetConfig) -> Any:
        """Open the token set in the folder ``dataset_path``."""
        return ArrowTokens(dataset_path)


@dataclass
class ArrowBERTConfig(BERTMaskedWordPieceDatasetConfig):
    """``BERTMaskedWordPieceDatasetConfig`` with the ids after which sentences end; none: a document is a sentence."""

    sentence_ends: tuple[int, ...] = ()


class ArrowBERTDataset(BERTMaskedWordPieceDataset):
    """``BERTMaskedWordPieceDataset`` over a token set, whose separators it leaves out: it puts its own."""

    @staticmethod
    def build_low_level_dataset(dataset_path: str, config: ArrowBERTConfig) -> Any:
        """Open the token set in the folder ``dataset_path``."""
        return ArrowTokens(dataset_path, config.sentence_ends, keep_separator=False)
