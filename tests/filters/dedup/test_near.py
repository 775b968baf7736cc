"""Near-deduplication as a whole: what goes, for whom, and that order, parts, workers and engines do not matter."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from copies import Record, changed, prose, similarity
from hypothesis import given
from hypothesis import strategies as st

from tilth.corpus.chain import Stored
from tilth.corpus.document import document_id
from tilth.corpus.errors import UserError
from tilth.corpus.stage import Asset, Stage
from tilth.corpus.store import DROPS, file_digest, part_name, read_arrow
from tilth.filters.dedup.bands import catch_probability
from tilth.filters.dedup.candidates import GROUP, Candidates
from tilth.filters.dedup.clusters import REMOVALS, find_clusters, largest, read_pairs, stars
from tilth.filters.dedup.compare import CompareShingles, CompareSignatures, jaccard
from tilth.filters.dedup.quality import read_again, recall, share
from tilth.filters.dedup.remove import RemoveDuplicates
from tilth.filters.dedup.shingles import shingles_of
from tilth.filters.dedup.signatures import WORDS_5, Signatures
from tilth.filters.dedup.survivor import Preference
from tilth.filters.dedup.units import units_of
from tilth.filters.texts import Texts

Run = Callable[..., Stored]
Make = Callable[[Stored], Stage]


def near(
    folder: Path,
    threshold: float = 0.8,
    preference: Preference | None = None,
    *,
    verify: str = "jaccard",
    bands: int = 14,
    rows: int = 8,
) -> list[Make]:
    """Return the five stages of near-deduplication."""
    order = preference or Preference(("good", "web"))
    compared = verify != "none"

    def remove(head: Stored) -> RemoveDuplicates:
        folder.mkdir(parents=True, exist_ok=True)
        find_clusters(folder, head, read_pairs(head, "n", threshold, compared=compared), order)
        path = folder / REMOVALS
        return RemoveDuplicates("near", Asset(str(path), file_digest(path)), threshold)

    make: list[Make] = [
        lambda head: Signatures("signatures", "n.signature"),
        lambda head: Candidates("candidates", "n", "n.signature", order, bands, rows),
    ]
    if verify in ("jaccard", "containment"):
        make.append(lambda head: CompareShingles("compare", "n", WORDS_5, verify))  # type: ignore[arg-type]
    elif compared:
        make.append(lambda head: CompareSignatures("compare", "n", "n.signature"))
    return [*make, remove]


def drops(stored: Stored) -> dict[bytes, dict[str, object]]:
    """Return the drops of a stage by id."""
    return {
        row["id"]: row
        for part in range(stored.parts)
        for batch in read_arrow(stored.folder / DROPS / part_name(part), missing_is_empty=True)
        for row in batch.to_pylist()
    }


def texts(stored: Stored) -> dict[bytes, str]:
    """Return the documents that enter a stage: id -> text."""
    return {
        row["id"]: row["text"]
        for part in range(stored.parts)
        for batch in stored.entering.read(part, ["text"])
        for row in batch.to_pylist()
    }


def corpus(seed: int, families: int = 25) -> dict[str, list[Record]]:
    """Return families of copies with changes, in two sources, shuffled; and texts that are like nothing."""
    chance = random.Random(seed)
    rows: list[tuple[str, str]] = []
    for family in range(families):
        text = prose(seed * 1000 + family, chance.randrange(30, 200))
        rows.append((chance.choice(("good", "web")), text))
        for copy in range(chance.randrange(0, 4)):
            rows.append((chance.choice(("good", "web")), changed(text, copy, chance.randrange(0, 12))))
    rows += [("web", ""), ("web", "short one"), ("good", "Short, one!"), ("web", "...")]
    chance.shuffle(rows)
    out: dict[str, list[Record]] = {"good": [], "web": []}
    for number, (source, text) in enumerate(rows):
        out[source].append({"id": str(number), "text": text, "date": f"20{number % 24:02d}"})
    return out


def test_pairs_that_need_more_memory_than_allowed_are_refused_with_a_reason(run_stages: Run, tmp_path: Path) -> None:
    stored = run_stages(corpus(1, 20), near(tmp_path / "clusters"))
    assert len(read_pairs(stored.upstream, "n", 0.8, memory=100_000)) > 5  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"near pairs needs more than .* GB in one process; raise 'memory'"):
        read_pairs(stored.upstream, "n", 0.8, memory=1000)  # type: ignore[arg-type]


def test_every_removal_names_a_survivor_and_their_true_similarity(run_stages: Run, tmp_path: Path) -> None:
    stored = run_stages(corpus(1, 60), near(tmp_path / "clusters"))
    gone, entered = drops(stored), texts(stored)
    assert len(gone) > 10
    for identity, drop in gone.items():
        assert drop["other"] not in gone
        assert drop["value"] == pytest.approx(similarity(entered[identity], entered[drop["other"]]))
        assert drop["value"] >= drop["limit"] == 0.8
        assert drop["rule"] == "near_duplicate"


def test_short_documents_are_compared_and_never_lost(run_stages: Run, tmp_path: Path) -> None:
    stored = run_stages(corpus(2), near(tmp_path / "clusters"))
    gone = [texts(stored)[identity] for identity in drops(stored)]
    assert gone.count("short one") == 1  # "Short, one!" of the better source says the same
    assert "" not in gone
    assert "..." not in gone
    account = stored.manifest.account
    assert account.documents_in == account.documents_out + account.documents_dropped


def test_domain_text_never_goes_for_a_web_copy(run_stages: Run, tmp_path: Path) -> None:
    stored = run_stages(corpus(3, 60), near(tmp_path / "clusters"))
    sources = {
        row["id"]: row["source"]
        for part in range(stored.parts)
        for batch in stored.entering.read(part)
        for row in batch.to_pylist()
    }
    fates = {(drop["source"], sources[drop["other"]]) for drop in drops(stored).values()}
    assert ("web", "good") in fates
    assert ("good", "web") not in fates


@pytest.mark.parametrize(("by", "workers", "part_bytes"), [("local", 1, 10**6), ("local", 2, 700), ("beam", 1, 4000)])
def test_parts_workers_and_engines_remove_the_same(
    run_stages: Run, tmp_path: Path, by: str, workers: int, part_bytes: int
) -> None:
    records = corpus(4)
    plain = run_stages(records, near(tmp_path / "plain"), name="plain")
    backwards = {source: rows[::-1] for source, rows in records.items()}
    other = run_stages(backwards, near(tmp_path / "other"), name="other", by=by, workers=workers, part_bytes=part_bytes)
    assert drops(plain) == drops(other)
    assert plain.manifest.account.set_digest == other.manifest.account.set_digest
    assert (tmp_path / "plain" / REMOVALS).read_bytes() == (tmp_path / "other" / REMOVALS).read_bytes()


def test_deduplicating_again_removes_nothing(run_stages: Run, tmp_path: Path) -> None:
    records = corpus(5, 60)
    gone = drops(run_stages(records, near(tmp_path / "once"), name="once"))
    assert len(gone) > 15
    left = {
        source: [row for row in rows if document_id(source, row["id"]) not in gone] for source, rows in records.items()
    }
    assert drops(run_stages(left, near(tmp_path / "again"), name="again")) == {}


def test_a_new_source_resurrects_nobody_without_a_reason(run_stages: Run, tmp_path: Path) -> None:
    records = corpus(6, 40)
    before = drops(run_stages({"good": records["good"]}, near(tmp_path / "before"), name="before"))
    stored = run_stages(records, near(tmp_path / "after"), name="after")
    after, entered = drops(stored), texts(stored)
    back = [identity for identity in before if identity not in after]
    # who comes back does so because the one it went for went itself, for a document that it is not like
    for identity in back:
        assert before[identity]["other"] in after
        assert similarity(entered[identity], entered[after[before[identity]["other"]]["other"]]) < 0.8


def test_a_chain_of_likenesses_does_not_take_what_is_unlike_its_end(run_stages: Run, tmp_path: Path) -> None:
    words = prose(9, 400).split()
    rows = [  # each document shares nine tenths with the next, the first and the last share nothing
        {"id": str(step), "text": " ".join(words[step * 12 : step * 12 + 240]), "date": "2020"} for step in range(14)
    ]
    stored = run_stages({"web": rows}, near(tmp_path / "clusters"))
    (cluster,) = largest(tmp_path / "clusters", 5)
    assert cluster.size == 14
    assert cluster.size - cluster.removed >= 3
    entered = texts(stored)
    for identity, drop in drops(stored).items():
        assert similarity(entered[identity], entered[drop["other"]]) >= 0.8


def test_a_page_with_a_thousand_copies_costs_pairs_in_proportion(run_stages: Run, tmp_path: Path) -> None:
    text = prose(3, 60)
    rows = [{"id": str(number), "text": text, "date": "2020"} for number in range(3 * GROUP + 5)]
    stored = run_stages({"web": rows}, near(tmp_path / "clusters"), part_bytes=100_000)
    assert len(drops(stored)) == len(rows) - 1
    assert len({drop["other"] for drop in drops(stored).values()}) == 1
    pairs = read_pairs(stored.upstream, "n")  # type: ignore[arg-type]
    assert len(pairs) == sum(min(place, 8) for place in range(len(rows)))


def test_without_duplicates_nobody_goes(run_stages: Run, tmp_path: Path) -> None:
    rows = [{"id": str(number), "text": prose(number, 50), "date": "2020"} for number in range(30)]
    stored = run_stages({"web": rows}, near(tmp_path / "clusters"))
    assert stored.manifest.account.documents_out == 30
    assert list(largest(tmp_path / "clusters", 3)) == []


def test_containment_takes_an_excerpt_and_keeps_the_whole(run_stages: Run, tmp_path: Path) -> None:
    whole = prose(1, 200)
    excerpt = " ".join(whole.split()[:150])
    rows = [{"id": "excerpt", "text": excerpt, "date": "2020"}, {"id": "whole", "text": whole, "date": "2020"}]
    by_jaccard = run_stages({"web": rows}, near(tmp_path / "a", bands=56, rows=2), name="a")
    assert len(drops(by_jaccard)) == 0
    stored = run_stages({"web": rows}, near(tmp_path / "b", verify="containment", bands=56, rows=2), name="b")
    assert [texts(stored)[identity] for identity in drops(stored)] == [excerpt]
    assert [drop["value"] for drop in drops(stored).values()] == [1.0]


@pytest.mark.parametrize("verify", ["signature", "none"])
def test_comparison_can_be_left_to_signatures_or_out(run_stages: Run, tmp_path: Path, verify: str) -> None:
    text = prose(1, 200)
    rows = [{"id": str(number), "text": changed(text, number, number), "date": "2020"} for number in range(3)]
    stored = run_stages({"web": rows}, near(tmp_path / "clusters", verify=verify))
    values = [drop["value"] for drop in drops(stored).values()]
    assert len(values) == 2
    assert all(value is None if verify == "none" else value >= 0.8 for value in values)


def test_bands_that_need_more_hashes_than_were_measured_are_refused(run_stages: Run, tmp_path: Path) -> None:
    rows = [{"id": "a", "text": "some words", "date": "2020"}]
    with pytest.raises(UserError, match="120 hashes"):
        run_stages({"web": rows}, near(tmp_path / "clusters", bands=15))


@given(st.integers(1, 12), st.data())
def test_stars_leave_no_verified_pair_among_survivors_and_take_nobody_without_one(
    documents: int, data: st.DataObject
) -> None:
    every = [(later, earlier) for later in range(documents) for earlier in range(later)]
    pairs = data.draw(st.lists(st.sampled_from(every), unique=True)) if every else []
    later, earlier = (np.array([pair[side] for pair in pairs], np.int64) for side in (0, 1))
    values = np.array([data.draw(st.sampled_from([0.8, 0.9, 1.0])) for _ in pairs])
    found = stars(documents, later, earlier, values)
    stays = found.survivor == np.arange(documents)
    known = dict(zip(pairs, values.tolist(), strict=True))
    for document in range(documents):
        beside = [other for other in range(document) if (document, other) in known and stays[other]]
        assert stays[document] == (not beside)
        if beside:
            best = max(known[document, other] for other in beside)
            assert found.similarity[document] == best
            assert found.survivor[document] == min(other for other in beside if known[document, other] == best)
    for one, other in pairs:
        assert found.cluster[one] == found.cluster[other] <= other


@given(st.sets(st.integers(0, 60)), st.sets(st.integers(0, 60)))
def test_the_kernel_counts_what_sets_have_in_common(one: set[int], other: set[int]) -> None:
    stage = CompareShingles("compare", "n")
    arrays = [np.array(sorted(each), np.uint64) for each in (one, other)]
    offsets = np.cumsum([0, *(each.nbytes for each in arrays)])
    data = np.concatenate(arrays).tobytes()
    buffers = [None, pa.py_buffer(offsets.astype(np.int64).tobytes()), pa.py_buffer(data)]
    content = pa.LargeBinaryArray.from_buffers(pa.large_binary(), 2, buffers)
    rows = pa.table({"content": content, "level": pa.array([0, 0], pa.int8())})
    (found,) = stage.similarities(rows, np.array([[0, 1]]))
    assert found == len(one & other) / max(1, len(one | other)) == jaccard(*arrays)


def test_intervals_hold_their_share() -> None:
    chance = np.random.Generator(np.random.PCG64(5))
    for true in (0.9, 0.99):
        held = 0
        for _ in range(500):
            measured = share(int(chance.binomial(200, true)), 200)
            assert measured is not None
            held += measured.low <= true <= measured.high
        assert held >= 460
    assert share(0, 0) is None


def test_recall_is_estimated_within_its_interval() -> None:
    chance = np.random.Generator(np.random.PCG64(6))
    held = 0
    for _ in range(300):
        similarities = chance.uniform(0.6, 1.0, 800)
        caught = chance.random(800) < catch_probability(similarities, 14, 8)
        measured = recall(similarities[caught], 14, 8)
        assert measured is not None
        held += measured.low <= caught.mean() <= measured.high
    assert held >= 270


def exact_pairs(pages: Sequence[dict[str, object]]) -> tuple[list[Record], list[tuple[str, str, float, float]]]:
    """Return the versions as records, and the pairs (id, id, the truth's similarity, ours)."""
    rows, pairs = [], []
    for page in pages:
        versions: dict[str, str] = page["versions"]  # type: ignore[assignment]
        sets = {}
        for version, text in versions.items():
            rows.append({"id": f"{page['path']}@{version}", "text": text, "date": version})
            sets[version] = shingles_of(units_of(Texts.of(pa.array([text]))), 5).sets()[0]
        for one, other, value in page["jaccard_5gram"]:  # type: ignore[attr-defined]
            ids = (f"{page['path']}@{one}", f"{page['path']}@{other}")
            pairs.append((*ids, value, jaccard(sets[one], sets[other])))
    return rows, pairs


@pytest.mark.slow
def test_on_real_pages_the_catch_rate_lies_on_the_curve_and_removals_are_right(
    truth: list[dict[str, object]], run_stages: Run, tmp_path: Path
) -> None:
    rows, pairs = exact_pairs(truth)
    stored = run_stages({"web": rows}, near(tmp_path / "clusters"), part_bytes=8_000_000)
    names = {document_id("web", row["id"]): row["id"] for row in rows}
    compared = stored.upstream
    assert compared is not None
    found = read_pairs(compared, "n")
    caught = {
        frozenset((names[one.ljust(16, b"\0")], names[other.ljust(16, b"\0")]))
        for one, other in zip(found.document.tolist(), found.hub.tolist(), strict=True)
    }
    ours = np.array([pair[3] for pair in pairs])
    hit = np.array([frozenset(pair[:2]) in caught for pair in pairs])
    for decile in range(10):
        inside = (ours >= decile / 10) & (ours < (decile + 1) / 10 if decile < 9 else ours <= 1)
        chance = catch_probability(ours[inside], 14, 8)
        spread = np.sqrt((chance * (1 - chance)).sum()) / inside.sum()
        # pairs of one page share documents, which widens the spread: four deviations and a pair
        assert abs(hit[inside].mean() - chance.mean()) <= 4 * spread + 1 / inside.sum(), decile
    of_truth = {frozenset(pair[:2]): pair[2] for pair in pairs}
    values = np.array(
        [
            of_truth.get(frozenset((names[identity], names[drop["other"]])), 0.0)
            for identity, drop in drops(stored).items()
        ]
    )
    assert len(values) > 1000
    assert (values >= 0.79).mean() >= 0.99  # the truth splits words at every mark, which moves a similarity by 0.01
    again = read_again(tmp_path / "clusters", compared, WORDS_5, "jaccard", 1)
    assert (again >= 0.8).mean() >= 0.99
