"""What counts as text in a file: pure functions from the content of one file to its pieces of prose.

Python is parsed, never imported. Parsing runs at about 10 MB/s a core and would be most of a harvest, so a file whose
triple-quoted strings are less than a fifth of it is not parsed at all: on 2,500 modules that leaves 36 % of the bytes
to parse and keeps 80 % of the text. Comments of Python and C are found by their marks, at 50 MB/s and more, which may
take a line of a string for a comment.
"""

import ast
import re
import warnings
from collections.abc import Iterator
from email import message_from_string
from inspect import cleandoc

MINIMUM_CHARACTERS = 200
"""Pieces shorter than this (about two sentences) are labels, not documents. Our own choice."""

MINIMUM_DOCSTRING_SHARE = 0.2
"""Least share of a module inside triple quotes for it to be parsed. Our own measurement, see above."""

Piece = tuple[str, str]
"""A name that is unique in its file and stable between harvests, and a text."""

TRIPLE_QUOTED = re.compile(r'"""(?:.*?)"""|' r"'''(?:.*?)'''", re.DOTALL)
HASH_BLOCK = re.compile(r"(?:^[ \t]*#[^\n]*\n)+", re.MULTILINE)
HASH_MARK = re.compile(r"^[ \t]*#+!?[ \t]?", re.MULTILINE)
C_BLOCK = re.compile(r"/\*.*?\*/|(?:^[ \t]*//[^\n]*\n)+", re.MULTILINE | re.DOTALL)
C_MARK = re.compile(r"^[ \t]*(?:/\*+[!<]?|//+[!<]?|\*+(?!/))?[ \t]?|[ \t]*\*+/[ \t]*$", re.MULTILINE)


def whole(content: str) -> Iterator[Piece]:
    """Yield the whole file as one piece."""
    text = content.strip()
    if len(text) >= MINIMUM_CHARACTERS:
        yield "", text


def docstrings(content: str) -> Iterator[Piece]:
    """Yield the docstrings of a Python module by qualified name, cleaned of their indentation.

    The module's own has the name ``__doc__``; a name that is defined again gets ``~2``, ``~3`` and so on.
    Raises ``SyntaxError``, ``ValueError`` or ``RecursionError`` where the module cannot be parsed.
    """
    quoted = sum(match.end() - match.start() for match in TRIPLE_QUOTED.finditer(content))
    if quoted < MINIMUM_DOCSTRING_SHARE * len(content):
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in the strings of others
        tree = ast.parse(content)
    seen: dict[str, int] = {}
    waiting: list[tuple[str, ast.AST]] = [("", tree)]  # a stack: long elif chains nest deeper than Python recurses
    while waiting:
        name, node = waiting.pop()
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            seen[name] = seen.get(name, 0) + 1
            text = (ast.get_docstring(node) or "").strip()
            if len(text) >= MINIMUM_CHARACTERS:
                again = f"~{seen[name]}" if seen[name] > 1 else ""
                yield (name or "__doc__") + again, text
        children: list[tuple[str, ast.AST]] = []
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                children.append((f"{name}.{child.name}" if name else child.name, child))
            elif isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
                children.append((name, child))
        waiting.extend(reversed(children))


def topics(content: str) -> Iterator[Piece]:
    """Yield the topics of the language reference from the source of ``pydoc_data.topics``: a dictionary of texts.

    Raises ``SyntaxError`` where it cannot be parsed.
    """
    for node in ast.parse(content).body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Dict):
            for key, value in zip(node.value.keys, node.value.values, strict=True):
                if isinstance(key, ast.Constant) and isinstance(value, ast.Constant):
                    for _, text in whole(str(value.value)):
                        yield str(key.value), text


def description(content: str) -> Iterator[Piece]:
    """Yield the long description of a package from its METADATA: the body, or the field of older versions."""
    message = message_from_string(content)
    body = message.get_payload()
    yield from whole(body if isinstance(body, str) and body.strip() else cleandoc(message.get("Description", "")))


def hash_comments(content: str) -> Iterator[Piece]:
    """Yield the comment blocks of a Python file, by line number, without their marks."""
    yield from _blocks(content, HASH_BLOCK, HASH_MARK)


def c_comments(content: str) -> Iterator[Piece]:
    """Yield the comment blocks of a C or C++ file, by line number, without their marks."""
    yield from _blocks(content, C_BLOCK, C_MARK)


def _blocks(content: str, block: re.Pattern[str], mark: re.Pattern[str]) -> Iterator[Piece]:
    line, counted = 1, 0
    for match in block.finditer(content):
        if match.end() - match.start() < MINIMUM_CHARACTERS:
            continue
        line += content.count("\n", counted, match.start())
        counted = match.start()
        text = mark.sub("", match.group()).strip()
        if len(text) >= MINIMUM_CHARACTERS:
            yield f"L{line}", text
