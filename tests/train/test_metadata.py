"""A checkpoint's metadata may describe tensors and do nothing else."""

import pickle
from pathlib import Path
from typing import Any

import pytest

from tilth.corpus.errors import UserError
from tilth.train.job import TrainConfig, TrainJob
from tilth.train.model import ModelConfig

pytest.importorskip("megatron.core")


class Harm:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    from tilth.train.cpu_backend import cuda_on_cpu
    from tilth.train.loop import write_seed

    model = ModelConfig(300, layers=2, hidden_size=32, heads=4, sequence_length=16)
    with cuda_on_cpu():
        return write_seed(TrainJob(model, TrainConfig(steps=1), "-"), tmp_path)


def test_our_own_metadata_are_read(saved: Path) -> None:
    from tilth.train.metadata import check_metadata

    check_metadata(saved)


def test_a_pickle_that_calls_anything_else_is_refused_before_it_runs(saved: Path) -> None:
    from tilth.train.metadata import FILE, check_metadata

    (saved / FILE).write_bytes(pickle.dumps(Harm(saved / "harm")))
    with pytest.raises(
        UserError, match=r"found .*, expected the places of tensors; the checkpoint is damaged or was not"
    ):
        check_metadata(saved)
    assert not (saved / "harm").exists()


def test_metadata_that_lead_to_unchecked_objects_are_refused(saved: Path) -> None:
    from torch.distributed.checkpoint.metadata import BytesStorageMetadata

    from tilth.train.metadata import FILE, check_metadata

    metadata = pickle.loads((saved / FILE).read_bytes())
    name = next(iter(metadata.state_dict_metadata))
    metadata.state_dict_metadata[name] = BytesStorageMetadata()
    (saved / FILE).write_bytes(pickle.dumps(metadata))
    with pytest.raises(UserError, match="BytesStorageMetadata"):
        check_metadata(saved)


@pytest.mark.parametrize("data", [b"", b"\x80\x04", b"nonsense", pickle.dumps({"a": 1})])
def test_what_is_no_metadata_is_refused(saved: Path, data: bytes) -> None:
    from tilth.train.metadata import FILE, check_metadata

    (saved / FILE).write_bytes(data)
    with pytest.raises(UserError, match="expected the places of tensors"):
        check_metadata(saved)


def test_cut_metadata_are_refused(saved: Path) -> None:
    from tilth.train.metadata import FILE, check_metadata

    whole = (saved / FILE).read_bytes()
    (saved / FILE).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="expected the places of tensors"):
        check_metadata(saved)
