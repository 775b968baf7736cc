"""The files that a recipe names: found, cut into parts, and known by their content."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tilth.corpus.readers.entries import Look, known_entries
from tilth.corpus.sources import Source, SourceFile, find_files, input_digests
from tilth.corpus.splits import Part, plan_parts
from tilth.recipe.recipe import Recipe
from tilth.recipe.source import SourceRecipe


@dataclass(frozen=True)
class Inputs:
    """The files of every source, and the parts they are cut into."""

    sources: Mapping[str, Source]
    files: tuple[SourceFile, ...]
    part_bytes: int  # on disk
    parts: tuple[Part, ...]  # as far as no file need be looked into

    @property
    def bytes(self) -> int:
        """Bytes on disk."""
        return sum(file.size for file in self.files)

    def of(self, source: str) -> list[SourceFile]:
        """Return the files of one source."""
        return [file for file in self.files if file.source == source]

    def digests(self, cache: Path, *, remember: bool = True) -> dict[str, dict[str, str]]:
        """Return the digest of every file by source and relative name; ``cache`` knows, and remembers, those of files.

        Nothing is written with ``remember`` false.
        """
        return {name: input_digests(self.of(name), cache, remember=remember) for name in self.sources}

    def cut(self, cache: Path, look: Look | None) -> tuple[Part, ...]:
        """Return the parts, large packed files cut where they can be entered; ``cache`` remembers the places.

        ``look`` is told how many files of how many were looked into. Without it none is opened: one that ``cache`` does
        not know stays whole.
        """
        entries = known_entries(self.sources, self.files, self.part_bytes, cache, look)
        limited = {name for name, one in self.sources.items() if one.limit is not None}
        return plan_parts(self.files, self.part_bytes, limited, entries)


def find_inputs(recipe: Recipe, base: Path) -> Inputs:
    """Find the files that a recipe names, relative to ``base``. Raises ``UserError`` where one is missing."""
    sources = {entry.name: source(entry) for entry in recipe.sources}
    files = tuple(file for one in sources.values() for file in find_files(one, base))
    limited = {name for name, one in sources.items() if one.limit is not None}
    return Inputs(sources, files, recipe.part_size, plan_parts(files, recipe.part_size, limited))


def source(entry: SourceRecipe) -> Source:
    """Return the source that an entry of the recipe describes."""
    return Source(
        name=entry.name,
        paths=entry.paths,
        text=entry.text,
        id=entry.id,
        date=entry.date,
        url=entry.url,
        language=entry.language,
        metadata=None if entry.metadata is None else tuple(entry.metadata),
        format=entry.format,
        allowance=entry.allowance,
        encoding=entry.encoding,
        separator=entry.separator,
        delimiter=entry.delimiter,
        sample=entry.sample,
        limit=entry.limit,
        maximum_bytes=entry.maximum_bytes,
        maximum_lines=entry.maximum_lines,
        maximum_line_bytes=entry.maximum_line_bytes,
        maximum_seconds=entry.maximum_seconds,
    )
