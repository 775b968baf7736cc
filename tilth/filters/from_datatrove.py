"""Lets any filter of datatrove stand in a recipe: its verdicts become drops, its changes of a text edits.

The filter sees one document after another as datatrove's own pipeline would show it, so it is as slow as it is there
(0.3 to 1 MB/s a core). What has a preset here is decided the same and a hundred times faster by that.
"""

import importlib
import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import orjson
import pyarrow as pa

from tilth.corpus.errors import UserError
from tilth.corpus.stage import Effect, MapStage, Outcome, drop_rows
from tilth.filters.edits import Edit, apply_edits, edit_rows
from tilth.filters.normalise import common
from tilth.filters.spans import with_texts

FILTERS = "datatrove.pipeline.filters"


@dataclass(frozen=True)
class DatatroveFilter(MapStage):
    """Applies a filter of ``datatrove.pipeline.filters``, such as ``GopherQualityFilter``.

    ``arguments`` is the JSON of its keyword arguments. A drop has the rule ``NAME.reason``. Raises ``UserError`` where
    there is no such filter, where it refuses its arguments, and where it changes a text: ``EditingDatatroveFilter``
    takes such filters.
    """

    filter: str
    arguments: str = "{}"

    version: ClassVar[int] = 1
    effect: ClassVar[Effect] = Effect.DROPS
    columns: ClassVar[tuple[str, ...]] = ("text", "url", "date", "language", "metadata")

    def describe(self) -> dict[str, Any]:
        """Add the version of datatrove."""
        from importlib.metadata import version

        return {**super().describe(), "datatrove": version("datatrove")}

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """Ask the filter about every document."""
        from datatrove.data import Document

        chosen = make_filter(self.filter, self.arguments, self.name)
        gone, mask = np.zeros(batch.num_rows, np.bool_), np.zeros(batch.num_rows, np.bool_)
        reasons, changed, ids, edits = [], [], [], []
        for row, document in enumerate(batch.to_pylist()):
            metadata = orjson.loads(document["metadata"]) if document["metadata"] else {}
            metadata |= {key: document[key] for key in ("url", "date", "language") if document[key]}
            shown = Document(text=document["text"], id=document["id"].hex(), metadata=metadata)
            said = chosen.filter(shown)
            verdict, reason = said if isinstance(said, tuple) else (said, "dropped")
            if not verdict:
                gone[row] = True
                reasons.append(f"{self.name}.{reason}")
            elif shown.text != document["text"]:
                if self.effect is not Effect.EDITS:
                    raise UserError(f"{self.name}: {self.filter} changes texts; set 'edits: true' for it")
                edit = _edit(document["text"], shown.text, self.name)
                mask[row] = True
                changed.append(apply_edits(document["text"].encode(), [edit]).decode())
                ids.append(document["id"])
                edits.append([edit])
        drops = drop_rows(batch, gone, self.name, pa.array(reasons, pa.string()))
        kept = with_texts(batch, mask, pa.array(changed)) if changed else batch
        return Outcome(kept.filter(pa.array(~gone)), drops, edit_rows(ids, edits))


@dataclass(frozen=True)
class EditingDatatroveFilter(DatatroveFilter):
    """The same for a filter that changes texts, such as ``C4QualityFilter``: each change is one recorded edit."""

    effect: ClassVar[Effect] = Effect.EDITS


def _edit(before: str, after: str, rule: str) -> Edit:
    """Return the one edit that leads from a text to another, trimmed to what differs."""
    head = common(before, after)
    tail = common(before[:head:-1], after[:head:-1]) if min(len(before), len(after)) > head else 0
    original = before[head : len(before) - tail]
    start = len(before[:head].encode())
    return Edit(start, start + len(original.encode()), after[head : len(after) - tail], original, rule)


@lru_cache(maxsize=8)
def make_filter(name: str, arguments: str, stage: str) -> Any:
    """Return a filter of datatrove, made once a process. Raises ``UserError`` for what it refuses."""
    from datatrove.pipeline.filters.base_filter import BaseFilter

    try:
        kind = getattr(importlib.import_module(FILTERS), name, None)
    except ImportError as error:  # a package that datatrove's filters need
        raise UserError(f"{stage}: datatrove's filters need a package: {error}; install it") from error
    if not (isinstance(kind, type) and issubclass(kind, BaseFilter)):
        raise UserError(f"{stage}: filter: {FILTERS} has no filter '{name}'; expected one such as GopherQualityFilter")
    try:
        return kind(**json.loads(arguments))
    except (TypeError, ValueError, ImportError) as error:
        raise UserError(f"{stage}: {name} refuses its arguments: {' '.join(str(error).split())}") from error
