"""The Beam engine: the same stages as DoFns and GroupByKey, on any Beam runner.

The runner is named explicitly: Beam's default for Python first tries to download Prism. ``DirectRunner`` is its
FnApiRunner, in this process. Keyed rows travel as Arrow IPC bytes under their partition, so that a group stage's
reduction sees whole partitions, the same tables as on the local engine, and a runner sees few large groups.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from tilth.corpus.errors import UserError
from tilth.corpus.tasks import GroupJob, Task, failure_folder, run_task

logging.disable(logging.WARNING)  # Beam's import warns of absent cloud clients
try:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
except ImportError as error:
    raise UserError("engine 'beam' needs Apache Beam: pip install 'tilth[beam]'") from error
finally:
    logging.disable(logging.NOTSET)


@dataclass(frozen=True)
class BeamEngine:
    """Runs on the Beam runner of that name; ``workers`` is a hint to the direct runner."""

    runner: str = "DirectRunner"
    workers: int = 1

    def _pipeline(self) -> Any:
        if self.runner == "DirectRunner":
            return beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions(["--direct_num_workers=1"]))
        return beam.Pipeline(options=PipelineOptions([f"--runner={self.runner}"]))

    def run(self, tasks: Sequence[Task]) -> None:
        """Run every task as an element of a collection."""
        if not tasks:
            return
        with self._pipeline() as pipeline:
            _ = pipeline | "Tasks" >> beam.Create(list(tasks), reshuffle=True) | "Run" >> beam.ParDo(RunTask())

    def group(self, job: GroupJob, parts: Sequence[int]) -> None:
        """Key, GroupByKey by partition, reduce, CoGroupByKey by part, apply."""
        with self._pipeline() as pipeline:
            rows = (
                pipeline
                | "Parts" >> beam.Create(range(job.parts), reshuffle=True)
                | "Key" >> beam.ParDo(Key(job))
                | "Gather" >> beam.GroupByKey()
                | "Reduce" >> beam.ParDo(Reduce(job))
            )
            wanted = pipeline | "Wanted" >> beam.Create([(part, b"") for part in parts])
            _ = (
                {"rows": rows, "wanted": wanted}
                | "Bring home" >> beam.CoGroupByKey()
                | "Apply" >> beam.ParDo(Apply(job))
            )


class RunTask(beam.DoFn):
    """Run one task."""

    def process(self, element: Any) -> None:  # Beam cannot check a Protocol
        """Run the task; it commits its own result."""
        run_task(element)


@dataclass(frozen=True)
class _Step:
    """Adapts one step of a group job to ``run_task``, which leaves a user's errors in the store."""

    job: GroupJob
    name: str
    work: Any

    @property
    def folder(self) -> Any:
        """The stage folder."""
        return self.job.folder

    def run(self) -> None:
        """Do the step."""
        self.work()


class Key(beam.DoFn):
    """Part -> (partition, keyed rows)."""

    def __init__(self, job: GroupJob) -> None:
        self.job = job

    def process(self, element: int) -> Iterator[tuple[int, bytes]]:
        """Yield every non-empty partition of the part, more than once where they are large."""
        found: list[tuple[int, bytes]] = []

        def work() -> None:
            for keyed in self.job.keyed(element):
                found.extend((number, to_bytes(rows)) for number, rows in keyed.items())

        run_task(_Step(self.job, f"{self.job.stage.name} keys of part {element}", work))
        yield from found


class Reduce(beam.DoFn):
    """(partition, all its rows) -> (home, reduced rows)."""

    def __init__(self, job: GroupJob) -> None:
        self.job = job

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[tuple[int, bytes]]:
        """Yield the reduced rows of every part."""
        number, pieces = element
        found: list[tuple[int, bytes]] = []

        def work() -> None:
            tables = [from_bytes(piece) for piece in pieces]
            found.extend((home, to_bytes(rows)) for home, rows in self.job.reduced(tables))

        run_task(_Step(self.job, f"{self.job.stage.name} partition {number}", work))
        yield from found


class Apply(beam.DoFn):
    """(part, its reduced rows) -> a committed part."""

    def __init__(self, job: GroupJob) -> None:
        self.job = job

    def process(self, element: tuple[int, dict[str, Iterable[bytes]]]) -> None:
        """Apply the rows and commit, if the part is wanted."""
        part, streams = element
        if list(streams["wanted"]) and not failure_folder(self.job.folder).is_dir():
            tables = [from_bytes(piece) for piece in streams["rows"]]
            step = _Step(self.job, f"{self.job.stage.name} part {part}", lambda: self.job.apply(part, tables))
            run_task(step)


def to_bytes(table: pa.Table) -> bytes:
    """Return a table as an Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def from_bytes(data: bytes) -> pa.Table:
    """Return the table of an Arrow IPC stream."""
    return pa.ipc.open_stream(data).read_all()
