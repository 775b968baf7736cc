"""Small JSON files that other steps recorded, read with one clear line where one is missing or damaged."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from tilth.corpus.errors import UserError


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file. Raises ``UserError`` where there is none."""
    try:
        data = orjson.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); run the same command again to write it") from error
    except orjson.JSONDecodeError as error:
        raise UserError(f"{path}: not valid JSON ({error}); delete it and run the same command again") from error
    if not isinstance(data, dict):
        raise UserError(f"{path}: found {type(data).__name__}, expected an object; delete it and run again")
    return data


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the JSON object of every line. A last line that a killed run left half written is left out."""
    try:
        stream = path.open("rb")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); run the same command again to write it") from error
    with stream:
        for number, line in enumerate(stream, 1):
            if not line.endswith(b"\n"):
                return
            try:
                yield orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise UserError(f"{path}:{number}: not valid JSON ({error}); delete the line or the file") from error


def field_of(data: dict[str, Any], name: str, path: Path) -> Any:
    """Return a field that has to be there. Raises ``UserError`` where it is not."""
    if name not in data:
        raise UserError(f"{path}: field '{name}' not found; found {', '.join(data) or 'nothing'}; run the step again")
    return data[name]
