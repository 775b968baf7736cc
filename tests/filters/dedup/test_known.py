"""A new dump loses what an earlier run kept: by its texts, or by signatures alone where the earlier texts are gone."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from copies import changed, prose, similarity

from tilth.corpus.chain import Stored
from tilth.corpus.document import document_id
from tilth.corpus.errors import UserError
from tilth.corpus.stage import Asset, Stage
from tilth.corpus.store import DROPS, file_digest, part_name, read_arrow
from tilth.filters.dedup.known import (
    ESTIMATED,
    RULE,
    SHINGLES,
    FindKnown,
    RemoveKnown,
    known_digest,
    signature_stage,
    texts_at_hand,
    write_known,
    write_known_shingles,
)
from tilth.filters.dedup.repeated_lines import RepeatedLines
from tilth.filters.dedup.same_words import SameWords
from tilth.filters.dedup.signatures import WORDS_5, Shingling, Signatures
from tilth.filters.dedup.survivor import Preference

Run = Callable[..., Stored]


def drops(stored: Stored) -> dict[bytes, dict[str, object]]:
    return {
        row["id"]: row
        for part in range(stored.parts)
        for batch in read_arrow(stored.folder / DROPS / part_name(part), missing_is_empty=True)
        for row in batch.to_pylist()
    }


def remove(folder: Path, old: Stored) -> list[Callable[[Stored], Stage]]:
    """Return what makes the two stages; texts are compared where they are at hand."""
    end = signature_stage(old.stages(), Signatures("other name", "other.signal").describe())
    folder.mkdir(exist_ok=True)
    write_known(folder, [end], 14, 8, 32)
    index = Asset(str(folder), known_digest(folder))

    def drop(head: Stored) -> Stage:
        if not texts_at_hand([end]):
            return RemoveKnown("known", "n", index, 0.8)
        texts = folder / "texts"
        texts.mkdir()
        write_known_shingles(texts, head, "n", index, [end], WORDS_5)
        return RemoveKnown("known", "n", index, 0.8, Asset(str(texts / SHINGLES), file_digest(texts / SHINGLES)))

    return [lambda head: FindKnown("find", "n", "s", index), drop]


@pytest.mark.parametrize("at_hand", [True, False])
def test_a_new_dump_loses_what_the_old_one_kept(run_stages: Run, tmp_path: Path, at_hand: bool) -> None:
    words = [prose(number, 120) for number in range(40)]
    old_rows = [{"id": f"old{number}", "text": text, "date": "2020"} for number, text in enumerate(words)]
    old_rows.append({"id": "copy", "text": words[0], "date": "2019"})
    stages = [
        lambda head: Signatures("signatures", "old.s"),
        lambda head: SameWords("words", Preference()),
    ]
    old = run_stages({"old": old_rows}, stages, name="old")
    if not at_hand:
        for path in (tmp_path / "old/stages").glob("00-read-*/part-*.arrow"):
            path.unlink()
        shutil.rmtree(tmp_path / "old-input")
    make = remove(tmp_path / "index", old)
    new_rows = [
        {"id": f"same{number}", "text": changed(words[number], number, number % 4 // 2), "date": "2024"}
        for number in range(0, 40, 2)
    ]
    texts_of_new = {int(row["id"][4:]): row["text"] for row in new_rows}
    new_rows += [{"id": f"new{number}", "text": prose(1000 + number, 120), "date": "2024"} for number in range(20)]
    new_rows.append({"id": "empty", "text": "", "date": "2024"})
    new = run_stages({"new": new_rows}, [lambda head: Signatures("signatures", "s"), *make], name="new")
    gone = drops(new)
    assert set(gone) == {document_id("new", f"same{number}") for number in range(0, 40, 2)}
    for number in range(0, 40, 2):
        drop = gone[document_id("new", f"same{number}")]
        assert drop["rule"] == (RULE if at_hand else ESTIMATED)
        if at_hand:
            assert drop["value"] == pytest.approx(similarity(words[number], texts_of_new[number]))
        assert drop["other"] == document_id("old", f"old{number}")  # of the two equal ones the older went
        assert drop["value"] >= drop["limit"] == 0.8


def test_what_the_earlier_run_cut_later_is_still_known(run_stages: Run, tmp_path: Path) -> None:
    shared = prose(500, 90)
    rows = [{"id": str(number), "text": f"{prose(number, 30)}\n{shared}", "date": "2020"} for number in range(4)]
    cut = [lambda head: Signatures("signatures", "old.s"), lambda head: RepeatedLines("lines", "lines", 1)]
    old = run_stages({"old": rows}, cut, name="old")
    assert old.manifest.account.edits == {"repeated_lines": 3}
    new = run_stages({"new": rows}, [lambda head: Signatures("s", "s"), *remove(tmp_path / "index", old)], name="new")
    assert [drop["value"] for drop in drops(new).values()] == [1.0] * 4


def test_signatures_of_other_settings_are_refused(run_stages: Run) -> None:
    rows = [{"id": "a", "text": "some words", "date": "2020"}]
    old = run_stages({"old": rows}, [lambda head: Signatures("signatures", "s", Shingling("words", 3))], name="old")
    with pytest.raises(UserError, match="differ in 'shingling'"):
        signature_stage(old.stages(), Signatures("signatures", "s").describe())
    none = run_stages({"old": rows}, [], name="none")
    with pytest.raises(UserError, match="no signatures in this run"):
        signature_stage(none.stages(), Signatures("signatures", "s").describe())
