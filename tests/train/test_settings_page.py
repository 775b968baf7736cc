"""The page about training names every setting."""

import dataclasses
from pathlib import Path

import pytest

from tilth.train.job import TrainConfig, TrainJob
from tilth.train.layout import Layout
from tilth.train.model import ModelConfig

PAGE = Path(__file__).parents[2] / "docs" / "training.md"


@pytest.mark.parametrize("kind", [ModelConfig, TrainConfig, TrainJob, Layout])
def test_every_setting_is_on_the_page(kind: type) -> None:
    page = PAGE.read_text()
    missing = [
        field.name for field in dataclasses.fields(kind) if field.name.replace("_", " ") not in page.replace("_", " ")
    ]
    assert missing == []
