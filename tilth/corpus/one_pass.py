"""A pass: stages that follow one another and judge every document by itself, over one part that is read once.

What leaves a stage enters the next one in memory, and each stage still commits a part of its own, the same bytes as if
it had read them from the stage before. On six corpora with Gopher's, C4's and FineWeb's rules this reads a text twice
where one stage after another reads it ten times.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from tilth.corpus.document import DOCUMENT
from tilth.corpus.stage import Effect, MapStage, Outcome
from tilth.corpus.store import ALWAYS_READ, Lineage, PartWriter, part_name, write_atomically

TIMES = "times"  # below a stage folder while the stage is at work: processor seconds of every stage of a pass, by part


@dataclass(frozen=True)
class Place:
    """Where a stage commits its parts, and under which fingerprint."""

    folder: Path
    fingerprint: str


@dataclass(frozen=True)
class Pass:
    """Map stages over one part, each of which commits its own."""

    stages: tuple[MapStage, ...]
    places: tuple[Place, ...]
    lineage: Lineage  # of the documents that enter the first stage
    part: int

    @property
    def folder(self) -> Path:
        """The folder of the first stage: failures are left there."""
        return self.places[0].folder

    @property
    def name(self) -> str:
        """Stages and part."""
        return f"{pass_name(self.stages)} part {self.part}"

    def run(self) -> None:
        """Apply all stages to every batch of the part; commit in their order."""
        spent = [0.0] * len(self.stages)
        with ExitStack() as stack:
            writers = [
                stack.enter_context(PartWriter(place.folder, self.part, place.fingerprint, stage.effect))
                for stage, place in zip(self.stages, self.places, strict=True)
            ]
            columns, needs = what_is_read(self.stages)
            last = time.thread_time()
            for batch in self.lineage.read(self.part, columns, needs):
                for number, (entered, outcome) in enumerate(flow(self.stages, batch)):
                    writers[number].judge(entered, outcome)
                    now = time.thread_time()
                    spent[number] += now - last
                    last = now
            for number, writer in enumerate(writers):
                writer.commit()
                now = time.thread_time()
                spent[number] += now - last
                last = now
        write_atomically(self.folder / TIMES / f"{part_name(self.part)}.json", json.dumps(spent).encode())


def pass_name(stages: Sequence[MapStage]) -> str:
    """Return what to call a pass in a message."""
    return stages[0].name if len(stages) == 1 else f"{stages[0].name} to {stages[-1].name}"


def what_is_read(stages: Sequence[MapStage]) -> tuple[list[str], list[str]]:
    """Return the columns and the earlier signals that a pass reads: all of its stages', without what they make."""
    columns = [column for stage in stages for column in stage.columns]
    needs: list[str] = []
    made: set[str] = set()
    for stage in stages:
        needs += [name for name in stage.needs if name not in made]
        made |= set(stage.measures)
    return list(dict.fromkeys(columns)), list(dict.fromkeys(needs))


def flow(stages: Sequence[MapStage], batch: pa.RecordBatch) -> Iterator[tuple[pa.RecordBatch, Outcome]]:
    """Yield the batch that enters each stage and what the stage says about it.

    ``batch`` holds what ``what_is_read`` names. Every stage is shown the columns that it would read from the store, no
    more: it can't come to depend on its neighbours.
    """
    names = [name for name in batch.schema.names if name in DOCUMENT.names]
    documents = batch.select(names)
    signals = {name: batch.column(name) for name in batch.schema.names if name not in DOCUMENT.names}
    for stage in stages:
        entered = documents.select([*ALWAYS_READ, *(name for name in stage.columns if name not in ALWAYS_READ)])
        for name in stage.needs:
            entered = entered.append_column(name, signals[name])
        outcome = stage.apply(entered)
        yield entered, outcome
        signals = {**signals, **outcome.signals}
        if stage.effect is Effect.EDITS:
            signals = _followed(signals, documents.column("id"), outcome.kept.column("id"))
            documents = outcome.kept.select(DOCUMENT.names)
        elif outcome.drops.num_rows:
            stays = pc.invert(pc.is_in(documents.column("id"), value_set=outcome.drops.column("id")))
            documents = documents.filter(stays)
            signals = {name: values.filter(stays) for name, values in signals.items()}


def _followed(signals: Mapping[str, pa.Array], before: pa.Array, after: pa.Array) -> dict[str, pa.Array]:
    """Return signals of the documents ``before`` for those ``after``."""
    if before.equals(after):
        return dict(signals)
    places = pc.index_in(after, value_set=before)
    return {name: values.take(places) for name, values in signals.items()}
