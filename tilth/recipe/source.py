"""A source in a recipe: where raw text of one domain lies and what its fields are called."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from tilth.corpus.sources import Format
from tilth.recipe.values import Fraction, Name, Positive, Size, Strict, parse_size


class SourceRecipe(Strict):
    """One domain of raw text: its files, and the names of its fields."""

    name: Name = Field(description="what the ledger, quotas and reports call it")
    path: str | Annotated[list[str], Field(min_length=1)] = Field(
        description="files or globs, relative to the recipe; their suffix tells the format"
    )
    text: str = Field("text", description="field that holds the text; dots reach into nested fields")
    id: str | None = Field(None, description="field with the record's own id; without it, its place in the file")
    date: str | None = Field(None, description="field with the date")
    url: str | None = Field(None, description="field with the URL")
    language: str | None = Field(None, description="field with the language")
    metadata: list[str] | None = Field(
        None, description="further fields to keep as JSON, by top-level name; by default all, [] for none"
    )
    format: Format | None = Field(None, description="where the suffix does not tell")
    encoding: str = Field("utf-8", description="of the text, such as cp1252; 'detect' finds it, file by file")
    separator: str | None = Field(None, description="of plain text: what stands between two documents of one file")
    delimiter: str | None = Field(None, description="of CSV: what stands between two fields, in place of a comma")
    sample: Fraction = Field(1.0, description="share of the documents to keep, by a hash of their identity")
    limit: Positive | None = Field(None, description="documents at most, the first ones; one worker reads them")
    allowance: float = Field(
        0.01, ge=0, le=1, description="share of records that may be unreadable before the run stops"
    )
    maximum_bytes: Size = Field(64 << 20, gt=0, le=1 << 30, description="of one record; a longer one becomes a drop")
    maximum_lines: Positive = Field(1_000_000, description="of one document")
    maximum_line_bytes: Annotated[int, BeforeValidator(parse_size), Field(gt=0)] | None = Field(
        None, description="of a document's longest line"
    )
    maximum_seconds: float = Field(
        10.0, gt=0, allow_inf_nan=False, description="of processor time to extract one page or article"
    )

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths as a tuple."""
        return (self.path,) if isinstance(self.path, str) else tuple(self.path)
