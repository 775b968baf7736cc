"""A job as JSON: it comes back equal, and what does not fit is named."""

import dataclasses

import orjson
import pytest

from tilth.corpus.errors import UserError
from tilth.train.job import TrainConfig, TrainJob
from tilth.train.layout import Layout
from tilth.train.model import ModelConfig

JOB = TrainJob(
    ModelConfig(300, ffn_hidden_size=64, position="learned"),
    TrainConfig(steps=10, gradient_clipping=None, schedule="wsd", decay_steps=2),
    "tokens",
    Layout(2, 1, 2, sequence_parallel=True),
    seed=3,
    weights={"a": 0.25, "b": 0.75},
)


def test_a_job_comes_back_from_json_as_it_was() -> None:
    assert TrainJob.from_json(JOB.to_json()) == JOB


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("model", "depth"), 3, "model.depth: unknown field"),
        (("speed",), 3, "speed: unknown field"),
        (("optimisation", "steps"), "many", "optimisation.steps: found 'many'"),
        (("model", "position"), "alibi", "model.position: found 'alibi'"),
        (("layout", "tensor"), None, "layout.tensor: found None"),
    ],
)
def test_a_field_that_does_not_fit_is_named(path: tuple[str, ...], value: object, words: str) -> None:
    data = orjson.loads(JOB.to_json())
    place = data
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    with pytest.raises(UserError) as caught:
        TrainJob.from_json(orjson.dumps(data))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_field_is_named() -> None:
    data = orjson.loads(JOB.to_json())
    del data["model"]["vocabulary_size"]
    with pytest.raises(UserError, match=r"model\.vocabulary_size"):
        TrainJob.from_json(orjson.dumps(data))


def test_what_is_not_json_is_refused() -> None:
    with pytest.raises(UserError, match="not JSON"):
        TrainJob.from_json(b"{")


@pytest.mark.parametrize(
    ("changes", "layout", "words"),
    [
        ({"batch_size": 6}, Layout(data=4), "optimisation.batch_size: found 6"),
        ({"batch_size": 8, "micro_batch_size": 3}, Layout(data=2), "micro_batch_size x layout.data (3 x 2)"),
        ({"steps": 0}, Layout(), "optimisation.steps: found 0"),
        ({"warmup_steps": 11}, Layout(), "expected at least warmup_steps + decay_steps (11 + 0)"),
        ({"schedule": "wsd"}, Layout(), "optimisation.decay_steps: found 0"),
        ({"learning_rate": -1.0}, Layout(), "optimisation.learning_rate: found -1.0"),
        ({"learning_rate": float("nan")}, Layout(), "optimisation.learning_rate: found nan"),
        ({"gradient_clipping": 0.0}, Layout(), "optimisation.gradient_clipping: found 0.0"),
        ({"keep_last": 0}, Layout(), "optimisation.keep_last: found 0"),
    ],
)
def test_numbers_that_do_not_go_together_are_refused(changes: dict[str, object], layout: Layout, words: str) -> None:
    config = dataclasses.replace(TrainConfig(steps=10), **changes)  # type: ignore[arg-type]
    with pytest.raises(UserError) as caught:
        config.check(layout)
    assert words in str(caught.value)


def test_a_process_computes_its_whole_share_at_once_if_not_told_otherwise() -> None:
    assert TrainConfig(steps=1, batch_size=24).micro_batch(Layout(data=2)) == 12
    assert TrainConfig(steps=1, batch_size=24, micro_batch_size=4).micro_batch(Layout(data=2)) == 4
