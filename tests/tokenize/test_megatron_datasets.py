"""Our shards and .bin/.idx of them give Megatron-core's data sets the same samples, bit for bit."""

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tilth.tokenize import shards
from tilth.tokenize.megatron_files import export_megatron
from tilth.tokenize.settings import TokenizerSettings
from tilth.tokenize.token_set import TokenSet
from tilth.tokenize.tokenizer import Tokenizer
from tilth.tokenize.train_tokenizer import train_tokenizer

Prose = Callable[[int, int], list[str]]
torch = pytest.importorskip("torch")
pytest.importorskip("megatron.core")


class MegatronTokenizer:
    """What Megatron asks of a tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.vocab_size = tokenizer.vocabulary_size
        self.eod = tokenizer.separator
        self.pad = tokenizer.padding
        self.cls, self.sep, self.mask = (tokenizer.special.get(role) for role in ("class", "separator", "mask"))
        self.inv_vocab = {number: tokenizer.library.piece_of(number) for number in range(self.vocab_size)}
        self.unique_identifiers = {"digest": tokenizer.digest}


@pytest.fixture(scope="module")
def alone() -> Iterator[None]:
    """Make this process a group of one: Megatron's cached indices are written by rank 0."""
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def parts_of(prose: Prose) -> list[Any]:
    return [[("wiki", prose(1, 30)), ("law", ["", *prose(2, 10)])], [("wiki", prose(3, 20))]]


@pytest.mark.parametrize("resets", [True, False])
def test_gpt_samples_are_the_same(
    resets: bool,
    alone: None,
    make_token_set: Callable[..., TokenSet],
    prose: Prose,
    tokenizer: Tokenizer,
    tmp_path: Path,
) -> None:
    from megatron.core.datasets.gpt_dataset import GPTDataset, GPTDatasetConfig
    from megatron.core.datasets.utils import Split

    from tilth.tokenize.megatron_datasets import ArrowGPTDataset

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "BATCH_TOKENS", 500)
        make_token_set(tmp_path / "tokens", parts_of(prose))
    export_megatron(TokenSet.open(tmp_path / "tokens"), tmp_path / "text")
    config = GPTDatasetConfig(
        random_seed=5,
        sequence_length=48,
        blend=([str(tmp_path)], None),
        split="1",
        path_to_cache=None,
        tokenizer=MegatronTokenizer(tokenizer),
        reset_position_ids=resets,
        reset_attention_mask=resets,
        eod_mask_loss=resets,
    )
    samples = []
    for kind, path in ((GPTDataset, tmp_path / "text"), (ArrowGPTDataset, tmp_path / "tokens")):
        low = kind.build_low_level_dataset(str(path), config)
        low = pickle.loads(pickle.dumps(low))
        everything = np.arange(kind.numel_low_level_dataset(low), dtype=np.int32)
        samples.append(kind(low, str(path), everything, 300, Split.train, config))
    theirs, ours = samples
    assert len(theirs) == len(ours) >= 300
    for number in range(len(theirs)):
        for name, value in theirs[number].items():
            assert torch.equal(value, ours[number][name]), (number, name)


@pytest.mark.parametrize("pairs", [True, False])
def test_bert_samples_are_the_same(pairs: bool, alone: None, prose: Prose, tmp_path: Path) -> None:
    from megatron.core.datasets.bert_dataset import BERTMaskedWordPieceDataset, BERTMaskedWordPieceDatasetConfig
    from megatron.core.datasets.utils import Split

    from tilth.tokenize.megatron_datasets import ArrowBERTConfig, ArrowBERTDataset
    from tilth.tokenize.shards import tokenize_part
    from tilth.tokenize.token_set import write_manifest

    settings = TokenizerSettings(kind="wordpiece", vocabulary_size=400)
    texts = [text.replace("\n", ". ") for text in prose(1, 50)]
    tokenizer = train_tokenizer(texts, tmp_path / "tokenizer.json", settings)
    from tilth.corpus.document import document_id, documents

    ids = [document_id("wiki", str(number)) for number in range(len(texts))]
    batch = documents({"id": ids, "text": texts, "source": ["wiki"] * len(texts)})
    folder = tmp_path / "tokens"
    token_set = write_manifest(folder, tokenizer, [tokenize_part([batch], tokenizer.path, folder / "part.arrow")])
    ends = (tokenizer.id_of("."),)
    export_megatron(token_set, tmp_path / "text", ends, keep_separator=False)
    common: dict[str, Any] = {
        "random_seed": 5,
        "sequence_length": 64,
        "blend": ([str(tmp_path)], None),
        "split": "1",
        "tokenizer": MegatronTokenizer(tokenizer),
        "masking_probability": 0.15,
        "short_sequence_probability": 0.1,
        "masking_max_ngram": 3,
        "masking_do_full_word": True,
        "masking_do_permutation": False,
        "masking_use_longer_ngrams": False,
        "masking_use_geometric_distribution": False,
        "classification_head": pairs,
    }
    samples = []
    for kind, config, path in (
        (BERTMaskedWordPieceDataset, BERTMaskedWordPieceDatasetConfig(**common), tmp_path / "text"),
        (ArrowBERTDataset, ArrowBERTConfig(**common, sentence_ends=ends), folder),
    ):
        config.path_to_cache = str(tmp_path / "cache" / kind.__name__)
        low = kind.build_low_level_dataset(str(path), config)
        everything = np.arange(kind.numel_low_level_dataset(low), dtype=np.int32)
        samples.append(kind(low, str(path), everything, 200, Split.train, config))
    theirs, ours = samples
    assert len(theirs) == len(ours) >= 200
    for number in range(len(theirs)):
        for name, value in theirs[number].items():
            np.testing.assert_array_equal(value, ours[number][name])


def test_changed_tokens_get_other_cached_indices(
    make_token_set: Callable[..., TokenSet], prose: Prose, tmp_path: Path
) -> None:
    from tilth.tokenize.megatron_datasets import ArrowTokens

    prefixes = set()
    for seed in (1, 2):
        make_token_set(tmp_path / "tokens", [[("wiki", prose(seed, 4))]])
        prefixes.add(ArrowTokens(tmp_path / "tokens").path_prefix)
    assert len(prefixes) == 2
