"""Scores, samples and selections on every engine: one result, byte for byte; and what is asked of a finished run."""

import json
from pathlib import Path

import numpy as np
import pytest

from tilth.corpus.chain import Chain, Stored
from tilth.corpus.engines import engine
from tilth.corpus.errors import UserError
from tilth.corpus.sources import Source, find_files, input_digests
from tilth.corpus.splits import plan_parts
from tilth.corpus.stage import Asset, Stage
from tilth.corpus.store import file_digest
from tilth.filters.fasttext_capsule import open_capsule
from tilth.filters.score import Score
from tilth.selection.bands import byte_budget, choose_bands, read_pool
from tilth.selection.compare import beginnings_of, compare_selections, read_comparison, write_comparison
from tilth.selection.fit import Examples, fit_byte_model, fit_importance, fit_scorer
from tilth.selection.keep_bands import Grouping, KeepBands
from tilth.selection.rank import Rank, write_ranking
from tilth.selection.rivals import BitsPerByte, ImportanceWeight, RandomDraw, Size
from tilth.selection.sample import Sample, sample_limits, sampled_documents
from tilth.selection.scorer import ScorerSettings

WORDS = ["soil", "root", "seed", "rain", "worm", "field", "plough", "harvest", "fallow", "loam"]


def asset(path: Path) -> Asset:
    return Asset(str(path), file_digest(path))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    random = np.random.default_rng(0)
    for name, count in (("farm", 60), ("web", 90)):
        with (folder / f"{name}.jsonl").open("w") as out:
            for number in range(count):
                words = random.choice(WORDS[:6] if name == "farm" else WORDS[3:], 1 + number % 23)
                text = " ".join([*words, "great deal" if name == "web" else "crop", str(number)])
                out.write(json.dumps({"text": text, "date": f"{2000 + number % 20}"}) + "\n")
    return folder


def chain(corpus: Path, root: Path, which: tuple[str, int]) -> list[Stored]:
    """Read, sample, score in every way, rank and keep."""
    sources = {name: Source(name, (f"{name}.jsonl",), date="date") for name in ("farm", "web")}
    files = [file for source in sources.values() for file in find_files(source, corpus)]
    done = Chain(root, engine(*which))
    digests = {name: input_digests([f for f in files if f.source == name], root / "in.json") for name in sources}
    head = done.read(sources, plan_parts(files, 1500), digests)
    sample = head = done.apply(Sample("sample", sample_limits(head, 8, None, 1), 1), head)
    fitted = root / "fitted"
    fitted.mkdir(parents=True, exist_ok=True)
    farm, web = Examples(("farm",), ()), Examples(("web",), ())
    fit_scorer(fitted, head, farm, web, ScorerSettings(dim=4, bucket=200))
    fit_importance(fitted, head, farm)
    fit_byte_model(fitted, head, farm, 4, 10_000)
    stages: list[Stage] = [
        Score.of("quality", open_capsule(fitted, "")),
        RandomDraw("random", 2),
        Size("length", "length"),
        ImportanceWeight("dsir", asset(fitted / "ratio.npy"), 3),
        BitsPerByte("perplexity", asset(fitted / "model.npz")),
    ]
    for stage in stages:
        head = done.apply(stage, head)
    everything = read_pool(head, "quality", Grouping())
    write_ranking(fitted / "ranking.npy", everything.scores, everything.ids)
    head = done.apply(Rank("rank", "quality", asset(fitted / "ranking.npy")), head)
    pool = read_pool(head, "quality", Grouping("source"))
    chosen = choose_bands(pool, byte_budget(pool.bytes, 0.5, None), "highest", {"farm": 0.7})
    done.apply(KeepBands("select", "quality", Grouping("source"), chosen.bands), head)
    assert sampled_documents(sample).num_rows == 16
    return done.done


@pytest.fixture(scope="module")
def expected(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Stored]:
    return chain(corpus, tmp_path_factory.mktemp("expected"), ("local", 1))


@pytest.mark.parametrize("which", [("local", 2), ("beam", 1)])
def test_every_engine_gives_equal_digests(
    corpus: Path, expected: list[Stored], tmp_path: Path, which: tuple[str, int]
) -> None:
    if which[0] == "beam":
        pytest.importorskip("apache_beam", reason="the extra 'beam' is not installed")
    found = chain(corpus, tmp_path, which)
    for one, other in zip(found, expected, strict=True):
        assert one.manifest.account.set_digest == other.manifest.account.set_digest
        assert [r.files for r in one.manifest.receipts] == [r.files for r in other.manifest.receipts]


def test_the_sample_and_the_pool_are_disjoint(expected: list[Stored]) -> None:
    sampled = set(sampled_documents(expected[1]).column("id").to_pylist())
    pool = {
        name
        for part in range(expected[2].parts)
        for b in expected[2].lineage.read(part)
        for name in b["id"].to_pylist()
    }
    assert len(sampled) == 16
    assert not sampled & pool


def test_a_quota_shapes_what_is_kept(expected: list[Stored]) -> None:
    account = expected[-1].manifest.account
    farm, web = (account.kept[name][1] for name in ("farm", "web"))
    before = expected[-2].manifest.account.bytes_out
    assert farm + web <= before / 2
    assert 0.6 < farm / (farm + web) < 0.8


def test_a_comparison_counts_what_is_shared(expected: list[Stored], tmp_path: Path) -> None:
    head = expected[-2]
    found = compare_selections(head, ["quality", "random", "perplexity"], 0.3, {"perplexity": "lowest"})
    assert [each.name for each in found.methods] == ["quality", "random", "perplexity"]
    for each in found.methods:
        assert each.bytes <= 0.3 * found.pool.bytes
        assert sum(row.kept_bytes for row in each.sources) == each.bytes
    assert found.pool.years is not None and 2000 <= found.pool.years[1] <= 2020
    pair = next(each for each in found.agreements if (each.first, each.second) == ("quality", "perplexity"))
    assert pair.shared > next(each for each in found.agreements if each.second == "random").shared
    assert pair.spearman > 0.5  # both like the farm, and low perplexity is preferred
    examples = beginnings_of(head, [name for each in found.agreements for name in each.only_first])
    write_comparison(tmp_path / "comparison.json", found, examples)
    assert read_comparison(tmp_path / "comparison.json") == (found, examples)
    (tmp_path / "comparison.json").write_text("{}")
    with pytest.raises(UserError, match="not a comparison"):
        read_comparison(tmp_path / "comparison.json")


def test_a_selection_agrees_with_itself_wholly(expected: list[Stored]) -> None:
    found = compare_selections(expected[-2], ["quality", "length"], 1.0, {})
    assert found.agreements[0].shared == found.agreements[0].by_chance == 1.0


@pytest.mark.parametrize(
    ("signals", "keep", "complaint"),
    [
        (["quality"], 0.5, "expected two different ones"),
        (["quality", "qualty"], 0.5, "signal 'qualty' was not measured"),
        (["quality", "random"], 0.0, "keep: found 0.0"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    expected: list[Stored], signals: list[str], keep: float, complaint: str
) -> None:
    with pytest.raises(UserError, match=complaint):
        compare_selections(expected[-2], signals, keep, {})
