"""Document programs (ProX, Zhou et al. 2024): what a model or a person wrote about a text, executed as edits with undo.

A program is data: a few lines, each one call of an allow-listed function with literal arguments. Every line is parsed
by ``ast`` and nothing is ever evaluated. ProX's own executor cuts at ``=`` and ``,``, which breaks addresses, runs
beyond its chunk and fails on a blank document; here spans are found first and applied once, so none can go further.
"""

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tilth.filters.edits import Edit

FUNCTIONS: Final[dict[str, tuple[tuple[str, type], ...]]] = {
    "drop_doc": (),
    "keep_doc": (),
    "keep_chunk": (),
    "untouch_doc": (),
    "remove_lines": (("start", int), ("end", int)),
    "normalize": (("source_str", str), ("target_str", str)),
}
MOST_CHARACTERS: Final = 20_000  # of a program; ProX writes at most 256 tokens
MOST_CALLS: Final = 100
MOST_EDITS: Final = 10_000  # of a document
MOST_BAD: Final = 1  # calls that make no sense; with more the document stays as it is (ProX: two)
LEAST_LEFT: Final = 0.05  # share of the bytes; ProX empties a document of which less is left
FEWEST_WORDS: Final = 11  # and one of at most ten words


@dataclass(frozen=True)
class Call:
    """One call of a program: a function of ``FUNCTIONS`` and its arguments in order."""

    function: str
    arguments: tuple[int | str, ...] = ()


@dataclass(frozen=True)
class Chunk:
    """A program and the lines (counted from 0, ``last`` inclusive, None for the end) that it may touch and counts."""

    program: str
    first: int = 0
    last: int | None = None


@dataclass(frozen=True)
class Verdict:
    """What programs make of a document: ``drop`` names the reason, else ``edits`` are ascending and apart.

    ``bad`` counts the calls that could not be read or made no sense.
    """

    edits: tuple[Edit, ...] = ()
    drop: str | None = None
    bad: int = 0


def parse(program: str) -> tuple[list[Call], int]:
    """Read a program line by line; return its calls and how many lines are none. Nothing is evaluated."""
    if len(program) > MOST_CHARACTERS:
        return [], MOST_BAD + 1
    calls, bad = [], 0
    for line in program.splitlines():
        if not line.strip() or line.strip().startswith("#"):
            continue
        call = _call(line.strip())
        if call is None:
            bad += 1
        else:
            calls.append(call)
    return (calls, bad) if len(calls) <= MOST_CALLS else ([], MOST_BAD + 1)


def _call(line: str) -> Call | None:
    """Return the call that a line spells, None where it spells none."""
    try:
        node = ast.parse(line, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # no program, NUL, brackets without end
        return None
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS:
        return None
    wanted = FUNCTIONS[node.func.id]
    given: dict[str, ast.expr] = dict(zip((name for name, _ in wanted), node.args, strict=False))
    if len(node.args) > len(wanted):
        return None
    for keyword in node.keywords:
        if keyword.arg is None or keyword.arg in given or keyword.arg not in dict(wanted):
            return None
        given[keyword.arg] = keyword.value
    if node.func.id == "normalize":
        given.setdefault("target_str", ast.Constant(""))
    values: list[int | str] = []
    for name, kind in wanted:
        value = given.get(name)
        literal = value.value if isinstance(value, ast.Constant) else None
        if type(literal) is not kind or not isinstance(literal, int | str):
            return None
        if isinstance(literal, str) and _lone(literal):
            return None
        values.append(literal)
    return Call(node.func.id, tuple(values))


def _lone(text: str) -> bool:
    """Tell whether a text holds half of a surrogate pair, which no UTF-8 can."""
    return any(0xD800 <= ord(mark) < 0xE000 for mark in text)


def execute(text: str, chunks: Sequence[Chunk], rule: str = "programs") -> Verdict:
    """Return what the programs of a document's chunks make of it; undo is ``tilth.filters.edits.restore``.

    Lines end at line feeds. Line numbers are clamped to the chunk. Where calls overlap, removed lines win, then the
    first of the replacements. The document stays as it is where more than ``MOST_BAD`` calls make no sense or the
    edits exceed their budget (``MOST_EDITS``, and no more bytes than twice the text's); it drops where it asks for it
    (``drop_doc``) and where hardly anything is left (``little_left``).
    """
    data = text.encode()
    starts = [0, *(match.end() for match in re.finditer(b"\n", data))]
    if starts[-1] == len(data) and len(starts) > 1:
        starts.pop()
    bounds = [*starts, len(data)]
    removed: set[int] = set()
    replaced: list[tuple[int, int, str]] = []
    bad = 0
    for chunk in chunks:
        calls, unread = parse(chunk.program)
        bad += unread
        first = min(max(0, chunk.first), len(starts))
        last = len(starts) - 1 if chunk.last is None else min(chunk.last, len(starts) - 1)
        for call in calls:
            if call.function == "drop_doc":
                return Verdict(drop="drop_doc", bad=bad)
            if call.function == "remove_lines":
                low, high = (min(max(0, int(number)), last - first) for number in call.arguments)
                if last < first or int(call.arguments[0]) > int(call.arguments[1]) or int(call.arguments[1]) < 0:
                    bad += 1
                elif int(call.arguments[0]) <= last - first:
                    removed.update(range(first + low, first + high + 1))
                else:
                    bad += 1
            elif call.function == "normalize":
                source, target = (str(value) for value in call.arguments)
                if not source or source == target or last < first:
                    bad += 1
                    continue
                at, end = bounds[first], bounds[last + 1]
                while (at := data.find(source.encode(), at, end)) >= 0:
                    replaced.append((at, at + len(source.encode()), target))
                    at += len(source.encode())
                    if len(replaced) > MOST_EDITS:
                        return Verdict(bad=bad)
    if bad > MOST_BAD:
        return Verdict(bad=bad)
    edits = _edits(data, bounds, removed, replaced, rule)
    grown = sum(len(edit.replacement.encode()) - (edit.end - edit.start) for edit in edits)
    if len(edits) > MOST_EDITS or grown > len(data):
        return Verdict(bad=bad)
    if edits and _little_left(data, edits):
        return Verdict(drop="little_left", bad=bad)
    return Verdict(edits, bad=bad)


def _edits(
    data: bytes, bounds: Sequence[int], removed: set[int], replaced: list[tuple[int, int, str]], rule: str
) -> tuple[Edit, ...]:
    """Return the edits in order, those apart from the ones that come before them."""
    lines = [(bounds[line], bounds[line + 1]) for line in sorted(removed)]
    found = [Edit(start, end, "", "", f"{rule}.remove_lines") for start, end in lines if start < end]
    gone = sorted((edit.start, edit.end) for edit in found)
    place, last = 0, 0
    # a sort by start keeps the calls' order among equal starts
    for start, end, target in sorted(replaced, key=lambda span: span[0]):
        while place < len(gone) and gone[place][1] <= start:
            place += 1
        if start < last or (place < len(gone) and gone[place][0] < end):
            continue
        found.append(Edit(start, end, target, "", f"{rule}.normalize"))
        last = end
    found.sort(key=lambda edit: edit.start)
    return tuple(
        Edit(edit.start, edit.end, edit.replacement, data[edit.start : edit.end].decode(), edit.rule) for edit in found
    )


def _little_left(data: bytes, edits: Sequence[Edit]) -> bool:
    pieces, at = [], 0
    for edit in edits:
        pieces += [data[at : edit.start], edit.replacement.encode()]
        at = edit.end
    left = b"".join([*pieces, data[at:]])
    return len(left) < LEAST_LEFT * len(data) or len(left.decode().split()) < FEWEST_WORDS
