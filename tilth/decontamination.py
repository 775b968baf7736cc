"""What ``use: decontaminate`` means: an index of the benchmarks, a measurement, a certificate, then the removal.

The measurement is stored, so another share or action reads no text but that of the documents it cuts.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tilth.corpus.chain import Stored
from tilth.corpus.errors import UserError
from tilth.corpus.stage import Asset, Stage
from tilth.corpus.store import file_digest
from tilth.recipe.hold_out import DecontaminateStep

if TYPE_CHECKING:
    from tilth.filters.decontamination.benchmarks import Benchmark
    from tilth.steps import Fitting

INDEX: Final = "benchmark-index"  # folders of what is fitted, and their keys in run.json
CERTIFICATES: Final = "certificates"


def decontaminate(step: DecontaminateStep, fitting: "Fitting") -> list[Callable[[Stored], Stage]]:
    """Return what makes the stages of a step."""
    from tilth.filters.decontamination.certificate import write_certificate
    from tilth.filters.decontamination.contamination import Contamination, CutContaminated, DropContaminated
    from tilth.filters.decontamination.ngrams import index_digest, write_index
    from tilth.filters.dedup.units import describe

    places: list[Path] = []

    def measure(head: Stored) -> Stage:
        chosen = benchmarks(step, fitting.folder)
        files = {benchmark.name: [file_digest(path) for path in benchmark.files()] for benchmark in chosen}
        fields = {benchmark.name: benchmark.fields for benchmark in chosen}
        settings = {"files": files, "fields": fields, "n": step.words, "minimum": step.minimum_words, **describe()}
        build = lambda place: write_index(place, chosen, step.words, step.minimum_words)  # noqa: E731
        places.append(fitting.fitted(INDEX, step.name, settings, head, build))
        return Contamination(f"{step.name}-matches", step.name, index())

    def index() -> Asset:
        return Asset(str(places[-1]), index_digest(places[-1]))

    def remove(head: Stored) -> Stage:
        chosen = benchmarks(step, fitting.folder)
        settings = {"words": step.words, "minimum_words": step.minimum_words, **describe()}

        def build(place: Path) -> None:
            write_certificate(place, head, step.name, places[-1], chosen, settings, step.share)

        fitting.fitted(CERTIFICATES, step.name, {**settings, "share": step.share}, head, build)
        if step.action == "cut":
            return CutContaminated(step.name, step.name, index(), step.share)
        return DropContaminated(step.name, step.name, index(), step.share)

    return [measure, remove]


def benchmarks(step: DecontaminateStep, folder: Path) -> list["Benchmark"]:
    """Return the benchmarks of a step, their paths below the recipe's. Raises ``UserError`` where a file is missing."""
    from tilth.filters.decontamination.benchmarks import Benchmark

    found: list[Benchmark] = []
    for given in step.benchmarks:
        if any(one.name == given.name for one in found):
            raise UserError(f"stage '{step.name}': benchmark '{given.name}' is there twice; give each its own name")
        benchmark = Benchmark(given.name, str(folder / given.path), tuple(given.fields))
        for path in benchmark.files():
            if not path.is_file():
                raise UserError(f"stage '{step.name}': benchmark '{given.name}': {path} not found; correct 'path'")
        found.append(benchmark)
    return found
