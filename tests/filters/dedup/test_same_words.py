"""Exact deduplication by words: case, marks and spaces do not count; the declared best stays."""

from collections.abc import Callable

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilth.corpus.chain import Stored
from tilth.corpus.document import document_id
from tilth.corpus.store import DROPS, part_name, read_arrow
from tilth.filters.dedup.same_words import SameWords
from tilth.filters.dedup.survivor import Preference
from tilth.filters.dedup.units import units_of
from tilth.filters.texts import Texts

Run = Callable[..., Stored]


def drops(stored: Stored) -> dict[bytes, bytes]:
    return {
        row["id"]: row["other"]
        for part in range(stored.parts)
        for batch in read_arrow(stored.folder / DROPS / part_name(part), missing_is_empty=True)
        for row in batch.to_pylist()
    }


@pytest.mark.parametrize(("by", "workers", "part_bytes"), [("local", 1, 10**6), ("local", 2, 60), ("beam", 1, 200)])
def test_the_declared_best_of_the_same_words_stays(run_stages: Run, by: str, workers: int, part_bytes: int) -> None:
    web = [
        {"id": "loud", "text": "SOIL, and rain!", "date": "2024"},
        {"id": "new", "text": "only in  the web", "date": "2024"},
        {"id": "old", "text": "Only in the web.", "date": "2001"},
        {"id": "other", "text": "soil and rains", "date": "2024"},
        {"id": "marks", "text": "...", "date": "2024"},
        {"id": "more marks", "text": "!!!", "date": "2024"},
        {"id": "same marks", "text": "...", "date": "2023"},
    ]
    farm = [{"id": "domain", "text": "soil and rain", "date": "1950"}]
    stage = SameWords("words", Preference(("farm", "web"), ("source", "newest")))
    stored = run_stages({"web": web, "farm": farm}, [lambda head: stage], by=by, workers=workers, part_bytes=part_bytes)
    named = {name: document_id("web", name) for name in ("loud", "new", "old", "marks", "same marks")}
    assert drops(stored) == {
        named["loud"]: document_id("farm", "domain"),
        named["old"]: named["new"],
        named["same marks"]: named["marks"],
    }


@given(st.text(max_size=40))
def test_units_are_letters_digits_marks_and_underscores_of_the_text(text: str) -> None:
    units = units_of(Texts.of(pa.array([text])))
    data = text.encode()
    found = [data[start:end].decode() for start, end in zip(units.starts, units.ends, strict=True)]
    assert all(found)
    joined = "".join(found)
    assert [character for character in text if character.isalnum() and ord(character) < 0x40000] == [
        character for character in joined if character.isalnum()
    ]
    assert not any(character.isspace() or character in "!?.,;-/()" for character in joined)


def test_characters_of_scripts_without_spaces_are_words() -> None:
    units = units_of(Texts.of(pa.array(["土壌と雨 soil", "ดิน"])))
    assert (units.rows[1], units.rows[2] - units.rows[1]) == (5, 3)


@given(st.lists(st.text(max_size=30), max_size=6), st.sampled_from(["words", "characters"]))
def test_units_of_a_batch_are_those_of_its_texts(texts: list[str], kind: str) -> None:
    whole = units_of(Texts.of(pa.array(texts, pa.string())), kind)  # type: ignore[arg-type]
    for number, text in enumerate(texts):
        alone = units_of(Texts.of(pa.array([text])), kind)  # type: ignore[arg-type]
        assert whole.hashes[whole.rows[number] : whole.rows[number + 1]].tolist() == alone.hashes.tolist()
