"""Why: every document of a run can be found by the beginning of its id, and says what became of it."""

from pathlib import Path

import pytest
from example_chains import run, write_lines
from example_stages import CountVowels, DropByVowels, StripSpaces
from hypothesis import given
from hypothesis import strategies as st

from tilth.corpus.chain import Stored
from tilth.corpus.document import document_id
from tilth.corpus.errors import UserError
from tilth.corpus.sources import Source
from tilth.corpus.why import Story, why
from tilth.filters.dedup.survivor import Preference
from tilth.filters.exact import ExactDuplicates

LOAM, PLOUGH, SHH, WEB_LOAM, LATE = (
    document_id(*place)
    for place in (
        ("farm", "in/a.jsonl#0"),
        ("farm", "in/a.jsonl#22"),
        ("farm", "in/a.jsonl#43"),
        ("web", "in/web.jsonl#0"),
        ("farm", "in/b.jsonl#0"),
    )
)
BROKEN = document_id("farm", "in/a.jsonl#59")


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> list[Stored]:
    folder = tmp_path_factory.mktemp("why")
    write_lines(folder / "in/a.jsonl", ["loam loam", "  plough", "shh"])
    with (folder / "in/a.jsonl").open("a") as file:
        file.write("broken\n")
    write_lines(folder / "in/b.jsonl", [f"one of many {number}" for number in range(300)])
    write_lines(folder / "in/web.jsonl", ["loam loam"])
    sources = [
        Source("farm", ("in/a.jsonl", "in/b.jsonl"), allowance=0.5),
        Source("web", ("in/web.jsonl",)),
    ]
    stages = [
        StripSpaces("strip"),
        CountVowels("vowels"),
        DropByVowels("few", 1),
        ExactDuplicates("exact", Preference(("farm",))),
    ]
    return run(folder / "run", folder, sources, stages)


def verdicts(story: Story) -> list[tuple[str, str]]:
    return [(event.stage, event.verdict) for event in story.events]


def test_a_document_that_stayed_met_every_stage(chain: list[Stored]) -> None:
    story = why(chain, LOAM.hex())
    assert (story.id, story.source, story.text) == (LOAM.hex(), "farm", "loam loam")
    assert verdicts(story) == [(stage, "kept") for stage in ("read", "strip", "vowels", "few", "exact")]
    assert story.events[2].signals == {"vowels": 4}


def test_an_edited_document_shows_the_edit_and_the_text_before(chain: list[Stored]) -> None:
    story = why(chain, PLOUGH.hex())
    assert story.text == "  plough"
    strip = story.events[1]
    assert strip.verdict == "edited"
    assert strip.edits == [
        {"start": 0, "end": 2, "replacement": "", "original": "  ", "rule": "leading_spaces", "other": None}
    ]


def test_a_dropped_document_names_rule_and_value_and_met_nothing_after(chain: list[Stored]) -> None:
    story = why(chain, SHH.hex())
    assert verdicts(story)[-1] == ("few", "dropped")
    assert len(story.events) == 4
    assert story.events[-1].drop == {"rule": "vowels", "value": 0.0, "limit": None, "detail": None, "other": None}


def test_a_duplicate_names_the_survivor_and_the_survivor_is_there(chain: list[Stored]) -> None:
    story = why(chain, WEB_LOAM.hex())
    drop = story.events[-1].drop
    assert drop is not None
    assert (drop["rule"], drop["other"]) == ("exact_duplicate", LOAM.hex())
    assert why(chain, drop["other"]).events[-1].verdict == "kept"


def test_an_unreadable_record_names_file_place_and_reason_and_has_no_text(chain: list[Stored]) -> None:
    story = why(chain, BROKEN.hex())
    assert story.text is None
    assert verdicts(story) == [("read", "dropped")]
    drop = story.events[0].drop
    assert drop is not None
    assert drop["rule"] == "unreadable"
    assert drop["detail"].startswith("in/a.jsonl:59: is not valid JSON")


def test_documents_are_found_in_every_part(chain: list[Stored]) -> None:
    assert chain[0].parts > 4
    assert why(chain, LATE.hex()).text == "one of many 0"
    assert why(chain, LATE.hex()).part != why(chain, WEB_LOAM.hex()).part


# prefixes


def all_ids(chain: list[Stored]) -> list[str]:
    return [
        identity.hex()
        for part in range(chain[0].parts)
        for batch in chain[0].lineage.read(part)
        for identity in batch.column("id").to_pylist()
    ] + [BROKEN.hex()]


@given(number=st.integers(0, 304), digits=st.integers(0, 33), upper=st.booleans())
def test_a_prefix_finds_its_document_or_says_how_many_it_has(
    chain: list[Stored], number: int, digits: int, upper: bool
) -> None:
    ids = all_ids(chain)
    prefix = (ids[number] + "0")[:digits]
    fitting = [identity for identity in ids if identity.startswith(prefix)]
    asked = prefix.upper() if upper else prefix
    if 0 < digits <= 32 and len(fitting) == 1:
        assert why(chain, asked).id == ids[number]
        return
    with pytest.raises(UserError) as caught:
        why(chain, asked)
    message = str(caught.value)
    assert "\n" not in message
    if 0 < digits <= 32:
        assert f"{len(fitting)} documents begin so" in message
        assert sorted(fitting)[0] in message
    else:
        assert "expected up to 32 hex digits" in message


def test_a_prefix_that_no_document_has_is_one_line(chain: list[Stored]) -> None:
    taken = {identity[:4] for identity in all_ids(chain)}
    free = next(f"{number:04x}" for number in range(16**4) if f"{number:04x}" not in taken)
    for prefix in (free, free + "0"):
        with pytest.raises(UserError, match=f"^id '{prefix}': no document of this run begins so$"):
            why(chain, prefix)


@pytest.mark.parametrize("prefix", ["", "xyz", "0x1f", "1f ", "1 f", "é", "../", "1f\n"])
def test_what_is_no_hex_number_is_one_line(chain: list[Stored], prefix: str) -> None:
    with pytest.raises(UserError, match="expected up to 32 hex digits") as caught:
        why(chain, prefix)
    assert len(str(caught.value).splitlines()) == 1


def test_a_part_without_documents_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.jsonl").write_text("broken\n")
    write_lines(tmp_path / "in/b.jsonl", ["loam"])
    done = run(tmp_path / "run", tmp_path, [Source("farm", ("in/*.jsonl",), allowance=1.0)], [], part_bytes=10)
    assert why(done, document_id("farm", "in/b.jsonl#0").hex()).text == "loam"
    assert why(done, document_id("farm", "in/a.jsonl#0").hex()[:9]).text is None
