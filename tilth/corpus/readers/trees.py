"""Folders of texts, Markdown and HTML pages: one file is one document, held whole, up to the source's cap.

A document that is cut in the middle is no document, so damage costs the file. The front matter of a Markdown page
(YAML between two lines of ``---``, as site generators write it) becomes fields that the recipe can name.
"""

from collections.abc import Iterator
from typing import Any

import yaml

from tilth.corpus.readers.chunk import UNREADABLE, Chunk, Lost, Refused
from tilth.corpus.readers.decompress import Gap
from tilth.corpus.readers.html import page
from tilth.corpus.readers.records import Record, record_chunks, too_large
from tilth.corpus.readers.separated import separated_records
from tilth.corpus.readers.stream import stream
from tilth.corpus.sources import Source
from tilth.corpus.splits import Slice

FRONT_MATTER_BYTES = 64 << 10
FENCE = "---\n"


def read_tree(source: Source, piece: Slice) -> Iterator[Chunk]:
    """Yield the document of a text, Markdown or HTML file; of a text file with separators, its documents."""
    return record_chunks(source, piece.file.relative, tree_records(source, piece))


def tree_records(source: Source, piece: Slice) -> Iterator[Record | Lost]:
    """Yield what stands in ``piece``."""
    if piece.file.format == "text" and source.separator is not None:
        yield from separated_records(source, piece)
        return
    found = whole(source, piece)
    if isinstance(found, Lost):
        yield found
        return
    about: dict[str, Any] = {"path": piece.file.relative}
    size = len(found)
    if piece.file.format == "html":
        try:
            yield Record(0, size, {**about, **page(found, None, source.maximum_seconds)})
        except Refused as refused:
            yield Lost.refused(0, size, refused)
        return
    try:
        text = found.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        yield Lost(0, size, UNREADABLE, f"is not {source.encoding} (byte {error.start})")
        return
    if piece.file.format == "markdown":
        matter, text = front_matter(text)
        about = {**matter, **about}
    yield Record(0, size, {**about, "text": text})


def whole(source: Source, piece: Slice) -> bytes | Lost:
    """Return all bytes of a file, or why it is lost."""
    blocks: list[bytes] = []
    size = 0
    for block in stream(source, piece):
        if isinstance(block, Gap):
            return Lost(0, piece.file.size, block.rule, block.reason)
        size += len(block)
        if size <= source.maximum_bytes:
            blocks.append(block)
        else:
            blocks.clear()
    return b"".join(blocks) if size <= source.maximum_bytes else too_large(0, size, source.maximum_bytes)


class PlainLoader(yaml.SafeLoader):
    """Safe YAML without aliases, of which a few lines can name a value a billion times; dates stay as they are."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Refuse an alias, build anything else."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not read")
        return super().compose_node(parent, index)


PlainLoader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def front_matter(text: str) -> tuple[dict[str, Any], str]:
    """Return the fields of a page's front matter, and the text behind it; where there is none, all is text."""
    start = text.replace("\r\n", "\n", 1)
    if not start.startswith(FENCE):
        return {}, text
    end = text.find("\n---", len(FENCE) - 1, FRONT_MATTER_BYTES)
    if end < 0:
        return {}, text
    rest = text[end + len("\n---") :].lstrip(" \t\r")
    if rest and not rest.startswith("\n"):
        return {}, text
    try:
        found = yaml.load(text[len(FENCE) : end + 1], PlainLoader)
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}, text  # it only looked like front matter
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        return {}, text
    return found, rest.removeprefix("\n")
