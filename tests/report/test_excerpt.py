import tracemalloc
import unicodedata

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from tilth.corpus.document import documents
from tilth.report.excerpt import CHARACTERS, COMBINING, JOINERS, excerpts, printable


def batch_of(*texts: str) -> pa.RecordBatch:
    ids = [bytes([number]) * 16 for number in range(len(texts))]
    return documents({"id": ids, "text": list(texts), "source": ["a"] * len(texts)})


@given(st.text())
def test_nothing_invisible_is_left_in_a_shown_text(text: str) -> None:
    for character in printable(text):
        assert character in "\n\t" or unicodedata.category(character) != "Cc"
        assert character in JOINERS or unicodedata.category(character) != "Cf"


@given(st.text())
def test_printing_twice_changes_nothing_more(text: str) -> None:
    assert printable(printable(text)) == printable(text)


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"])))
def test_plain_text_is_shown_as_it_is(text: str) -> None:
    shown = printable(text)
    assert shown == text or any(ord(character) & 0xFFFE == 0xFFFE for character in text)


def test_marks_of_direction_and_controls_are_written_out() -> None:
    assert printable("a\u202eb\u2066c\x00d\x1b\x7f\x85\ufeff") == "a[U+202E]b[U+2066]c␀d␛␡[U+0085][U+FEFF]"
    assert printable("a\r\nb\rc") == "a\nb␍c"


def test_a_pile_of_combining_marks_is_cut_down() -> None:
    shown = printable("a" + "\u0301" * 50)
    assert shown.startswith("a" + "\u0301" * COMBINING + "[U+0301]")


def test_emoji_families_and_persian_joiners_survive() -> None:
    text = "\U0001f468\u200d\U0001f469 می\u200cخواهم"
    assert printable(text) == text


def test_a_text_is_clipped_by_characters_and_says_so() -> None:
    long, short = excerpts(batch_of("ä" * (CHARACTERS + 1), "ä" * CHARACTERS), pa.array([0, 1]))
    assert (long.text, long.clipped, long.bytes) == ("ä" * CHARACTERS, True, 2 * CHARACTERS + 2)
    assert (short.text, short.clipped) == ("ä" * CHARACTERS, False)


def test_a_text_of_10_mb_never_becomes_a_python_string() -> None:
    batch = batch_of("word " * 2_000_000)
    tracemalloc.start()
    (shown,) = excerpts(batch, pa.array([0]))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert shown.clipped
    assert shown.bytes == 10_000_000
    assert peak < 1_000_000
