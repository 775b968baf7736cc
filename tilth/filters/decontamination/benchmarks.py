"""Reads evaluation sets: JSON lines, or an lm-eval task file with its data on disk; each example as its passages.

A passage is one text of an example: a question, a story, a choice. N-grams never cross from one to the next, since a
web page seldom keeps them together in the benchmark's own order.
"""

import gzip
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import yaml

from tilth.corpus.errors import UserError


@dataclass(frozen=True)
class Benchmark:
    """An evaluation set: ``path`` is JSON lines (plain, .gz or .zst) or an lm-eval task (.yaml).

    ``fields`` name what to take of a record, dots reaching into nested ones; without them every text in it is taken.
    """

    name: str
    path: str
    fields: tuple[str, ...] = ()

    def files(self) -> list[Path]:
        """Return the files that the examples come from, the task file included. Raises ``UserError``."""
        path = Path(self.path)
        return [path, *task_files(read_task(path), path)] if is_task(path) else [path]

    def examples(self) -> Iterator[list[str]]:
        """Yield the passages of every example. Raises ``UserError`` for what cannot be read, naming file and line."""
        path = Path(self.path)
        if not is_task(path):
            for line, record in records(path):
                yield [text for text in self._passages(record, path, line) if text.strip()]
            return
        task = read_task(path)
        templates = [_template(task[key], path, key) for key in ("doc_to_text", "doc_to_target") if key in task]
        if not templates:
            raise UserError(f"{path}: found neither doc_to_text nor doc_to_target, expected a task of lm-eval")
        for file in task_files(task, path):
            for line, record in records(file):
                if not isinstance(record, Mapping):
                    raise UserError(f"{file}:{line}: found {type(record).__name__}, expected a JSON object")
                texts = [text for template in templates for text in _rendered(template, record, path)]
                yield [text for text in texts if text.strip()]

    def _passages(self, record: Any, path: Path, line: int) -> list[str]:
        if not self.fields:
            return texts_in(record)
        found = []
        for name in self.fields:
            value = record
            for key in name.split("."):
                if not isinstance(value, Mapping) or key not in value:
                    known = ", ".join(record) if isinstance(record, Mapping) else type(record).__name__
                    raise UserError(f"{path}:{line}: benchmark '{self.name}': no field '{name}'; found {known}")
                value = value[key]
            found += texts_in(value)
        return found


def texts_in(value: Any) -> list[str]:
    """Return every text in a JSON value, in its order."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for item in value.values() for text in texts_in(item)]
    if isinstance(value, Sequence):
        return [text for item in value for text in texts_in(item)]
    return []


def records(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield the line number and the value of every record of a JSON lines file. Raises ``UserError``."""
    try:
        with path.open("rb") as raw:
            stream: Any = raw
            if path.suffix == ".gz":
                stream = gzip.open(raw)  # noqa: SIM115 (it closes with the file below it)
            elif path.suffix == ".zst":
                import zstandard

                stream = io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(raw))
            for number, line in enumerate(stream, 1):
                if line.strip():
                    try:
                        yield number, orjson.loads(line)
                    except orjson.JSONDecodeError as error:
                        raise UserError(f"{path}:{number}: not JSON ({error}); expected one record a line") from error
    except (OSError, EOFError) as error:
        raise UserError(f"{path}: cannot be read ({error}); give the path of an evaluation set") from error


def is_task(path: Path) -> bool:
    """Tell whether a file is an lm-eval task by its name."""
    return path.suffix in (".yaml", ".yml")


class _Loader(yaml.SafeLoader):
    """Safe YAML in which ``!function`` is a marked value: nothing of a task file is run."""


class _Function(str):
    """The name of Python code that a task would call."""


_Loader.add_constructor("!function", lambda loader, node: _Function(node.value))


def read_task(path: Path) -> dict[str, Any]:
    """Return an lm-eval task as it is written. Raises ``UserError`` where it is none or includes another."""
    try:
        task = yaml.load(path.read_text("utf-8"), _Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(
            f"{path}: cannot be read ({' '.join(str(error).split())}); expected a task of lm-eval"
        ) from error
    if not isinstance(task, dict):
        raise UserError(f"{path}: found {type(task).__name__}, expected a mapping with doc_to_text and dataset_kwargs")
    if "include" in task:
        raise UserError(f"{path}: include: found {task['include']!r}; write what it includes into this file")
    return task


def task_files(task: Mapping[str, Any], path: Path) -> list[Path]:
    """Return the data files of a task, relative to it. Raises ``UserError`` where its data are not on disk."""
    kwargs = task.get("dataset_kwargs")
    data = kwargs.get("data_files") if isinstance(kwargs, Mapping) else None
    if task.get("dataset_path") != "json" or data is None:
        raise UserError(
            f"{path}: found dataset_path {task.get('dataset_path')!r}, expected 'json' with dataset_kwargs.data_files; "
            "save the evaluation set as JSON lines and name it there"
        )
    names = texts_in(data)
    if not names:
        raise UserError(f"{path}: dataset_kwargs.data_files names no file")
    return [path.parent / name for name in names]


def _template(value: Any, path: Path, key: str) -> Any:
    """Return a field's name, or a compiled template that can reach nothing but the record."""
    from jinja2 import TemplateSyntaxError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    if isinstance(value, _Function) or not isinstance(value, str):
        raise UserError(f"{path}: {key}: found {value!r}, expected a template; code of a task is not run")
    if "{{" not in value and "{%" not in value:
        return value
    try:
        return ImmutableSandboxedEnvironment().from_string(value)
    except TemplateSyntaxError as error:
        raise UserError(f"{path}: {key}: {error.message}; expected a Jinja template") from error


def _rendered(template: Any, record: Mapping[str, Any], path: Path) -> list[str]:
    from jinja2 import TemplateError

    if isinstance(template, str):  # a field's name; a label's number has no text
        return texts_in(record.get(template, template))
    try:
        return [template.render(**{str(key): value for key, value in record.items()})]
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
        raise UserError(f"{path}: a template failed on a record ({error}); name the fields in the recipe") from error
