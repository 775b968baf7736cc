"""Words of selection in a recipe, from raw files to what is kept, and what the command line tells of it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tilth.corpus.document import document_id
from tilth.corpus.engines import engine
from tilth.corpus.errors import UserError
from tilth.recipe.load import load_recipe
from tilth.recipe.recipe import Recipe
from tilth.run import Run
from tilth.selecting import mixture_weights
from tilth.show import Silent

SMALL = {"dimension": 4, "buckets": 500, "epochs": 5}
MODELS = ("tiny", "small", "base", "large")


def texts(name: str) -> list[str]:
    words = {"law": "whereas the council shall amend section", "web": "click to buy cheap offers and win prizes"}[name]
    return [f"{words} {number} {' '.join(words.split()[: number % 6])}" for number in range(80)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two sources with ids and dates, and losses that tell models apart on one of them."""
    random = np.random.default_rng(0)
    rows: dict[str, list[Any]] = {"id": [], **{name: [] for name in MODELS}}
    for source in ("law", "web"):
        with (tmp_path / f"{source}.jsonl").open("w") as out:
            for number, text in enumerate(texts(source)):
                date = f"{2000 + number % 20}-05-01"
                out.write(json.dumps({"id": str(number), "text": text, "date": date}) + "\n")
                rows["id"].append(document_id(source, str(number)).hex())
                for place, name in enumerate(MODELS):
                    rows[name].append(2 - place / 10 if source == "law" else random.normal(2, 0.3))
    pq.write_table(pa.table(rows), tmp_path / "losses.parquet")
    return tmp_path


def ran(folder: Path, stages: list[dict[str, Any]], **more: Any) -> Run:
    sources = [{"name": name, "path": f"{name}.jsonl", "id": "id", "date": "date"} for name in ("law", "web")]
    recipe = {"name": "small", "seed": 1, "part_size": 8000, "sources": sources, "stages": stages, **more}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    run = Run(load_recipe(folder / "recipe.yaml"), folder, folder / "runs/small", engine("local", 1), Silent())
    run.execute(run.recipe.stages[-1].name)
    return run


PRESELECT = {
    "use": "preselect",
    "losses": "losses.parquet",
    "ability": {name: place / 10 for place, name in enumerate(MODELS)},
    "sample": "seeds",
    **SMALL,
}
SAMPLE = {"use": "sample", "name": "seeds", "documents": 30}


def kept(run: Run) -> dict[str, int]:
    return {name: documents for name, (documents, _) in run.head.manifest.account.kept.items()}


def test_preselect_keeps_what_tells_models_apart(folder: Path) -> None:
    run = ran(folder, [SAMPLE, PRESELECT, {"use": "select", "keep": 0.4}])
    found = kept(run)
    assert found["law"] > 3 * found.get("web", 0)
    again = ran(folder, [SAMPLE, PRESELECT, {"use": "select", "keep": 0.4}])
    assert all(stored.reused for stored in again.chain.done)
    assert again.head.manifest.account.set_digest == run.head.manifest.account.set_digest


def test_a_moved_share_scores_nothing_again(folder: Path) -> None:
    ran(folder, [SAMPLE, PRESELECT, {"use": "select", "keep": 0.4}])
    run = ran(folder, [SAMPLE, PRESELECT, {"use": "select", "keep": 0.3}])
    reused = {stored.manifest.name: stored.reused for stored in run.chain.done}
    assert reused == {"read": True, "seeds": True, "quality": True, "select-rank": True, "select": False}


def test_changed_losses_train_again(folder: Path) -> None:
    first = ran(folder, [SAMPLE, PRESELECT])
    table = pq.read_table(folder / "losses.parquet")
    turned = table.set_column(1, "tiny", pa.array(np.asarray(table.column("tiny")) + 1.0))
    pq.write_table(turned, folder / "losses.parquet")
    second = ran(folder, [SAMPLE, PRESELECT])
    assert first.head.manifest.fingerprint != second.head.manifest.fingerprint


def test_every_rival_stands_in_the_same_place(folder: Path) -> None:
    rivals: list[dict[str, Any]] = [
        {"use": "random"},
        {"use": "length"},
        {"use": "compression"},
        {"use": "dsir", "target": ["law"]},
        {"use": "perplexity", "reference": ["law"]},
        {"use": "score", "name": "dclm", "train": {"positive": ["law"], "negative": ["web"], **SMALL}},
    ]
    for rival in rivals:
        name = rival.get("name", rival["use"])
        counts = {}
        for part, inverse in (("highest", False), ("highest", True), ("lowest", False), ("middle", False)):
            step = {"use": "select", "by": name, "keep": 0.4, "part": part, "inverse": inverse}
            counts[part, inverse] = sum(kept(ran(folder, [rival, step])).values())
        assert counts["highest", False] + counts["highest", True] == 160
        assert all(0 < count < 160 for count in counts.values())


def test_a_score_may_read_the_beginning_or_paragraphs(folder: Path) -> None:
    step = {"use": "score", "name": "dclm", "train": {"positive": ["law"], "negative": ["web"], **SMALL}}
    prints = {
        ran(folder, [{**step, **more}]).head.manifest.fingerprint
        for more in ({}, {"first_bytes": 60}, {"paragraphs": True})
    }
    assert len(prints) == 3


def test_dates_and_sources_can_be_cut(folder: Path) -> None:
    assert kept(ran(folder, [{"use": "as-of", "until": "2009-12-31"}])) == {"law": 40, "web": 40}
    assert kept(ran(folder, [{"use": "leave-out", "sources": ["web"]}])) == {"law": 80}
    assert kept(ran(folder, [{"use": "leave-out", "sources": ["web"], "inverse": True}])) == {"web": 80}


def test_a_mixture_repeats_what_is_short_and_training_hears_of_it(folder: Path) -> None:
    step = {"use": "select", "by": "random", "bytes": 8000, "per": "source", "quotas": {"law": 0.9}, "epochs": 1.5}
    run = ran(folder, [{"use": "random"}, step])
    weights = mixture_weights(run.recipe, run.index.fitted, run.root)
    assert sum(weights.values()) == pytest.approx(1)
    assert weights["law"] > 0.85
    assert mixture_weights(ran(folder, [{"use": "random"}]).recipe, {}, run.root) == {}


def test_a_token_budget_is_bytes_by_your_tokenizer(folder: Path) -> None:
    step = {"use": "select", "by": "random", "tokens": 500, "bytes_per_token": 4.0}
    size = ran(folder, [{"use": "random"}, step]).head.manifest.account.bytes_out
    assert 1900 < size <= 2000


def test_a_token_budget_is_measured_where_the_tokenizer_is_given(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    letters = Tokenizer(models.BPE(vocab={c: n for n, c in enumerate([*alphabet, "<eos>"])}, merges=[]))
    letters.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    letters.save(str(folder / "tokenizer.json"))
    stages = [{"use": "random"}, {"use": "select", "by": "random", "tokens": 3000}]
    run = ran(folder, stages, tokenizer={"model": "tokenizer.json", "separator": "<eos>"})
    plan = json.loads((run.root / run.index.fitted["selections"]["select"] / "plan.json").read_text())
    whole = sum(len(text.encode()) for name in ("law", "web") for text in texts(name))
    assert plan["bytes_per_token"] == pytest.approx(whole / (whole + 160))  # a token a byte, and a separator each
    account = run.head.manifest.account
    assert 2800 < account.bytes_out + account.documents_out <= 3010


@pytest.mark.parametrize(
    ("stages", "complaint"),
    [
        ([{"use": "select", "by": "random", "keep": 0.5}], "no stage before this one measures"),
        ([{"use": "random"}, {"use": "select", "by": "random"}], "expected one of 'keep', 'bytes' and 'tokens'"),
        ([{"use": "random"}, {"use": "select", "by": "random", "tokens": 5}], "can't measure a budget"),
        ([{"use": "perplexity"}], "expected either 'reference' or 'kenlm'"),
        ([{"use": "random"}, {"use": "select", "by": "random", "keep": 0.5, "epochs": 2}], "needs 'per: source'"),
        ([{"use": "random"}, {"use": "select", "by": "random", "keep": 0.5, "per": "soil"}], "'soil'"),
        ([{"use": "leave-out", "sources": ["wbe"]}], "did you mean 'web'"),
        ([{**PRESELECT}], "no 'sample' stage before this one is called 'seeds'"),
        ([SAMPLE, {**PRESELECT, "losses": None}], "expected either 'losses' or 'models'"),
        ([SAMPLE, {**PRESELECT, "ability": {}}], "expected either 'ability' or 'target'"),
        ([SAMPLE, {**PRESELECT, "ability": {}, "target": ["law"]}], "'target' needs 'models'"),
        ([{"use": "random", "name": "text"}], "is a column of documents"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_runs(
    folder: Path, stages: list[dict[str, Any]], complaint: str
) -> None:
    with pytest.raises(UserError, match=complaint):
        ran(folder, stages)
    assert not (folder / "runs").exists()


def test_missing_files_are_named(folder: Path) -> None:
    with pytest.raises(UserError, match=r"losses .*gone\.parquet not found"):
        ran(folder, [SAMPLE, {**PRESELECT, "losses": "gone.parquet"}])
    with pytest.raises(UserError, match=r"model .*gone\.bin not found"):
        ran(folder, [{"use": "score", "model": "gone.bin"}])
    with pytest.raises(UserError, match="is neither a source"):
        ran(folder, [{"use": "dsir", "target": ["nowhere.jsonl"]}])
    with pytest.raises(UserError, match=r"kenlm .*gone\.arpa not found"):
        ran(folder, [{"use": "perplexity", "kenlm": "gone.arpa"}])
    with pytest.raises(UserError, match=r"examples .*gone\.jsonl not found"):
        ran(folder, [{"use": "regression", "encoder": "encoder", "examples": "gone.jsonl"}])
    with pytest.raises(UserError, match=r"no encoder there"):
        ran(folder, [{"use": "regression", "encoder": "gone", "examples": "law.jsonl"}])


def test_a_capsule_trained_in_one_run_scores_in_another(folder: Path) -> None:
    run = ran(folder, [SAMPLE, PRESELECT])
    capsule = str(run.root / run.index.scorers["quality"])
    other = ran(folder, [SAMPLE, {"use": "score", "name": "quality", "model": capsule}])
    one, two = (
        pa.concat_arrays(
            [b["quality"] for part in range(r.head.parts) for b in r.head.lineage.read(part, needs=["quality"])]
        )
        for r in (run, other)
    )
    assert one.equals(two)
    data = json.loads((Path(capsule) / "capsule.json").read_text())
    (Path(capsule) / "capsule.json").write_text(json.dumps(data | {"normaliser": "newlines-removed@1"}))
    with pytest.raises(UserError, match="trained with text normaliser 'newlines-removed@1'"):
        ran(folder, [SAMPLE, {"use": "score", "name": "other", "model": capsule}])


def told(folder: Path, *words: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tilth.cli", *words, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_command_line_tells_gains_and_compares(folder: Path) -> None:
    run = ran(
        folder, [{"use": "random"}, {"use": "dsir", "target": ["law"]}, {"use": "select", "by": "dsir", "keep": 0.5}]
    )
    (own,) = told(folder, "select", "small")["selections"]
    assert {row["source"]: row["kept_documents"] for row in own["sources"]} == {
        name: kept(run).get(name, 0) for name in ("law", "web")
    }
    asked = told(folder, "select", "small", "--by", "random", "--keep", "0.25", "--out", "ids.parquet")["selections"][0]
    table = pq.read_table(folder / "ids.parquet")
    assert table.num_rows == sum(row["kept_documents"] for row in asked["sources"])
    assert table.column("rank").to_pylist() == list(range(1, table.num_rows + 1))
    compared = told(folder, "compare-selections", "small", "random", "dsir", "--keep", "0.3")
    assert compared["agreements"][0]["by_chance"] == pytest.approx(0.3**2 / (0.6 - 0.3**2), abs=0.02)
    assert 'id="selections"' in (run.root / "report.html").read_text()
    command = [sys.executable, "-m", "tilth.cli", "select", "small", "--keep", "0.1"]
    refused = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert refused.returncode == 1 and "name one with --by" in refused.stderr


def test_the_schema_knows_every_step() -> None:
    schema = json.dumps(Recipe.model_json_schema())
    for word in ("preselect", "dsir", "perplexity", "as-of", "leave-out", "sample", "compression"):
        assert f'"{word}"' in schema


def test_the_recipe_of_the_page_is_one() -> None:
    page = (Path(__file__).parents[1] / "docs" / "selection.md").read_text(encoding="utf-8")
    (block,) = [text.partition("```")[0] for text in page.split("```yaml\n")[1:]]
    recipe = Recipe.model_validate(yaml.safe_load(block))
    assert [step.use for step in recipe.stages] == ["hold-out", "sample", "preselect", "dsir", "random", "select"]
