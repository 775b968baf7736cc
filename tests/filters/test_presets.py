"""A preset decides as the peer whose name it bears, at its limits and on real texts."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilth.filters.characters import SYMBOL, character_classes
from tilth.filters.presets import PRESETS
from tilth.filters.presets.gopher_datatrove import GOPHER_QUALITY, STOP_WORDS
from tilth.filters.rules import Preset, judge, preset
from tilth.filters.texts import Texts

GOLDEN = Path(__file__).parents[1] / "golden"

# what datatrove calls its refusals: our rule, and the limit that was broken
REASONS = {
    "gopher_short_doc": ("words", 50),
    "gopher_long_doc": ("words", 100_000),
    "gopher_below_avg_threshold": ("mean_word_length", 3),
    "gopher_above_avg_threshold": ("mean_word_length", 10),
    "gopher_too_many_hashes": ("hash_to_words", 0.1),
    "gopher_too_many_ellipsis": ("ellipsis_to_words", 0.1),
    "gopher_too_many_bullets": ("bullet_lines", 0.9),
    "gopher_too_many_end_ellipsis": ("ellipsis_lines", 0.3),
    "gopher_below_alpha_threshold": ("alphabetic_words", 0.8),
    "gopher_enough_stop_words": ("stop_words", 2),
}


def decisions(rules: Preset, texts: Texts) -> list[tuple[str, float] | None]:
    """Rule and limit for what is refused, None for what is kept."""
    signals = rules.measure(texts)
    found = judge(rules, [signals[rule.name] for rule in rules.rules])
    return [
        None if rule < 0 else (rules.rules[rule].name, float(limit))
        for rule, limit in zip(found.rule, found.limit, strict=True)
    ]


@pytest.mark.parametrize("rules", PRESETS, ids=lambda rules: rules.reference)
def test_every_preset_measures_what_its_rules_ask_of_any_text(rules: Preset) -> None:
    texts = ["", " ", "\n", "\x00", "a", "\u2026", "The barley, of the field.\n" * 40]
    for batch in ([], texts):
        signals = rules.measure(Texts.of(pa.array(batch, pa.string())))
        assert list(signals) == [rule.name for rule in rules.rules]
        for signal in signals.values():
            assert signal.dtype == np.float64 and len(signal) == len(batch)


def test_presets_have_names_of_their_own_and_are_found_by_them() -> None:
    assert len({rules.reference for rules in PRESETS}) == len(PRESETS)
    assert all(preset(rules.reference) is rules for rules in PRESETS)


def test_gopher_decides_as_datatrove_at_below_and_above_every_limit() -> None:
    seen = set()
    for line in (GOLDEN / "gopher_datatrove.jsonl").read_text(encoding="utf-8").splitlines():
        case = json.loads(line)
        text = "".join(piece * count for piece, count in case["parts"])
        (found,) = decisions(GOPHER_QUALITY, Texts.of(pa.array([text])))
        assert found == (REASONS[case["reason"]] if case["reason"] else None), case["case"]
        seen.add(case["reason"])
    assert seen == {None, *REASONS}


def test_golden_cases_lie_on_the_limits_themselves() -> None:
    lines = (GOLDEN / "gopher_datatrove.jsonl").read_text(encoding="utf-8").splitlines()
    cases = {case["case"]: case["parts"] for case in map(json.loads, lines)}
    for name, rule, value in (
        ("50 words", "words", 50),
        ("100000 words", "words", 100_000),
        ("mean length 3.0", "mean_word_length", 3),
        ("mean length 10.0", "mean_word_length", 10),
        ("hashes 0.1", "hash_to_words", 0.1),
        ("ellipses 0.1", "ellipsis_to_words", 0.1),
        ("bullets 0.9", "bullet_lines", 0.9),
        ("ellipsis lines 0.3", "ellipsis_lines", 0.3),
        ("letters 0.8", "alphabetic_words", 0.8),
        ("two stop words", "stop_words", 2),
    ):
        text = "".join(piece * count for piece, count in cases[name])
        assert GOPHER_QUALITY.measure(Texts.of(pa.array([text])))[rule].tolist() == [value]


def test_a_text_without_words_fails_the_count_and_has_no_shares() -> None:
    texts = Texts.of(pa.array(["", " \n "]))
    assert decisions(GOPHER_QUALITY, texts) == [("words", 50.0)] * 2
    signals = GOPHER_QUALITY.measure(texts)
    assert np.isnan(signals["mean_word_length"]).all() and np.isnan(signals["hash_to_words"]).all()
    assert np.isnan(signals["bullet_lines"]).tolist() == [True, False]


@given(
    st.lists(st.sampled_from([".", "..", "...", "#", "\u2026", "\u2006", "x" * 61, " ", "\n"]), max_size=40),
    st.integers(1, 70),
)
def test_marks_are_counted_across_blocks_as_in_strings(pieces: list[str], room: int) -> None:
    text = "".join(pieces) + " x"
    texts = Texts.of(pa.array(["...", text, "." * room]))
    signals = GOPHER_QUALITY.measure(texts)
    words = texts.words.rows[2] - texts.words.rows[1]
    assert signals["hash_to_words"][1] == text.count("#") / words
    assert signals["ellipsis_to_words"][1] == (text.count("...") + text.count("\u2026")) / words


def test_symbols_are_the_peers() -> None:
    symbols = json.loads((GOLDEN / "gopher_datatrove_symbols.json").read_text(encoding="utf-8"))
    ours = [chr(code) for code in np.flatnonzero(character_classes() & SYMBOL)]
    assert ours == sorted(symbols) and len(ours) == 281


@pytest.fixture(scope="module")
def peer() -> Any:
    """datatrove's filter, deciding on given words."""
    pytest.importorskip("regex", reason="datatrove's filter needs the module regex")
    import datatrove.pipeline.filters.gopher_quality_filter as module
    from datatrove.data import Document

    judge_peer = module.GopherQualityFilter()

    def decide(text: str, words: list[str]) -> tuple[str, float] | None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "split_into_words", lambda text, language: words)
            verdict = judge_peer.filter(Document(text=text, id="x"))
        return None if verdict is True else REASONS[verdict[1]]

    return decide


def compare(peer: Callable[[str, list[str]], object], documents: list[str]) -> None:
    texts = Texts.of(pa.array(documents))
    words = texts.words
    for place, (text, ours) in enumerate(zip(documents, decisions(GOPHER_QUALITY, texts), strict=True)):
        span = slice(words.rows[place], words.rows[place + 1])
        split = [
            bytes(texts.data[start:end]).decode()
            for start, end in zip(words.starts[span], words.ends[span], strict=True)
        ]
        assert peer(text, split) == ours


# words that move every signal, often enough to come near its limit
PIECES = [
    *STOP_WORDS,
    "barley",
    "x",
    "12",
    "#",
    "...",
    "\u2026",
    "- ",
    "\u2022",
    "\n",
    "\n- ",
    "\u2028",
    "\f",
    "#\u2026",
]
TEXTS = st.lists(
    st.tuples(st.lists(st.sampled_from(PIECES), min_size=1, max_size=9).map(" ".join), st.integers(1, 40)), max_size=6
).map(lambda parts: " ".join(piece for piece, count in parts for _ in range(count)))


@given(st.lists(TEXTS, min_size=1, max_size=8))
def test_gopher_decides_as_datatrove_on_any_text(peer: Callable[[str, list[str]], object], texts: list[str]) -> None:
    compare(peer, texts)


def test_gopher_decides_as_datatrove_on_real_texts(
    peer: Callable[[str, list[str]], object], real_texts: Callable[[int], list[str]]
) -> None:
    compare(peer, real_texts(60))
