"""What counts as text in a file of somebody else's package."""

import ast
import inspect
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilth.demo import prose

LONG = "Soil that is worked too wet will set hard, and a season of roots is needed before it crumbles again. " * 3
OTHER = "Seed is drilled shallow where the ground holds water, and deeper where it dries out within a day. " * 3


def test_docstrings_carry_their_qualified_names() -> None:
    module = f'''"""{LONG}"""

class Field:
    """{OTHER}"""

    async def drain(self):
        """{LONG}"""
        def inner():
            """{OTHER}"""

if True:
    try:
        def guarded():
            """{LONG}"""
    except ImportError:
        def guarded():
            """{OTHER}"""
'''
    found = dict(prose.docstrings(module))
    assert list(found) == ["__doc__", "Field", "Field.drain", "Field.drain.inner", "guarded", "guarded~2"]
    assert found["Field"] == OTHER.strip()
    assert found["guarded~2"] == OTHER.strip()


def test_a_docstring_loses_its_indentation_and_its_escapes() -> None:
    module = f'def f():\n    r"""Summary.\n\n        {LONG}\n\n    Caf\\u00e9."""\n    return """{LONG}"""\n'
    (found,) = prose.docstrings(module)
    assert found == ("f", f"Summary.\n\n    {LONG}\n\nCaf\\u00e9.")


def test_labels_are_not_documents() -> None:
    short = LONG[: prose.MINIMUM_CHARACTERS - 1].strip()
    assert list(prose.docstrings(f'"""{short}"""')) == []
    assert list(prose.whole(short)) == []
    assert list(prose.hash_comments(f"# {short}\n")) == []


def test_a_module_with_little_documentation_is_not_parsed() -> None:
    assert list(prose.docstrings(f'"""{LONG}"""\n' + "this is ( no Python\n" * 100)) == []
    with pytest.raises(SyntaxError):
        list(prose.docstrings(f'"""{LONG}"""\nthis is ( no Python\n'))


def test_long_chains_of_conditions_do_not_exhaust_the_stack() -> None:
    chain = "if x == 0:\n    pass\n" + "".join(f"elif x == {i}:\n    pass\n" for i in range(1000))
    module = f'{chain}else:\n    def last():\n        """{LONG * 40}"""\n'
    assert [name for name, _ in prose.docstrings(module)] == ["last"]


def test_every_docstring_of_a_real_module_is_found() -> None:
    source = Path(inspect.__file__).read_text()
    expected = {
        (ast.get_docstring(node) or "").strip()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and len((ast.get_docstring(node) or "").strip()) >= prose.MINIMUM_CHARACTERS
    }
    assert expected
    assert {text for _, text in prose.docstrings(source)} == expected


def test_topics_are_read_from_the_dictionary() -> None:
    source = f"# generated\ntopics = {{'assert': {LONG!r},\n 'empty': '', 'break': {OTHER!r}}}\n"
    assert list(prose.topics(source)) == [("assert", LONG.strip()), ("break", OTHER.strip())]


@pytest.mark.parametrize(
    "content",
    [
        f"Metadata-Version: 2.4\nName: plough\nSummary: turns soil\n\n{LONG}\n",
        f"Metadata-Version: 1.1\nName: plough\nDescription: {LONG.strip()}\nPlatform: any\n",
    ],
    ids=["body", "field"],
)
def test_a_description_is_the_body_or_the_older_field(content: str) -> None:
    assert list(prose.description(content)) == [("", LONG.strip())]


def test_comment_marks_are_taken_off_and_code_ends_a_block() -> None:
    content = f"import os\n\n    # {LONG.strip()}\n    #\n    #   indented\nx = 1  # {OTHER}\n#: {OTHER.strip()}\n"
    assert list(prose.hash_comments(content)) == [
        ("L3", f"{LONG.strip()}\n\n  indented"),
        ("L7", f": {OTHER.strip()}"),
    ]


def test_both_kinds_of_c_comment_are_read_without_their_marks() -> None:
    content = (
        f"/*\n * {LONG.strip()}\n *\n * {OTHER.strip()}\n */\nint depth; // {LONG}\n"
        f"  /// {OTHER.strip()}\n  /// second\nint x;\n/** {LONG.strip()} */\n"
    )
    assert list(prose.c_comments(content)) == [
        ("L1", f"{LONG.strip()}\n\n{OTHER.strip()}"),
        ("L7", f"{OTHER.strip()}\nsecond"),
        ("L10", LONG.strip()),
    ]


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=8))
def test_a_comment_is_named_by_the_line_where_it_starts(blocks: list[tuple[int, bool]]) -> None:
    lines: list[str] = []
    expected = []
    for code_lines, long in blocks:
        lines += ["x = 1"] * (code_lines + 1)
        if long:
            expected.append(f"L{len(lines) + 1}")
        lines.append(f"# {LONG if long else 'short'}")
    assert [name for name, _ in prose.hash_comments("\n".join([*lines, ""]))] == expected
