"""A grown vocabulary: old rows stay, new ones begin by a rule."""

import dataclasses
from pathlib import Path

import pytest

from tilth.corpus.errors import UserError
from tilth.train import checkpoint
from tilth.train.job import TrainConfig, TrainJob
from tilth.train.model import ModelConfig

torch = pytest.importorskip("torch")
pytest.importorskip("megatron.core")

MODEL = ModelConfig(126, layers=1, hidden_size=16, heads=2, sequence_length=8)
PIECES = ((3, 5), (7,), ())


@pytest.mark.parametrize("method", ["pieces", "mean", "random"])
def test_old_rows_stay_and_new_ones_begin_by_the_rule(method: str, tmp_path: Path) -> None:
    from tilth.train.build import build_model
    from tilth.train.cpu_backend import cuda_on_cpu
    from tilth.train.layout import Layout, alone
    from tilth.train.loop import write_seed
    from tilth.train.state import load_state

    def embedding(source: Path, model: ModelConfig) -> "torch.Tensor":
        with alone(), torch.no_grad():
            built = build_model(model, Layout())
            load_state(source, [built], None)
            return built.embedding.word_embeddings.weight.detach().clone()

    grown = dataclasses.replace(MODEL, vocabulary_size=129)  # one more than the padding had room for
    for name in ("old", "new", "again"):
        (tmp_path / name).mkdir()
    with cuda_on_cpu():
        start = write_seed(TrainJob(MODEL, TrainConfig(steps=1), "-", seed=1), tmp_path / "old")
        job = TrainJob(grown, TrainConfig(steps=1), "-", start=str(start), pieces=PIECES, growth=method)  # type: ignore[arg-type]
        source = write_seed(job, tmp_path / "new")
        before, after = embedding(start, MODEL), embedding(source, grown)
        again = embedding(write_seed(job, tmp_path / "again"), grown)
    assert torch.equal(after, again)
    assert torch.equal(after[:126], before[:126])
    if method == "pieces":
        torch.testing.assert_close(after[126], before[[3, 5]].mean(dim=0))
        assert torch.equal(after[127], before[7])
    elif method == "mean":
        torch.testing.assert_close(after[126:129], before[:126].mean(dim=0).expand(3, -1))
    else:
        assert not torch.allclose(after[126], before[[3, 5]].mean(dim=0))
    identity = checkpoint.read_checkpoint(source).identity
    assert (identity["growth"], identity["pieces"]) == (method, 3)


def test_growth_that_is_not_known_is_refused(tmp_path: Path) -> None:
    from tilth.train.cpu_backend import cuda_on_cpu
    from tilth.train.loop import write_seed

    with cuda_on_cpu():
        start = write_seed(TrainJob(MODEL, TrainConfig(steps=1), "-"), tmp_path)
        grown = dataclasses.replace(MODEL, vocabulary_size=130)
        with pytest.raises(UserError, match=r"model\.vocabulary_size: found 126, expected 130"):
            write_seed(TrainJob(grown, TrainConfig(steps=1), "-", start=str(start), pieces=PIECES), tmp_path / "new")
