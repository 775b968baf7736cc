"""A pass: the bytes of one stage after another, whatever was missing, and no stage sees more than it asked for."""

import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pytest
from example_chains import Recording, batch_of, bytes_below, run, write_corpus, write_parts
from example_stages import CountVowels, DropByVowels, DropShort, Misbehave, StripSpaces, edit, with_texts

from tilth.corpus.chain import neighbours
from tilth.corpus.document import DOCUMENT, EDIT
from tilth.corpus.errors import UserError
from tilth.corpus.ledger import LedgerError
from tilth.corpus.one_pass import Pass, Place, flow, what_is_read
from tilth.corpus.sources import Source
from tilth.corpus.stage import Effect, MapStage, Outcome, drop_rows
from tilth.corpus.store import ALWAYS_READ


@dataclass(frozen=True)
class CutAndDrop(MapStage):
    """Cut the last letter of every text, drop the texts that are empty, and hand the rest on backwards."""

    effect: ClassVar[Effect] = Effect.EDITS
    columns: ClassVar[tuple[str, ...]] = tuple(DOCUMENT.names)

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        mask = batch.column("bytes").to_numpy() == 0
        kept = batch.filter(pa.array(~mask)).take(pa.array(range(int((~mask).sum()) - 1, -1, -1)))
        ids, texts = kept.column("id").to_pylist(), kept.column("text").to_pylist()
        edits = [
            edit(identity, len(text) - 1, len(text), "", text[-1:], "cut")
            for identity, text in zip(ids, texts, strict=True)
        ]
        changed = with_texts(kept, [text[:-1] for text in texts])
        return Outcome(
            changed, drop_rows(batch, mask, self.name, "empty"), pa.RecordBatch.from_pylist(edits, schema=EDIT)
        )


@dataclass(frozen=True)
class Seen(MapStage):
    """Measure nothing, and keep in ``columns_seen`` what it was shown."""

    effect: ClassVar[Effect] = Effect.MEASURES
    columns: ClassVar[tuple[str, ...]] = ("url",)
    columns_seen: ClassVar[list[list[str]]] = []

    @property
    def needs(self) -> tuple[str, ...]:
        return ("vowels",)

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        self.columns_seen.append(batch.schema.names)
        return Outcome(batch)


STAGES: tuple[MapStage, ...] = (
    StripSpaces("strip"),
    CountVowels("vowels"),
    DropByVowels("few", 3),
    DropShort("short", 8),
    CutAndDrop("cut"),
    DropByVowels("fewer", 6),
    StripSpaces("again"),
)


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Source], dict[str, bytes]]:
    """A corpus, and the files of a run that applied one stage after another."""
    base = tmp_path_factory.mktemp("field")
    sources = write_corpus(base / "in")
    run(base / "run", base / "in", sources, STAGES)
    return base, sources, dict(bytes_below(base / "run/stages"))


def test_a_pass_stores_what_one_stage_after_another_stores(
    field: tuple[Path, list[Source], dict[str, bytes]], tmp_path: Path
) -> None:
    base, sources, expected = field
    recording = Recording()
    done = run(tmp_path, base / "in", sources, STAGES, recording, passes=True)
    assert bytes_below(tmp_path / "stages") == expected
    parts = done[0].parts
    assert parts > 5
    assert recording.names[parts:] == [f"strip to again part {part}" for part in range(parts)]
    assert done[-1].manifest.account.documents_dropped == 0
    assert all(stage.manifest.account.documents_out for stage in done)


@pytest.mark.parametrize("seed", range(6))
def test_what_is_missing_is_done_again_and_no_more(
    field: tuple[Path, list[Source], dict[str, bytes]], tmp_path: Path, seed: int
) -> None:
    base, sources, expected = field
    shutil.copytree(base / "run", tmp_path / "run")
    chance = random.Random(seed)
    folders = sorted(path for path in (tmp_path / "run/stages").iterdir() if not path.name.startswith("00-"))
    gone = set()
    for _ in range(5):
        folder, part = chance.choice(folders), chance.randrange(6)
        gone.add((folders.index(folder), part))
        (folder / f"receipts/part-{part:05d}.json").unlink(missing_ok=True)
        (folder / "_manifest.json").unlink(missing_ok=True)
    recording = Recording()
    run(tmp_path / "run", base / "in", sources, STAGES, recording, passes=True)
    assert bytes_below(tmp_path / "run/stages") == expected
    names = [stage.name for stage in STAGES]
    wanted = set()
    for part in range(6):
        for start, end in neighbours([(number, part) in gone for number in range(len(STAGES))]):
            name = names[start] if end - start == 1 else f"{names[start]} to {names[end - 1]}"
            wanted.add(f"{name} part {part}")
    assert set(recording.names) == wanted


def test_a_damaged_file_of_a_stage_in_the_middle_is_written_anew(
    field: tuple[Path, list[Source], dict[str, bytes]], tmp_path: Path
) -> None:
    base, sources, expected = field
    shutil.copytree(base / "run", tmp_path / "run")
    (path,) = (tmp_path / "run/stages").glob("*-vowels-*/signals/part-00001.arrow")
    path.write_bytes(path.read_bytes()[:-1])
    recording = Recording()
    run(tmp_path / "run", base / "in", sources, STAGES, recording, passes=True)
    assert recording.names == ["vowels part 1"]
    assert bytes_below(tmp_path / "run/stages") == expected


def test_nothing_of_a_part_is_committed_where_a_later_stage_fails(tmp_path: Path) -> None:
    sources = write_corpus(tmp_path / "in")
    stages = [StripSpaces("strip"), Misbehave("bad", "soil", "user-error"), CountVowels("vowels")]
    with pytest.raises(UserError, match="field 'text' is a number"):
        run(tmp_path / "run", tmp_path / "in", sources, stages, passes=True)
    assert not [name for name in bytes_below(tmp_path / "run/stages") if "-vowels-" in name]
    with pytest.raises(LedgerError, match=r"bad-.* part .*: a document was lost"):
        run(tmp_path / "other", tmp_path / "in", sources, [stages[0], Misbehave("bad", "soil", "lose")], passes=True)


def test_a_stage_is_shown_the_columns_and_signals_that_it_names_and_no_others() -> None:
    stages: Sequence[MapStage] = (CountVowels("vowels"), Seen("seen"), StripSpaces("strip"), Seen("seen again"))
    columns, needs = what_is_read(stages)
    assert needs == []
    assert set(columns) == set(DOCUMENT.names)
    Seen.columns_seen.clear()
    list(
        flow(stages, batch_of([" some", "words"]).select([*ALWAYS_READ, "text", "url", "date", "language", "metadata"]))
    )
    assert Seen.columns_seen == [[*ALWAYS_READ, "url", "vowels"]] * 2
    assert what_is_read(stages[1:])[1] == ["vowels"]


def test_signals_follow_their_documents_past_drops_and_edits(tmp_path: Path) -> None:
    texts = ["aaa", "", "bbb", "aebi", "", "u"]
    lineage = write_parts(tmp_path / "in", [[batch_of(texts[:4]), batch_of(texts[4:], first=4)]])
    stages = (CountVowels("vowels"), CutAndDrop("cut"), DropByVowels("few", 1))
    places = tuple(Place(tmp_path / str(number), "given") for number in range(3))
    Pass(stages, places, lineage, 0).run()
    after = lineage.after(places[0].folder, "measures", ["vowels"]).after(places[1].folder, "edits", [])
    left = [
        (text, vowels)
        for batch in after.after(places[2].folder, "drops", []).read(0, ["text"], ["vowels"])
        for text, vowels in zip(batch.column("text").to_pylist(), batch.column("vowels").to_pylist(), strict=True)
    ]
    assert left == [("aeb", 3), ("aa", 3), ("", 1)]


def test_neighbours_are_the_unbroken_runs() -> None:
    assert list(neighbours([])) == []
    assert list(neighbours([False, True, True, False, True])) == [(1, 3), (4, 5)]
    assert list(neighbours([True] * 3)) == [(0, 3)]
