"""Reading a recipe: one YAML file, checked as a whole before anything runs, every mistake told in one line.

Unknown keys are refused with the nearest known name: a misspelt limit that is silently ignored costs more than any
other mistake.
"""

import difflib
import re
import reprlib
from collections.abc import Hashable
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tilth.corpus.errors import UserError
from tilth.recipe.recipe import Misfit, Recipe, Step

MEMBER = re.compile(r"\[|^constrained-|^str$")  # how pydantic calls members of a union: list[str], constrained-float
MOST_VALUES = 100_000  # in a recipe, every alias counted each time: a few lines of aliases can stand for billions


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice, where plain YAML would let the last one win.

    It also says where a value is that YAML's own constructors stumble over.
    """

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Build a value; a number that no field could take is refused here, since Python would not even show it."""
        try:
            value = super().construct_object(node, deep)
        except ValueError as error:  # a date that there is not, thousands of digits
            raise yaml.MarkedYAMLError(problem=str(error), problem_mark=node.start_mark) from error
        if isinstance(value, int) and value.bit_length() > 64:
            raise yaml.MarkedYAMLError(problem="a number beyond 64 bits", problem_mark=node.start_mark)
        return value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Build a mapping, every key once."""
        seen = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key must be a word", problem_mark=key_node.start_mark)
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"key '{key}' is given twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def load_recipe(path: Path) -> Recipe:
    """Read and check a recipe. Raises ``UserError``: file, line, field, found, expected."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such recipe; 'tilth init' writes one to start from") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    try:
        tree = yaml.compose(text, yaml.SafeLoader)
        if tree is not None and _values(tree, {}) > MOST_VALUES:
            raise yaml.YAMLError(f"its aliases stand for more than {MOST_VALUES:,} values; write them out")
        data = yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(f"{path}{line}: not valid YAML: {_one_line(str(error.problem))}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid YAML: {_one_line(str(error))}") from error
    if not isinstance(data, dict):
        found = "nothing" if data is None else type(data).__name__
        raise UserError(f"{path}: expected a mapping with 'name' and 'sources', found {found}")
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        raise UserError(_explain(path, error, tree)) from error


def _explain(path: Path, error: ValidationError, tree: yaml.Node | None) -> str:
    # a misspelt key often makes a required one missing: the misspelling is what to mend
    details = sorted(error.errors(), key=lambda detail: detail["type"] != "extra_forbidden")
    top = _place(details[0])
    # each member of a union says why it does not fit; the one that got furthest is the one that was meant
    same = [detail for detail in details if _place(detail)[: len(top)] == top]
    first = max(same, key=lambda detail: len(_place(detail)))
    place = _place(first)
    line = _line(tree, list(place))
    others = len({_place(detail) for detail in details if detail not in same})
    more = f" (and {others} more)" if others else ""
    field = ".".join(str(item) for item in place)
    said = _one_line(f"{f'{field}: ' if field else ''}{_message(first)}{more}")
    return f"{path}{f':{line}' if line else ''}: {said}"


def _one_line(text: str) -> str:
    """Return ``text`` without line breaks and control characters, which keys of a mapping may hold, too."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def _place(detail: ErrorDetails) -> tuple[int | str, ...]:
    """Return the keys that lead to what is wrong, without what pydantic puts in to name a union's member."""
    error = detail.get("ctx", {}).get("error")
    location = [*detail["loc"], *(error.place if isinstance(error, Misfit) else ())]
    if len(location) > 2 and location[0] == "stages" and location[2] in TAGS:
        del location[2]
    return tuple(item for item in location if not (isinstance(item, str) and MEMBER.search(item)))


def _values(node: yaml.Node, known: dict[int, int]) -> int:
    """Count the values below a node, those behind an alias each time; ``known`` are the counts of nodes so far."""
    if id(node) not in known:
        known[id(node)] = MOST_VALUES + 1  # until it is counted: what holds itself has no end
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        items = node.value if isinstance(node, yaml.SequenceNode) else [item for pair in pairs for item in pair]
        known[id(node)] = 1 + sum(_values(item, known) for item in items)
    return known[id(node)]


def _message(detail: ErrorDetails) -> str:
    kind, found, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        key = str(detail["loc"][-1])
        known = _known_keys(detail["loc"])
        near = difflib.get_close_matches(key, known, 1, cutoff=0.5)
        return "unknown key; " + (f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(known)}")
    if kind == "missing":
        return "missing; give it a value"
    if kind == "union_tag_invalid":
        near = difflib.get_close_matches(str(context["tag"]), sorted(TAGS), 1)
        hint = f"did you mean '{near[0]}'?" if near else f"expected one of {', '.join(sorted(TAGS))}"
        return f"use: '{context['tag']}' is unknown; {hint}"
    if kind == "union_tag_not_found":
        return f"expected 'use' with one of {', '.join(sorted(TAGS))}"
    if kind == "value_error":
        return str(context["error"])
    text = detail["msg"][0].lower() + detail["msg"][1:]
    shown = reprlib.repr(found)
    return f"{text}, found {shown if len(shown) <= 60 else shown[:57] + '...'}"


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    """Return the keys that the model at a location knows."""
    models: list[type[BaseModel]] = [Recipe]
    for item in location[:-1]:
        if item in TAGS:
            models = [model for model in models if _tag(model) == item]
        elif isinstance(item, str):
            fields = [model.model_fields[item] for model in models if item in model.model_fields]
            models = [model for field in fields for model in _models_in(field.annotation)]
    return [key for model in models for key in model.model_fields]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]


def _tag(step: type[BaseModel]) -> str:
    """Return the word that 'use' names a step by."""
    return str(get_args(step.model_fields["use"].annotation)[0])


TAGS = {_tag(step): step for step in _models_in(Step)}


def _line(tree: yaml.Node | None, place: list[int | str]) -> int | None:
    """Return the line (from 1) of the deepest node that the path reaches."""
    if tree is None:
        return None
    node, line = tree, tree.start_mark.line + 1
    for item in place:
        if isinstance(node, yaml.SequenceNode) and isinstance(item, int) and item < len(node.value):
            node = node.value[item]
            line = node.start_mark.line + 1
        elif isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == str(item)]
            if not found:
                break
            line = found[0][0].start_mark.line + 1
            node = found[0][1]
        else:
            break
    return line
