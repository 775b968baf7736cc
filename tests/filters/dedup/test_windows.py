"""Repeated lines and passages: all but the first are cut, what is cut stands once, and slow Python says the same."""

import random
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pytest
from copies import Record, prose
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.corpus.chain import Stored
from tilth.corpus.document import document_id, documents
from tilth.corpus.ledger import Account
from tilth.corpus.stage import Effect, GroupStage, Outcome
from tilth.filters.dedup.passages import Anchors, RepeatedPassages, winnow
from tilth.filters.dedup.repeated_lines import RepeatedLines, line_units
from tilth.filters.dedup.survivor import Preference
from tilth.filters.edits import Edit, restore
from tilth.filters.texts import Texts

Run = Callable[..., Stored]


def batch_of(texts: Sequence[str]) -> pa.RecordBatch:
    ids = [document_id("farm", str(number)) for number in range(len(texts))]
    return documents({"id": ids, "text": list(texts), "source": ["farm"] * len(texts)})


def through(stage: GroupStage, batch: pa.RecordBatch) -> Outcome:
    """Run a group stage over one batch, and hold its outcome to the ledger's law."""
    keyed = stage.keys(batch)
    rows = pa.Table.from_batches([keyed.append_column("home", pa.array(np.zeros(keyed.num_rows, np.int32)))])
    rows = rows.sort_by([(name, "ascending") for name in rows.column_names]).combine_chunks()
    outcome = stage.apply(batch, stage.reduce(rows).sort_by([("id", "ascending"), ("start", "ascending")]))
    account = Account()
    account.judge(batch, outcome, stage.effect)
    account.check("test", 0)
    return outcome


def lines_of(text: str) -> list[str]:
    """Return the lines of a text as they are compared, the slow way."""
    return [" ".join(line.lower().split()) for line in text.splitlines() if line.strip()]


def passages(texts: Sequence[str], n: int) -> Outcome:
    batch = batch_of(texts)
    anchors = Anchors("anchors", "a", n)
    signals = through(anchors, batch).signals
    return through(RepeatedPassages("passages", "a", n), batch.append_column("a", signals["a"]))


LINE = st.sampled_from(["a b", "A  b", "c", "d e f", "", "  g", "}", "h i"])


@given(st.lists(st.lists(LINE, max_size=8).map("\n".join), min_size=1, max_size=5), st.integers(1, 3))
def test_all_but_one_of_a_repeated_run_of_lines_go(texts: list[str], n: int) -> None:
    batch = batch_of(texts)
    outcome = through(RepeatedLines("lines", "lines", n, 0), batch)
    left = {row["id"]: row["text"] for row in outcome.kept.to_pylist()}
    before = {row["id"]: lines_of(row["text"]) for row in batch.to_pylist()}
    after = {identity: lines_of(text) for identity, text in left.items()}
    runs = defaultdict(int)
    for own in before.values():
        for place in range(len(own) - n + 1):
            runs[tuple(own[place : place + n])] += 1
    held = {tuple(own[place : place + n]) for own in after.values() for place in range(len(own) - n + 1)}
    # every run that there was, repeated or not, is still there unless a part of it stands in a run that went
    assert all(run in held for run, times in runs.items() if times > 1)
    gone = sum(map(len, before.values())) - sum(map(len, after.values()))
    assert (gone > 0) <= any(times > 1 for times in runs.values())
    if n == 1:
        assert all(sum(own.count(run[0]) for own in after.values()) == 1 for run in runs)


def test_edits_of_lines_restore_the_text() -> None:
    texts = ["one two\n\n  three four\nfive", "zero\n  three four\nfive\nsix", "three four\nfive"]
    batch = batch_of(texts)
    outcome = through(RepeatedLines("lines", "lines", 2, 0), batch)
    edits = defaultdict(list)
    for row in outcome.edits.to_pylist():
        edits[row["id"]].append(Edit(row["start"], row["end"], row["replacement"], row["original"], row["rule"]))
    assert edits
    before = {row["id"]: row["text"] for row in batch.to_pylist()}
    for row in outcome.kept.to_pylist():
        assert restore(row["text"].encode(), edits[row["id"]]).decode() == before[row["id"]]


def test_every_edit_names_the_document_that_keeps_what_it_cuts() -> None:
    # by length the second stays whole, then the third; the first loses a run to each of them, side by side
    texts = ["a one\nb two\nc three\nd four\nx", "a one\nb two" + "\nlong" * 9, "c three\nd four" + "\nlonger" * 4]
    batch = batch_of(texts)
    outcome = through(RepeatedLines("lines", "lines", 2, 0, Preference((), ("longest",))), batch)
    ids = batch.column("id").to_pylist()
    left = {row["id"]: lines_of(row["text"]) for row in outcome.kept.to_pylist()}
    mine = [row for row in outcome.edits.to_pylist() if row["id"] == ids[0]]
    assert [(row["original"], ids.index(row["other"])) for row in mine] == [
        ("a one\nb two\n", 1),
        ("c three\nd four\n", 2),
    ]
    for row in outcome.edits.to_pylist():
        assert set(lines_of(row["original"])) <= set(left[row["other"]])


def test_a_document_of_repeated_lines_only_is_dropped_with_the_share_that_stood_elsewhere() -> None:
    outcome = through(RepeatedLines("lines", "lines", 1, 0), batch_of(["same line\n", "same line\n"]))
    assert outcome.drops.column("rule").to_pylist() == ["repeated_lines"]
    assert outcome.drops.column("value").to_pylist() == [1.0]
    assert outcome.drops.column("other").to_pylist() == outcome.kept.column("id").to_pylist()
    assert outcome.kept.column("text").to_pylist() == ["same line\n"]


def test_short_runs_of_lines_are_no_duplicates() -> None:
    texts = ["}\n}\n}\nfirst of all", "}\n}\n}\nsecond of all"]
    outcome = through(RepeatedLines("lines", "lines", 3, 4), batch_of(texts))
    assert outcome.kept.column("text").to_pylist() == texts


def test_paragraphs_are_lines_without_a_blank_one_between() -> None:
    texts = Texts.of(pa.array(["one\ntwo\n\n \nthree\n", "\n\n", "four"]))
    hashes, words, spans = line_units(texts, "paragraphs")
    assert np.diff(spans.rows).tolist() == [2, 0, 1]
    assert words.tolist() == [2, 1, 1]
    assert spans.starts.tolist() == [0, 11, 19]
    assert hashes[0] == line_units(Texts.of(pa.array(["ONE two"])), "lines")[0][0]


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.integers(8, 20), st.integers(2, 4))
def test_no_passage_of_n_words_stands_twice_and_nothing_else_goes(seed: int, n: int, count: int) -> None:
    chance = random.Random(seed)
    shared = [prose(seed + number, chance.randrange(n - 3, 3 * n)) for number in range(2)]
    texts = []
    for number in range(count):
        pieces = [prose(seed + 100 * number + piece, chance.randrange(0, 15)) for piece in range(4)]
        pieces[chance.randrange(4)] += " " + chance.choice(shared)
        texts.append(" ".join(pieces).strip())
    outcome = passages(texts, n)
    left = [text.split() for text in outcome.kept.column("text").to_pylist()]
    before = [text.split() for text in texts]

    def windows(every: list[list[str]]) -> dict[tuple[str, ...], int]:
        found: dict[tuple[str, ...], int] = defaultdict(int)
        for words in every:
            for place in range(len(words) - n + 1):
                found[tuple(words[place : place + n])] += 1
        return found

    first, last = windows(before), windows(left)
    twice = [window for window, times in first.items() if times > 1]
    assert all(last[window] >= 1 for window in twice)
    lost = sum(map(len, before)) - sum(map(len, left))
    assert (lost > 0) == bool(twice)


def test_a_passage_is_found_in_texts_that_share_nothing_else_wherever_it_stands() -> None:
    passage = prose(1, 50)
    texts = [f"{prose(2, 30)} {passage}", f"{passage} {prose(3, 7)}", f"{prose(4, 3)} {passage} {prose(5, 90)}"]
    outcome = passages(texts, 50)
    left = outcome.kept.column("text").to_pylist()
    assert sum(passage in text for text in left) == 1
    assert passages([text.replace(passage, " ".join(passage.split()[:-1])) for text in texts], 50).edits.num_rows == 0


@given(st.lists(st.integers(0, 5), max_size=40), st.integers(1, 8))
def test_winnowing_picks_the_least_of_every_window(values: list[int], window: int) -> None:
    hashes = np.array(values, np.uint64)
    expected = set()
    for place in range(len(values) - window + 1):
        least = min(values[place : place + window])
        expected.add(max(at for at in range(place, place + window) if values[at] == least))
    assert winnow(hashes, np.array([0, len(values)]), window).tolist() == sorted(expected)


@pytest.mark.parametrize(("by", "workers", "part_bytes"), [("local", 2, 400), ("beam", 1, 900)])
def test_engines_and_parts_cut_the_same(run_stages: Run, by: str, workers: int, part_bytes: int) -> None:
    shared = [prose(number, 25) for number in range(4)]
    chance = random.Random(3)
    rows: list[Record] = []
    for number in range(24):
        text = "\n".join(
            [prose(100 + number, 20), chance.choice(shared), prose(200 + number, 5), chance.choice(shared)]
        )
        rows.append({"id": str(number), "text": text, "date": f"20{number:02d}"})
    stages = [
        lambda head: RepeatedLines("lines", "lines", 1, 5),
        lambda head: Anchors("anchors", "a", 20),
        lambda head: RepeatedPassages("passages", "a", 20),
    ]
    plain = run_stages({"web": rows}, stages, name="plain", part_bytes=10**6)
    other = run_stages({"web": rows}, stages, name="other", by=by, workers=workers, part_bytes=part_bytes)
    assert plain.manifest.account.set_digest == other.manifest.account.set_digest
    assert plain.manifest.effect == Effect.EDITS
    assert plain.upstream is not None
    assert plain.upstream.upstream is not None
    assert plain.upstream.upstream.manifest.account.edits["repeated_lines"] >= 20
