"""What a recipe says about training becomes the job it means, or one clear line."""

import json
from pathlib import Path
from typing import Any

import pytest

from tilth.corpus.errors import UserError
from tilth.models import in_layout
from tilth.recipe.recipe import Recipe
from tilth.train.job import Phase
from tilth.train.layout import Layout
from tilth.train.model import ModelConfig
from tilth.train.presets import PRESETS, shape
from tilth.training import check_training, deciding, train_job

SOURCES = [{"name": "a", "path": "a.jsonl"}]


def recipe(train: dict[str, Any], **more: Any) -> Recipe:
    return Recipe.model_validate({"name": "r", "sources": SOURCES, "tokenizer": {}, "train": train} | more)


def job(train: dict[str, Any]) -> Any:
    wanted = recipe(train).train
    assert wanted is not None
    return train_job(wanted, 0, 8192, Path("tokens"), tokenizer=Path("tokenizer"), held_out=Path("held-out"))


def test_tokens_become_steps_that_bring_them_all() -> None:
    found = job(
        {
            "model": {"sequence_length": 100},
            "optimisation": {"tokens": 10_001, "batch_size": 10, "warmup_tokens": 2_000, "evaluate_tokens": 2_500},
        }
    ).optimisation
    assert (found.steps, found.warmup_steps, found.evaluate_every) == (11, 2, 3)


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine", "wsd"])
def test_every_schedule_and_the_guard_can_be_asked_for_in_a_recipe(schedule: str) -> None:
    asked = {"schedule": schedule, "decay_steps": 5, "skip_above": 6, "most_skips": 3, "tensorboard": True}
    found = job({"optimisation": asked}).optimisation
    assert {name: getattr(found, name) for name in asked} == asked


def test_phases_may_be_counted_in_either() -> None:
    phases = [{"tokens": 3_000, "to": 0.1}, {"steps": 5, "to": 0.0, "shape": "root"}]
    found = job({"model": {"sequence_length": 100}, "optimisation": {"batch_size": 10, "phases": phases}}).optimisation
    assert found.phases == (Phase(3, 0.1), Phase(5, 0.0, "root"))
    assert found.warmup_steps == 0


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_a_model_that_fits_one_process(name: str) -> None:
    ModelConfig(50_257, **shape({"preset": name})).check(Layout())


@pytest.mark.parametrize(("name", "millions"), [("gpt2-124m", 124.4), ("gpt2-355m", 354.8), ("gpt2-774m", 774.0)])
def test_presets_of_gpt2_have_its_parameters(name: str, millions: float) -> None:
    # 124,439,808 and so on: Hugging Face's figures for the published weights, whose vocabulary has no padding
    model = ModelConfig(50_257, **PRESETS[name])
    padding = (model.padded_vocabulary_size - model.vocabulary_size) * model.hidden_size
    assert (model.parameters - padding) / 1e6 == pytest.approx(millions, abs=0.05)


def test_what_is_given_wins_over_a_preset() -> None:
    found = job({"model": {"preset": "bert-mini", "sequence_length": 128}}).model
    assert (found.kind, found.layers, found.hidden_size, found.sequence_length) == ("bert", 4, 256, 128)


def test_a_bert_has_berts_layer_and_a_gpt_llamas() -> None:
    bert, gpt = job({"model": {"kind": "bert"}}).model, job({}).model
    assert (bert.position, bert.normalization, bert.activation, bert.bias) == ("learned", "LayerNorm", "gelu", True)
    assert (gpt.position, gpt.normalization, gpt.activation, gpt.bias) == ("rope", "RMSNorm", "swiglu", False)


@pytest.mark.parametrize(
    ("train", "words"),
    [
        ({"model": {"preset": "bert-mni"}}, "model.preset: 'bert-mni' is not known; did you mean 'bert-mini'?"),
        ({"model": {"preset": "bert-mini", "kind": "gpt"}}, "model.kind: found gpt, expected bert"),
        ({"model": {"heads": 4, "query_groups": 3}}, "model.heads: found 4, expected a multiple of model.query_groups"),
        (
            {"model": {"heads": 4, "query_groups": 2}, "layout": {"tensor": 4}},
            "model.query_groups: found 2, expected a multiple of layout.tensor (4)",
        ),
        ({"layout": {"pipeline": 5}}, "model.layers: found 4, expected a multiple of layout.pipeline (5)"),
        ({"layout": {"pipeline": 2, "virtual": 2}}, "optimisation.micro_batch_size: found 16, which makes 1 rounds"),
        ({"layout": {"virtual": 2}}, "layout.virtual: found 2 with layout.pipeline 1, expected 1"),
        (
            {"layout": {"pipeline": 4, "virtual": 2}},
            "model.layers: found 4, expected a multiple of layout.pipeline x layout.virtual (8)",
        ),
        ({"optimisation": {"batch_size": 6}, "layout": {"data": 4}}, "optimisation.batch_size: found 6"),
        ({"model": {"sentence_order": True}}, "model.sentence_order: found true with kind gpt"),
        (
            {"model": {"kind": "bert", "sentence_order": True}, "objective": {"document_mask": True}},
            "objective.document_mask: found true with model.sentence_order",
        ),
        ({"packing": "segments"}, "packing: found 'segments' with model.kind gpt, expected bert; use cut or whole"),
        ({"packing": "whole", "model": {"kind": "bert"}}, "packing: found 'whole' with model.kind bert, expected gpt"),
        ({"pairs": "next"}, "pairs: found 'next', which needs model.sentence_order and packing: segments"),
        ({"objective": {"masked": 0.8, "replaced": 0.3}}, "objective.masked: found 0.8 and objective.replaced 0.3"),
        (
            {"optimisation": {"warmup_steps": 5, "phases": [{"steps": 5, "to": 0.1}]}},
            "optimisation.warmup_steps: found a warm-up beside phases",
        ),
    ],
)
def test_what_cannot_be_is_one_line_that_names_it(train: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as caught:
        job(train)
    assert str(caught.value).startswith("train.")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bert_needs_a_mask_and_a_look_at_what_is_held_out_needs_a_stage() -> None:
    bert = {"model": {"kind": "bert"}}
    with pytest.raises(UserError, match=r"tokenizer\.special: found \[\], expected a mask token"):
        check_training(recipe(bert))
    check_training(recipe(bert, tokenizer={"kind": "wordpiece"}))
    check_training(recipe(bert, tokenizer={"special": ["<|mask|>"]}))
    with pytest.raises(UserError, match=r"tokenizer\.special: found .*, expected a class token"):
        check_training(recipe(bert | {"packing": "segments"}, tokenizer={"special": ["<|mask|>"]}))
    looking = {"optimisation": {"evaluate_tokens": 1_000_000}}
    with pytest.raises(UserError, match="nothing is held out; add a stage"):
        check_training(recipe(looking))
    check_training(recipe(looking, stages=[{"use": "hold-out"}]))


def test_the_layout_and_the_places_of_files_do_not_decide_a_model() -> None:
    assert deciding(job({"layout": {"tensor": 2}}), "digest") == deciding(job({}), "digest")
    assert deciding(job({"model": {"layers": 8}}), "digest") != deciding(job({}), "digest")


def test_a_layout_on_the_command_line_wins_over_the_recipes() -> None:
    found = in_layout(recipe({"layout": {"tensor": 2, "data": 2}}), {"tensor": 4, "data": None}).train
    assert found is not None
    assert (found.layout.tensor, found.layout.data) == (4, 2)
    with pytest.raises(UserError, match="it has no 'train'"):
        in_layout(Recipe.model_validate({"name": "r", "sources": SOURCES}), {})


@pytest.mark.slow
def test_a_bert_goes_the_whole_way_and_its_model_out_and_in_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("megatron.core")
    from tilth import cli

    texts = [f"Field {n % 9}: the {n % 7} rows of {['rye', 'oats'][n % 2]} were sown on day {n}.\n" for n in range(300)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    shape = {"kind": "bert", "layers": 2, "hidden_size": 32, "heads": 2, "sequence_length": 32, "sentence_order": True}
    wanted = {
        "name": "r",
        "sources": SOURCES,
        "stages": [{"use": "hold-out", "fraction": 0.1}],
        "tokenizer": {"vocabulary": 300, "special": ["<|class|>", "<|mask|>"]},
        "train": {
            "model": shape,
            "objective": {"proposals": "words"},
            "optimisation": {"steps": 30, "batch_size": 8, "learning_rate": 0.01, "evaluate_tokens": 2048},
        },
        "evaluate": {},
    }
    (tmp_path / "r.yaml").write_text(json.dumps(wanted))
    monkeypatch.chdir(tmp_path)

    def tilth(*arguments: str) -> Any:
        capsys.readouterr()
        monkeypatch.setattr("sys.argv", ["tilth", *arguments, "--json"])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capsys.readouterr()
        assert ended.value.code == 0, told.err
        return json.loads(told.out)

    found = tilth("run", "r.yaml")
    assert found["bits_per_byte"]["after"]["all"] < found["bits_per_byte"]["before"]["all"] - 1
    assert found["accuracy"]["after"] > found["accuracy"]["before"] + 0.05
    assert tilth("train", "r.yaml", "--tp", "2")["reused"]["train"]  # the same run in another layout
    assert tilth("export-model", "r", "--out", "out")["architecture"] == "MegatronBertForPreTraining"
    brought = tilth("import-model", "out", "--out", "start")
    assert brought["vocabulary"] == 300
    wanted["train"] |= {"model": brought["model"], "start": brought["start"]}  # type: ignore[operator]
    wanted["train"]["optimisation"] |= {"steps": 2, "warmup_steps": 0}  # type: ignore[index]
    (tmp_path / "r.yaml").write_text(json.dumps(wanted))
    again = tilth("run", "r.yaml")
    before, after = again["bits_per_byte"]["before"]["all"], found["bits_per_byte"]["after"]["all"]
    assert before == pytest.approx(after, rel=1e-5)
