"""Every preset but Gopher's quality decides as its peer: on golden vectors, on made texts, on real ones."""

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plain_rules import c4, c4_tfds, gopher_dolma, refinedweb, refinedweb_text, sentences_of, words_of

from tilth.filters.presets import PRESETS
from tilth.filters.rules import Limits, Preset, judge, preset
from tilth.filters.spans import edited
from tilth.filters.texts import Texts

VECTORS = Path(__file__).parents[1] / "golden" / "presets.jsonl"
CASES = [json.loads(line) for line in VECTORS.read_text(encoding="utf-8").splitlines()]


def text_of(parts: list[tuple[str, int]]) -> str:
    """The text of a golden case: ``@`` stands for a running number."""
    pieces = "".join(piece * count for piece, count in parts).split("@")
    return "".join(piece + (f"{n:05d}" if n < len(pieces) - 1 else "") for n, piece in enumerate(pieces))


def decisions(rules: Preset, texts: Texts) -> list[str | None]:
    """The rule that refuses each text, None for what is kept."""
    signals = rules.measure(texts)
    found = judge(rules, [signals[rule.name] for rule in rules.rules]).rule
    return [None if rule < 0 else rules.rules[rule].name for rule in found]


def texts_after(rules: Preset, texts: Texts) -> list[str]:
    """The texts after the preset's edits."""
    assert rules.edits is not None
    after = edited(texts, rules.edits(texts))
    bounds = zip(after.offsets[:-1], after.offsets[1:], strict=True)
    return [after.data[start:end].tobytes().decode() for start, end in bounds]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['preset']} {case['case']}")
def test_a_golden_vector_is_decided_as_its_peer_does(case: dict[str, Any]) -> None:
    assert decisions(preset(case["preset"]), Texts.of(pa.array([text_of(case["parts"])]))) == [case["reason"]]


def test_every_rule_of_every_preset_refuses_a_golden_vector() -> None:
    seen: dict[str, set[str | None]] = defaultdict(set)
    for case in CASES:
        seen[case["preset"]].add(case["reason"])
    for reference, reasons in seen.items():
        assert reasons == {None, *(rule.name for rule in preset(reference).rules)}, reference
    limited = {rules.reference for rules in PRESETS if any(rule.limits != Limits(None, None) for rule in rules.rules)}
    assert {*seen, "gopher.datatrove@1"} == limited


@pytest.mark.parametrize(
    ("reference", "case", "rule"),
    [
        ("gopher.repetition.datatrove@1", "one character", "characters"),
        ("gopher.repetition.datatrove@1", "paragraphs 0.3", "repeated_paragraphs"),
        ("gopher.repetition.datatrove@1", "paragraph characters 0.2", "repeated_paragraph_characters"),
        ("gopher.repetition.datatrove@1", "lines 0.3", "repeated_lines"),
        ("gopher.repetition.datatrove@1", "line characters 0.2", "repeated_line_characters"),
        ("gopher.repetition.datatrove@1", "top 2-gram 0.2", "top_2_gram"),
        ("gopher.repetition.datatrove@1", "top 3-gram 0.18", "top_3_gram"),
        ("gopher.repetition.datatrove@1", "top 4-gram 0.16", "top_4_gram"),
        *[("gopher.repetition.datatrove@1", f"{n}-grams {20 - n} of 100", f"repeated_{n}_grams") for n in range(5, 11)],
        ("fineweb@1", "one line", "lines"),
        ("fineweb@1", "terminal 0.12", "terminal_lines"),
        ("fineweb@1", "short 0.67", "short_lines"),
        ("fineweb@1", "repeated 0.01", "repeated_line_characters"),
        ("fineweb@1", "feeds 0.3", "line_feeds_to_words"),
        ("c4.datatrove@1", "five sentences", "sentences"),
        ("c4.tfds@1", "three sentences", "sentences"),
        ("c4.tfds@1", "190000 characters", "characters"),
        ("refinedweb@1", "5 of 100 words", "removed_words"),
        ("gopher.dolma@1", "50 words", "words"),
        ("gopher.dolma@1", "100000 words", "words"),
        ("gopher.dolma@1", "median 3", "median_word_length"),
        ("gopher.dolma@1", "median 10", "median_word_length"),
        ("gopher.dolma@1", "symbols 0.1", "symbols_to_words"),
        ("gopher.dolma@1", "letters 0.8", "alphabetic_words"),
        ("gopher.dolma@1", "two stop words", "stop_words"),
        ("gopher.dolma@1", "bullets 0.9", "bullet_lines"),
        ("gopher.dolma@1", "ellipsis lines 0.3", "ellipsis_lines"),
        ("gopher.dolma@1", "lines 0.3", "repeated_lines"),
        ("gopher.dolma@1", "line characters 0.3", "repeated_line_characters"),
    ],
)
def test_golden_vectors_lie_on_the_limits_themselves(reference: str, case: str, rule: str) -> None:
    (found,) = [one for one in CASES if (one["preset"], one["case"]) == (reference, case)]
    rules = preset(reference)
    (limits,) = [one.limits for one in rules.rules if one.name == rule]
    (value,) = rules.measure(Texts.of(pa.array([text_of(found["parts"])])))[rule].tolist()
    assert found["reason"] is None and value in (limits.low, limits.high)


PIECES = [
    *("the", "of", "barley", "x", "12", "#", "...", "\u2026", "- ", "* ", "\n", "\n\n", "\n- ", "\u2028", "\f", "\r\n"),
    *("Sign-in", "Read more...", "items in cart", "3.4k likes", "5 views!", "BIG LETTERS", "\u00b2", "1,2", "\u00a0"),
    *("The oats grow here. ", 'He said: "so." ', "[12]", "[edit]", "[citation needed]", "[\u0663]", "[x]", "wait..."),
    *("lorem ipsum", "{", "JavaScript", "coo\u212aie policy", "terms of use.", "y" * 1001, "  ", "\t", "\u3002", "?!"),
]
TEXT = st.lists(st.tuples(st.sampled_from(PIECES), st.integers(1, 6)), max_size=14).map(
    lambda parts: "".join(piece * count for piece, count in parts)
)
TEXTS = st.lists(TEXT, min_size=1, max_size=6)


def check_dolma(documents: list[str]) -> None:
    signals = preset("gopher.dolma@1").measure(Texts.of(pa.array(documents)))
    for place, text in enumerate(documents):
        plain = gopher_dolma(text)
        assert {name: signal[place] for name, signal in signals.items()} == pytest.approx(plain, rel=1e-12), text[:200]


def check_c4(documents: list[str]) -> None:
    texts = Texts.of(pa.array(documents))
    for reference, plain in (("c4.datatrove@1", _c4_datatrove), ("c4.tfds@1", c4_tfds)):
        rules = preset(reference)
        for text, ours, after in zip(documents, decisions(rules, texts), texts_after(rules, texts), strict=True):
            reason, left = plain(text)
            assert ours == reason
            assert reason not in (None, "sentences") or after == left


def _c4_datatrove(text: str) -> tuple[str | None, str]:
    reason, left, counts = c4(text, 3, True, (".", "?", "!", '"', "'"))
    return (reason, left) if reason or counts["sentences"] >= 5 else ("sentences", left)


def check_refinedweb(documents: list[str]) -> None:
    texts = Texts.of(pa.array(documents))
    rules = preset("refinedweb@1")
    assert texts_after(rules, texts) == [refinedweb_text(text) for text in documents]
    expected = [refinedweb(text) for text in documents]
    assert decisions(rules, texts) == expected


@given(TEXTS)
def test_dolma_s_gopher_measures_as_its_plain_twin(documents: list[str]) -> None:
    check_dolma(documents)


@given(TEXTS)
def test_c4_decides_and_edits_as_its_plain_twin(documents: list[str]) -> None:
    check_c4(documents)


# phrases at the borders of the 64 bytes that the kernel looks at, and words around the longest that C4 allows
PHRASES = (
    "use cookies",
    "Terms of Use",
    "JavaScript",
    "lorem ipsum",
    "coo\u212aie policy",
    "{",
    "[1]",
    "\u212a",
    "cook",
    "e.",
)
WIDE = (*(letter * size for letter in "aé" for size in (1, 55, 62, 63, 499, 500, 999, 1000, 1001)), *PHRASES)
LINES = st.lists(st.lists(st.sampled_from([*WIDE, " ", " ", "\t", "\u2003"]), max_size=12).map("".join), max_size=3)


@given(LINES, st.sampled_from(["a b c d e.", "x", ""]))
def test_c4_judges_long_lines_as_its_plain_twin(lines: list[str], behind: str) -> None:
    check_c4(["\n".join(f"{line} a b c d e." for line in lines), behind])


@given(TEXTS)
def test_refinedweb_decides_and_edits_as_its_plain_twin(documents: list[str]) -> None:
    check_refinedweb(documents)


@pytest.fixture(scope="module")
def peers() -> Any:
    """datatrove's filters, deciding on our words and sentences: preset, text -> our name of the rule."""
    pytest.importorskip("regex", reason="datatrove's filters need the module regex")
    import datatrove.pipeline.filters.c4_filters as c4_filters
    import datatrove.pipeline.filters.fineweb_quality_filter as fineweb
    import datatrove.pipeline.filters.gopher_repetition_filter as repetition
    from datatrove.data import Document

    filters = {
        "gopher.repetition.datatrove@1": repetition.GopherRepetitionFilter(),
        "fineweb@1": fineweb.FineWebQualityFilter(),
        "c4.datatrove@1": c4_filters.C4QualityFilter(),
    }
    names = {
        **{"empty": 0, "dup_para_frac": 1, "dup_para_char_frac": 2, "dup_line_frac": 3, "dup_line_char_frac": 4},
        **{f"top_{n}_gram": 3 + n for n in (2, 3, 4)},
        **{f"duplicated_{n}_n_grams": 3 + n for n in range(5, 11)},
        **{"line_punct_ratio": 1, "short_line_ratio": 2, "char_dup_ratio": 3, "list_ratio": 4},
        **{"lorem_ipsum": 0, "curly_bracket": 1, "too_few_sentences": 2},
    }

    def decide(reference: str, text: str) -> tuple[str | None, str]:
        document = Document(text=text, id="x")
        with pytest.MonkeyPatch.context() as patch:
            for module in (repetition, fineweb):
                patch.setattr(module, "split_into_words", lambda text, language: words_of(text))
            patch.setattr(c4_filters, "split_into_sentences", lambda line, language: [line] * sentences_of(line))
            said = filters[reference].filter(document)
        rule = None if said is True else preset(reference).rules[names[said[1]]].name
        return rule, document.text

    return decide


def compare(peers: Callable[[str, str], tuple[str | None, str]], reference: str, documents: list[str]) -> None:
    texts, rules = Texts.of(pa.array(documents)), preset(reference)
    after = texts_after(rules, texts) if rules.edits else documents
    for text, ours, left in zip(documents, decisions(rules, texts), after, strict=True):
        theirs, their_text = peers(reference, text)
        assert ours == theirs, text[:300]
        assert theirs is not None or left == their_text


LIVE = ("gopher.repetition.datatrove@1", "fineweb@1", "c4.datatrove@1")


@pytest.mark.parametrize("reference", LIVE)
@given(documents=TEXTS)
def test_a_preset_decides_as_datatrove_on_any_text(peers: Any, reference: str, documents: list[str]) -> None:
    compare(peers, reference, documents)


@pytest.mark.parametrize("reference", LIVE)
def test_a_preset_decides_as_datatrove_on_real_texts(
    peers: Any, reference: str, real_texts: Callable[[int], list[str]]
) -> None:
    compare(peers, reference, real_texts(25))


def test_plain_twins_agree_on_real_texts(real_texts: Callable[[int], list[str]]) -> None:
    documents = real_texts(25)
    check_dolma(documents)
    check_c4(documents)
    check_refinedweb(documents)


def test_a_texts_signals_do_not_depend_on_its_neighbours() -> None:
    documents = ["", "The barley of the field.\n" * 30, "x x x\n\nx x x", "Home\nSign-in now then\nLast line here."]
    for rules in PRESETS:
        together = rules.measure(Texts.of(pa.array(["y", *documents, "z"]).slice(1, len(documents))))
        for place, text in enumerate(documents):
            alone = rules.measure(Texts.of(pa.array([text])))
            for name, signal in together.items():
                np.testing.assert_equal(signal[place], alone[name][0])


def test_runs_that_differ_in_the_last_bit_of_a_letter_are_different() -> None:
    documents = ["b c d e f w1 u v w x y z b c d e f w0 " * 1, "a b c d e f g2 k l m n o a b c d e f g3"]
    check_dolma(documents)
    signals = preset("gopher.repetition.datatrove@1").measure(Texts.of(pa.array(documents)))
    assert signals["repeated_6_grams"].tolist() == [0, 6 / 39] and signals["repeated_7_grams"].tolist() == [0, 0]
