"""What readers hand out: documents, and a drop for every record that could not become one.

The law that holds in every chunk: records = documents + drops. The rest of a damaged file counts as one record.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa

from tilth.corpus.document import DOCUMENT, DROP, document_id

STAGE = "read"  # the name under which drops of readers stand in the ledger
CHUNK_BYTES = 8 << 20  # of text, unless one document alone is larger
CHUNK_ROWS = 8192

UNREADABLE = "unreadable"  # one record: no valid JSON or UTF-8, a field missing, null or of the wrong type
TOO_LARGE = "too_large"  # one record: longer than the source's maximum_bytes
DAMAGED = "damaged"  # the rest of a file or row group: corrupt or cut short; bytes are compressed bytes not read
BOMB = "decompression_bomb"  # the rest of a file that expands beyond reason; bytes likewise
TOO_MANY_LINES = "too_many_lines"  # one document: more than the source's maximum_lines
LONG_LINE = "long_line"  # one document: a line of more bytes than the source's maximum_line_bytes
EXTRACTION_TIME = "extraction_time"  # one page or article: more processor time than the source's maximum_seconds
NOT_SAMPLED = "not_sampled"  # a good document that the recipe's sample leaves out
NO_DOCUMENT = "no_document"  # a record that is none by what it is: a request of a crawl, an image, a redirect

UNREAD = frozenset({DAMAGED, BOMB})  # their bytes are those of the file on disk
LEFT_OUT = frozenset({NOT_SAMPLED, NO_DOCUMENT})  # no damage: the allowance does not count them


@dataclass(frozen=True)
class Chunk:
    """``documents`` (schema DOCUMENT), ``drops`` (schema DROP) and the number of records they came from."""

    documents: pa.RecordBatch
    drops: pa.RecordBatch
    records: int

    def first(self, documents: int) -> "Chunk":
        """Return the chunk with its first ``documents`` only; what was lost before and after them stays."""
        kept = self.documents.slice(0, documents)
        return Chunk(kept, self.drops, self.records - self.documents.num_rows + kept.num_rows)


class Refused(Exception):
    """Why a record is no document: the rule and the reason of its drop, and the limit it passed, if it was one."""

    def __init__(self, rule: str, reason: str, limit: float | None = None) -> None:
        super().__init__(reason)
        self.rule = rule
        self.limit = limit


class Lost(NamedTuple):
    """A record, or the rest of a file, that became no document."""

    position: int  # byte offset in the decompressed file (JSON lines) or row number (Parquet)
    size: int  # bytes of the raw record
    rule: str
    reason: str
    value: float | None = None
    limit: float | None = None

    @staticmethod
    def refused(position: int, size: int, refused: Refused) -> "Lost":
        """Return what a record becomes that was refused."""
        return Lost(position, size, refused.rule, str(refused), None, refused.limit)


def drops(source: str, relative: str, lost: Sequence[Lost]) -> pa.RecordBatch:
    """Turn lost records into drops; the detail is ``file:position: reason``."""
    rows = len(lost)
    columns = {
        "id": [document_id(source, locator(relative, row.position)) for row in lost],
        "source": [source] * rows,
        "bytes": [row.size for row in lost],
        "stage": [STAGE] * rows,
        "rule": [row.rule for row in lost],
        "value": [row.value for row in lost],
        "limit": [row.limit for row in lost],
        "other": [None] * rows,
        "detail": [f"{relative}:{row.position}: {' '.join(row.reason.split())}" for row in lost],
    }
    return pa.RecordBatch.from_arrays([pa.array(columns[f.name], f.type) for f in DROP], schema=DROP)


def locator(relative: str, position: int) -> str:
    """Name a record by its place: what ``document_id`` takes where the recipe names no id field."""
    return f"{relative}#{position}"


def no_documents() -> pa.RecordBatch:
    """Return a document batch without rows."""
    return pa.RecordBatch.from_arrays([pa.array([], f.type) for f in DOCUMENT], schema=DOCUMENT)
