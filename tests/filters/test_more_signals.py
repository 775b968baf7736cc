"""Signals about any text, lists, URLs, limits, repair and datatrove's filters say what their plain twins say."""

import re
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilth.corpus.document import document_id, documents
from tilth.corpus.errors import UserError
from tilth.corpus.ledger import Account
from tilth.corpus.stage import Asset, Effect
from tilth.corpus.store import file_digest
from tilth.filters.apply_limits import ApplyLimits
from tilth.filters.edits import Edit, restore
from tilth.filters.from_datatrove import DatatroveFilter, EditingDatatroveFilter
from tilth.filters.lists import CountListed, MatchUrls, count_listed, match_url
from tilth.filters.repair import Repair
from tilth.filters.rules import preset
from tilth.filters.texts import Texts

TEXT = "The barley of the field grows. It is a fine thing, indeed!\n\u0416\u0438\u0437\u043d\u044c \u6f22\u5b57 12 x"


def batch_of(texts: list[str], **columns: list[str]) -> pa.RecordBatch:
    ids = [document_id("s", str(place)) for place in range(len(texts))]
    return documents({"id": ids, "text": texts, "source": ["s"] * len(texts), **columns})


def asset(path: Path, text: str) -> Asset:
    path.write_text(text, encoding="utf-8")
    return Asset(str(path), file_digest(path))


def test_texts_are_measured_as_a_person_would_count() -> None:
    found = {name: signal[0] for name, signal in preset("text@1").measure(Texts.of(pa.array([TEXT]))).items()}
    assert (found["characters"], found["bytes"], found["lines"]) == (len(TEXT), len(TEXT.encode()), 2)
    assert found["share_of_cyrillic"] == 5 / len(TEXT) and found["share_of_han"] == 2 / len(TEXT)
    assert found["share_of_digits"] == 2 / len(TEXT) and found["share_of_marks"] == 3 / len(TEXT)
    assert found["share_of_white_space"] == sum(map(str.isspace, TEXT)) / len(TEXT)
    assert found["share_of_capitals"] == 3 / len(TEXT)
    assert found["sentences"] == 3 and found["longest_line_bytes"] == len(TEXT.split("\n")[0])
    assert found["type_token_ratio"] == 1  # "the" and "The" are two words
    assert found["compression_ratio"] == len(TEXT.encode()) / len(zlib.compress(TEXT.encode(), 1))


def test_types_are_counted_once() -> None:
    found = preset("text@1").measure(Texts.of(pa.array(["oats and oats and rye", ""])))
    assert found["type_token_ratio"].tolist() == [3 / 5, 0]


def test_reading_ease_follows_flesch() -> None:
    text = "The cat sat on the mat."  # six words, six syllables, one sentence
    found = preset("text@1").measure(Texts.of(pa.array([text])))
    assert found["flesch_reading_ease"].tolist() == pytest.approx([206.835 - 1.015 * 6 - 84.6 * 1])
    assert found["coleman_liau_grade"].tolist() == pytest.approx([5.88 * 17 / 6 - 29.6 / 6 - 15.8])


@given(st.lists(st.text(max_size=40), max_size=4))
def test_signals_of_any_text_are_numbers_and_shares_sum_to_one(texts: list[str]) -> None:
    found = preset("text@1").measure(Texts.of(pa.array(texts, pa.string())))
    assert all(np.isfinite(signal).all() for signal in found.values())
    shares = sum(signal for name, signal in found.items() if name.startswith("share_of_") and "capitals" not in name)
    assert np.allclose(shares, [bool(text) for text in texts])


ENTRIES = ("barley", "oats of", "a b c", "Stra\u00dfe")


@given(st.lists(st.sampled_from([*"abc", "barley", "BARLEY", "oats", "of", "stra\u00dfe", ", ", " ", "\n", "_"])))
def test_listed_words_are_counted_as_whole_words(pieces: list[str]) -> None:
    text = "".join(pieces)
    found, words = count_listed(Texts.of(pa.array([text])), tuple(entry.lower() for entry in ENTRIES))
    tokens = re.findall(r"\w+", text.lower())
    expected = 0
    for entry in ENTRIES:
        phrase = entry.lower().split()
        expected += sum(tokens[at : at + len(phrase)] == phrase for at in range(len(tokens)))
    assert found.tolist() == [expected] and words.tolist() == [len(tokens)]


def test_lists_are_files_and_a_changed_one_is_refused(tmp_path: Path) -> None:
    listed = asset(tmp_path / "words.txt", "# seeds\nbarley\n\nOats of\n")
    outcome = CountListed("crops", (listed,)).apply(batch_of(["Barley and OATS OF x", "", "barleys"]))
    assert outcome.signals["crops.count"].to_pylist() == [2, 0, 0]
    assert outcome.signals["crops.per_1000"].to_pylist() == [400, 0, 0]
    (tmp_path / "words.txt").write_text("rye\n", encoding="utf-8")
    with pytest.raises(UserError, match="the list was changed"):
        CountListed("crops", (Asset(listed.path, "0" * 32),)).apply(batch_of(["x"]))
    with pytest.raises(UserError, match="can't be read"):
        CountListed("crops", (Asset(str(tmp_path / "none"), "0" * 32),)).apply(batch_of(["x"]))


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://shop.bad.example/a", (1, 0, 0, 0, 0)),
        ("http://notbad.example/", (0, 0, 0, 0, 0)),
        ("BAD.example", (1, 0, 0, 0, 0)),
        ("http://x.org/page", (0, 1, 0, 0, 0)),
        ("http://x.org/casino-win", (0, 0, 1, 1, 0)),
        ("http://x.org/cas-ino", (0, 0, 0, 0, 1)),
        ("http://[x/", (0, 0, 0, 0, 0)),
        ("", (0, 0, 0, 0, 0)),
    ],
)
def test_urls_match_domains_words_and_substrings(url: str, found: tuple[int, ...]) -> None:
    lists = (
        {"bad.example"},
        {"http://x.org/page"},
        {"casino"},
        {"win"},
        {"orgcasino/"[:9]} if "-ino" in url else set(),
    )
    assert match_url(url, *map(frozenset, lists)) == found


def test_a_document_without_a_url_matches_nothing(tmp_path: Path) -> None:
    stage = MatchUrls("urls", domains=(asset(tmp_path / "domains", "bad.example\n"),))
    outcome = stage.apply(batch_of(["a", "b"], url=["http://bad.example", None]))  # type: ignore[list-item]
    assert outcome.signals["urls.domain"].to_pylist() == [1, 0]


def test_limits_on_any_signals_keep_drop_and_invert() -> None:
    batch = batch_of(list("abcd")).select(["id", "source", "bytes", "digest"])
    batch = batch.append_column("quality", pa.array([0.2, 0.5, float("nan"), 0.9]))
    batch = batch.append_column("listed", pa.array([0.0, 3.0, 0.0, 1.0]))
    limits = (("quality", 0.5, None), ("listed", None, 1.0))
    plain, inverse = (ApplyLimits("limits", limits, inverse).apply(batch) for inverse in (False, True))
    assert plain.kept.column("id").to_pylist() == batch.column("id").to_pylist()[3:]
    assert [(row["rule"], row["value"], row["limit"]) for row in plain.drops.to_pylist()] == [
        ("quality", 0.2, 0.5),
        ("listed", 3, 1),
        ("quality.undefined", None, None),
    ]
    assert inverse.kept.column("id").to_pylist() == batch.column("id").to_pylist()[:2]
    assert [row["rule"] for row in inverse.drops.to_pylist()] == ["quality.undefined", "limits.passed"]
    with pytest.raises(UserError, match="lower limit first"):
        ApplyLimits("limits", (("quality", 1.0, 0.0),))


def test_wrongly_decoded_text_is_repaired_and_comes_back() -> None:
    pytest.importorskip("ftfy")
    texts = ["sch\u00c3\u00b6n ist\nes \u201chier\u201d &amp; dort", "plain", "caf\u00e9"]
    batch = batch_of(texts)
    outcome = Repair("repair").apply(batch)
    account = Account()
    account.judge(batch, outcome, Effect.EDITS)
    account.check("test", 0)
    after = outcome.kept.column("text").to_pylist()
    assert after == ["sch\u00f6n ist\nes \u201chier\u201d & dort", "plain", "caf\u00e9"]
    edits = [Edit(**{key: value for key, value in row.items() if key != "id"}) for row in outcome.edits.to_pylist()]
    assert len(edits) == 2 and restore(after[0].encode(), edits) == texts[0].encode()


def test_a_filter_of_datatrove_stands_in_a_recipe() -> None:
    pytest.importorskip("regex")
    good = "The barley of this field grows here. " * 3
    batch = batch_of([good, "Too short.", good + "{x}."])
    outcome = EditingDatatroveFilter("c4", "C4QualityFilter", '{"min_num_sentences": -1}').apply(batch)
    account = Account()
    account.judge(batch, outcome, Effect.EDITS)
    account.check("test", 0)
    assert outcome.kept.column("text").to_pylist() == [good.strip(), ""]
    assert outcome.drops.column("rule").to_pylist() == ["c4.curly_bracket"]
    with pytest.raises(UserError, match="set 'edits: true'"):
        DatatroveFilter("c4", "C4QualityFilter", '{"min_num_sentences": -1}').apply(batch)
    kept = DatatroveFilter("chance", "SamplerFilter", '{"rate": 1.0}').apply(batch).kept
    assert kept.equals(batch)
    with pytest.raises(UserError, match="has no filter 'Nothing'"):
        DatatroveFilter("x", "Nothing").apply(batch)
    with pytest.raises(UserError, match="refuses its arguments"):
        DatatroveFilter("x", "C4QualityFilter", '{"nothing": 1}').apply(batch)
