"""What stands in an evaluation set is found, dropped or cut, and certified; what does not, stays."""

import gzip
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilth.corpus.document import document_id, documents
from tilth.corpus.errors import UserError
from tilth.corpus.ledger import Account
from tilth.corpus.stage import Asset, MapStage, Outcome
from tilth.filters.decontamination.benchmarks import Benchmark
from tilth.filters.decontamination.contamination import (
    Contamination,
    CutContaminated,
    DropContaminated,
    held,
    merged,
)
from tilth.filters.decontamination.ngrams import find_matches, index_digest, load_index, write_index
from tilth.filters.dedup.units import units_of
from tilth.filters.texts import Texts

WORDS = [f"{first}{second}{third}" for first in "bdfgklmnprst" for second in "aeiou" for third in "lmnrst"]


def prose(seed: int, words: int) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=words))


@pytest.fixture
def index(tmp_path: Path) -> Callable[..., Asset]:
    """A function that indexes examples, each a list of texts."""

    def build(examples: Sequence[Sequence[str]], n: int = 13, minimum: int = 5) -> Asset:
        path = tmp_path / "set.jsonl"
        path.write_text("".join(json.dumps({"texts": list(texts), "gold": 1}) + "\n" for texts in examples))
        folder = tmp_path / "index"
        folder.mkdir(exist_ok=True)
        write_index(folder, [Benchmark("set", str(path))], n, minimum)
        return Asset(str(folder), index_digest(folder))

    return build


def batch_of(texts: Sequence[str]) -> pa.RecordBatch:
    ids = [document_id("farm", str(number)) for number in range(len(texts))]
    return documents({"id": ids, "text": list(texts), "source": ["farm"] * len(texts)})


def judged(stage: MapStage, batch: pa.RecordBatch) -> Outcome:
    outcome = stage.apply(batch)
    account = Account()
    account.judge(batch, outcome, stage.effect)
    account.check("test", 0)
    return outcome


def measured(batch: pa.RecordBatch, asset: Asset) -> pa.RecordBatch:
    for name, column in judged(Contamination("matches", "c", asset), batch).signals.items():
        batch = batch.append_column(name, column)
    return batch


@given(st.data())
def test_shares_are_what_slow_python_counts(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    few = st.lists(st.sampled_from(["a", "b", "c"]), min_size=0, max_size=12).map(" ".join)
    examples = data.draw(st.lists(few.filter(bool), min_size=1, max_size=4))
    texts = data.draw(st.lists(few, min_size=1, max_size=4))
    n, minimum = 3, 2
    folder = tmp_path_factory.mktemp("index")
    (folder / "set.jsonl").write_text("".join(json.dumps([text]) + "\n" for text in examples))
    write_index(folder, [Benchmark("set", str(folder / "set.jsonl"))], n, minimum)
    found = load_index(str(folder), index_digest(folder))
    result = held(find_matches(found, units_of(Texts.of(pa.array(texts)))), found.ngrams)
    ours = {
        (int(document), int(found.example[passage])): float(share)
        for document, passage, share in zip(result.document, result.passage, result.share, strict=True)
    }
    slow = {}
    for place, text in enumerate(texts):
        for number, example in enumerate(examples):
            words = example.split()
            if len(words) < minimum:
                continue
            length = min(n, len(words))
            grams = {tuple(words[at : at + length]) for at in range(len(words) - length + 1)}
            own = text.split()
            there = {tuple(own[at : at + length]) for at in range(len(own) - length + 1)}
            if grams & there:
                slow[place, number] = len(grams & there) / len(grams)
    assert ours == slow


def test_an_example_is_found_whatever_its_case_marks_and_lines(index: Callable[..., Asset]) -> None:
    example = prose(1, 40)
    hidden = example.upper().replace(" ", ",\n", 7)
    batch = measured(batch_of([f"{prose(2, 50)}. {hidden}! {prose(3, 9)}", prose(4, 100)]), index([[example]]))
    assert batch.column("c.share").to_pylist() == [1.0, 0.0]


def test_a_contaminated_document_goes_and_says_for_which_example(index: Callable[..., Asset]) -> None:
    asset = index([[prose(9, 30)], [prose(1, 40), "yes"]])
    batch = measured(batch_of([f"{prose(2, 50)} {prose(1, 40)}", prose(4, 100)]), asset)
    outcome = judged(DropContaminated("clean", "c", asset, 0.1), batch)
    (drop,) = outcome.drops.to_pylist()
    assert (drop["rule"], drop["value"], drop["limit"], drop["detail"]) == ("contaminated", 1.0, 0.1, "set, example 1")


def test_one_common_phrase_is_a_near_miss_and_stays(index: Callable[..., Asset]) -> None:
    asset = index([[prose(1, 300)]])
    phrase = " ".join(prose(1, 300).split()[100:114])
    batch = measured(batch_of([f"{prose(2, 50)} {phrase} {prose(3, 50)}"]), asset)
    assert 0 < batch.column("c.share")[0].as_py() < 0.02
    assert judged(DropContaminated("clean", "c", asset, 0.1), batch).drops.num_rows == 0


def test_cutting_takes_the_example_and_leaves_the_rest(index: Callable[..., Asset]) -> None:
    example = prose(1, 40)
    asset = index([[example]])
    texts = [f"Before it. {example} After it.", example, prose(4, 30)]
    outcome = judged(CutContaminated("clean", "c", asset, 0.1), measured(batch_of(texts), asset))
    assert outcome.kept.column("text").to_pylist() == ["Before it.  After it.", prose(4, 30)]
    assert outcome.drops.num_rows == 1
    assert outcome.edits.column("original").to_pylist() == [example]


def test_short_texts_are_found_whole_and_shorter_ones_are_not_looked_for(index: Callable[..., Asset]) -> None:
    asset = index([["the moving tale of two rivers"], ["so good"]])
    texts = ["he called it the moving tale of two rivers .", "the moving tale of two hills", "it is so good"]
    assert measured(batch_of(texts), asset).column("c.share").to_pylist() == [1.0, 0.0, 0.0]


def test_an_ngram_that_two_examples_share_counts_for_both(index: Callable[..., Asset]) -> None:
    asset = index([[prose(1, 13)], [prose(1, 13)]])
    batch = measured(batch_of([prose(1, 13)]), asset)
    assert batch.column("c.passages").to_pylist() == [[0, 1]]


def test_spans_are_merged() -> None:
    assert merged([(5, 9), (0, 3), (3, 4), (6, 12)]) == [(0, 4), (5, 12)]


def test_fields_are_taken_by_name_and_a_missing_one_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a": {"b": ["one", "two"]}, "c": "three"}\n'))
    assert list(Benchmark("set", str(path)).examples()) == [["one", "two", "three"]]
    assert list(Benchmark("set", str(path), ("a.b",)).examples()) == [["one", "two"]]
    with pytest.raises(UserError, match=r"set\.jsonl\.gz:1: .*no field 'd'; found a, c"):
        list(Benchmark("set", str(path), ("d",)).examples())


def test_a_task_of_lm_eval_is_rendered_from_its_data_on_disk(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"story": "Once upon a time", "answers": ["no", "yes"], "label": 1}\n')
    task = tmp_path / "task.yaml"
    task.write_text(
        "task: tale\ndataset_path: json\ndataset_kwargs: {data_files: {test: rows.jsonl}}\n"
        'doc_to_text: "Story: {{story}}"\ndoc_to_target: "{{answers[label]}}"\n'
        "metric_list: [{metric: !function metrics.exact}]\n"
    )
    benchmark = Benchmark("tale", str(task))
    assert list(benchmark.examples()) == [["Story: Once upon a time", "yes"]]
    assert [path.name for path in benchmark.files()] == ["task.yaml", "rows.jsonl"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("doc_to_text: !function code.text", "code of a task is not run"),
        ('doc_to_text: "{{ story.__class__.__mro__ }}"', "a template failed"),
        ('doc_to_text: "{{ 1 / 0 }}"', "a template failed"),
        ('doc_to_text: "{{ story"', "expected a Jinja template"),
        ("dataset_path: squad", "save the evaluation set as JSON lines"),
        ("include: other.yaml", "write what it includes"),
    ],
)
def test_what_a_task_would_run_or_fetch_is_refused(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "rows.jsonl").write_text('{"story": "Once"}\n')
    whole = {"dataset_path": "json", "dataset_kwargs": "{data_files: rows.jsonl}", "doc_to_text": "story"}
    key, _, value = line.partition(": ")
    whole[key] = value
    (tmp_path / "task.yaml").write_text("".join(f"{name}: {given_value}\n" for name, given_value in whole.items()))
    with pytest.raises(UserError, match=message):
        list(Benchmark("x", str(tmp_path / "task.yaml")).examples())


def test_an_empty_or_damaged_benchmark_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(UserError, match="has no example"):
        write_index(tmp_path, [Benchmark("empty", str(tmp_path / "empty.jsonl"))], 13, 5)
    (tmp_path / "bad.jsonl").write_text('{"a": 1}\n{"a"\n')
    with pytest.raises(UserError, match=r"bad\.jsonl:2: not JSON"):
        write_index(tmp_path, [Benchmark("bad", str(tmp_path / "bad.jsonl"))], 13, 5)


def test_planted_examples_are_found_and_clean_text_raises_no_alarm(index: Callable[..., Asset]) -> None:
    chance = random.Random(5)
    examples = [[prose(number, chance.randrange(5, 120))] for number in range(300)]
    asset = index(examples)
    clean = [prose(10_000 + number, 300) for number in range(300)]
    planted = [f"{text[:400]} {example[0]} {text[400:]}" for text, example in zip(clean, examples, strict=True)]
    assert np.count_nonzero(measured(batch_of(clean), asset).column("c.share")) == 0
    shares = np.array(measured(batch_of(planted), asset).column("c.share").to_pylist())
    assert (shares == 1.0).all()
