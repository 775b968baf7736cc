"""Programs are data: nothing in them is evaluated, nothing leaves its chunk, and everything can be undone."""

import os
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilth.filters.edits import apply_edits, restore
from tilth.filters.programs import MOST_CALLS, Call, Chunk, execute, parse

WORDS = "the barley of the field is good and the oats of the garden are too\n"
TEXT = WORDS * 3 + "Menu | Home | http://x.com/?id=5\n" + WORDS * 2


def after(text: str, *chunks: Chunk) -> str:
    verdict = execute(text, chunks)
    assert verdict.drop is None
    return apply_edits(text.encode(), verdict.edits).decode()


def test_lines_and_strings_go() -> None:
    assert after(TEXT, Chunk("remove_lines(3, 3)")) == WORDS * 5
    assert after(TEXT, Chunk("remove_lines(start=3, end=3)\nnormalize(source_str='good', target_str='well')")) == (
        WORDS * 5
    ).replace("good", "well")
    assert after(TEXT, Chunk("keep_doc()")) == TEXT


def test_an_address_and_a_comma_survive_as_arguments() -> None:
    assert "?id" not in after(TEXT, Chunk('normalize("http://x.com/?id=5", "")'))
    assert after(TEXT + "a, b", Chunk('normalize("a, b", "c = d")')).endswith("c = d")


def test_a_program_touches_its_own_chunk_only() -> None:
    program = "remove_lines(0, 0)\nnormalize('barley', 'rye')"
    found = after(TEXT, Chunk(program, 4, 5))
    assert found == WORDS * 3 + "Menu | Home | http://x.com/?id=5\n" + WORDS.replace("barley", "rye")
    assert after(TEXT, Chunk("remove_lines(1, 10**3)", 3, 3)) == TEXT  # no literal, so no call
    assert after(TEXT, Chunk("remove_lines(0, 1000)", 3, 3)) == WORDS * 5  # clamped


def test_documents_leave_where_it_is_asked_for_or_little_is_left() -> None:
    assert execute(TEXT, [Chunk("drop_doc()")]).drop == "drop_doc"
    assert execute(TEXT, [Chunk("remove_lines(0, 4)")]).drop is None
    assert execute(TEXT, [Chunk("remove_lines(0, 5)")]).drop == "little_left"
    assert execute("", [Chunk("remove_lines(0, 0)")]).drop is None
    assert execute(" \n ", [Chunk("keep_doc()")]) == execute(" \n ", [])


@pytest.mark.parametrize(
    "line",
    [
        "__import__('os').system('x')",
        "remove_lines(0, True)",
        "remove_lines(0, 1.0)",
        "remove_lines(*[0, 1])",
        "remove_lines(**{'start': 0, 'end': 1})",
        "remove_lines(0)",
        "remove_lines(0, 1, 2)",
        "remove_lines(0, end=1, start=0)",
        "normalize(f'{x}')",
        "normalize('a' * 1000000000)",
        "normalize(b'a')",
        "normalize('\\ud800')",
        "drop_doc(1)",
        "x = drop_doc()",
        "drop_doc(); drop_doc()",
        "lambda: drop_doc()",
        "((((",
        "(" * 5000,
        "\x00drop_doc()",
    ],
)
def test_what_is_no_allowed_call_with_literals_is_refused(line: str) -> None:
    assert parse(line) == ([], 1)


def test_two_bad_calls_leave_a_document_as_it_is() -> None:
    assert execute(TEXT, [Chunk("remove_lines(3, 3)\nfoo()")]).edits
    assert execute(TEXT, [Chunk("remove_lines(3, 3)\nfoo()\nbar()")]).edits == ()
    assert execute(TEXT, [Chunk("keep_doc()\n" * (MOST_CALLS + 1))]).edits == ()


def test_edits_stay_within_their_budget() -> None:
    assert execute("a " * 20_000, [Chunk("normalize('a', 'b')")]).edits == ()
    assert execute(TEXT, [Chunk(f"normalize('barley', '{'x' * 5000}')")]).edits == ()


def test_arguments_are_read_by_name_and_place() -> None:
    expected = [Call("normalize", ("a", "")), Call("normalize", ("a", "b")), Call("remove_lines", (1, 2))]
    assert parse("normalize('a')\nnormalize('a', target_str='b')\nremove_lines(end=2, start=1)") == (expected, 0)


LITERALS = st.one_of(st.integers(-3, 9), st.sampled_from(["the", "", "\n", "oats of", "x", "\u00e9", "="])).map(repr)
CALLS = st.builds(
    lambda name, arguments: f"{name}({', '.join(arguments)})",
    st.sampled_from(["remove_lines", "normalize", "keep_doc", "keep_chunk", "drop_doc", "exec", "untouch_doc"]),
    st.lists(LITERALS, max_size=3),
)
PROGRAMS = st.lists(CALLS | st.text(max_size=12), max_size=5).map("\n".join)
CHUNKS = st.lists(st.builds(Chunk, PROGRAMS, st.integers(-2, 8), st.none() | st.integers(-2, 8)), max_size=3)
TEXTS = st.lists(st.sampled_from([WORDS, "\n", "x", "Home\n", "\u00e9\u00e9 \n", "\r\n"]), max_size=8).map("".join)


@given(TEXTS, CHUNKS)
def test_whatever_a_program_holds_the_text_comes_back(text: str, chunks: list[Chunk]) -> None:
    verdict = execute(text, chunks)
    changed = apply_edits(text.encode(), verdict.edits)
    assert restore(changed, verdict.edits) == text.encode()
    changed.decode()
    lines = text.split("\n")
    allowed = set()
    for chunk in chunks:
        last = len(lines) if chunk.last is None else chunk.last
        allowed.update(range(max(0, chunk.first), last + 1))
    for edit in verdict.edits:
        first = text.encode()[: edit.start].count(b"\n")
        assert first in allowed


def test_fuzzed_programs_neither_crash_nor_hang_and_are_undone() -> None:
    """20,000 programs here; ``FUZZED_PROGRAMS=1000000`` for the long run."""
    generator = random.Random(11)
    pieces = ["remove_lines", "normalize", "drop_doc", "(", ")", ",", "0", "3", "-1", "'the'", "''", "'\\n'", "="]
    pieces += [
        "start",
        "end",
        "source_str",
        "\n",
        "\\",
        "'",
        '"',
        "[",
        "{",
        "*",
        "f'",
        "#",
        " ",
        "\x00",
        "\ud800",
        "9" * 5000,
    ]
    for _ in range(int(os.environ.get("FUZZED_PROGRAMS", "20000"))):
        program = "".join(generator.choice(pieces) for _ in range(generator.randrange(24)))
        calls = [f"remove_lines({generator.randrange(-2, 8)}, {generator.randrange(-2, 8)})", "normalize('of', 'o')"]
        whole = "\n".join([program, *calls[: generator.randrange(3)]])
        verdict = execute(TEXT, [Chunk(whole, generator.randrange(-1, 7))])
        changed = apply_edits(TEXT.encode(), verdict.edits)
        assert restore(changed, verdict.edits) == TEXT.encode()
