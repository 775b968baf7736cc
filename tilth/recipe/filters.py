"""Steps of a recipe that judge or change one document at a time."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from tilth.recipe.values import Fraction, Limit, Name, SignedLimit, Strict


class NormaliseStep(Strict):
    """Line endings, control characters and Unicode composition, as recorded edits."""

    use: Literal["normalise"]
    name: Name = "normalise"


class RulesStep(Strict):
    """Measure a preset's signals, drop what lies outside its limits; edit the lines of the rest if the preset does."""

    use: Literal["rules"]
    preset: str = Field(description="name@version, such as gopher.datatrove@1")
    name: Name = "rules"
    limits: dict[str, Limit | tuple[Limit | None, Limit | None]] = Field(
        default_factory=dict, description="rule: limit, or [low, high], in place of the preset's own"
    )
    inverse: bool = Field(False, description="keep exactly the documents that the rules would drop, unedited")


class LimitsStep(Strict):
    """Drop what lies outside limits on any signals that were measured before: scores, finds, counts of lists."""

    use: Literal["limits"]
    name: Name = "limits"
    limits: dict[str, tuple[SignedLimit | None, SignedLimit | None]] = Field(
        min_length=1, description="signal: [low, high], null for none"
    )
    inverse: bool = Field(False, description="keep exactly the documents that would be dropped")


class LanguageStep(Strict):
    """Tell the language of every document, and drop those of other languages than 'keep', where it names any."""

    use: Literal["language"]
    name: Name = "language"
    keep: list[str] = Field(
        default_factory=list, description="codes, such as en; labels of the model where one is given"
    )
    at_least: Fraction = Field(0.65, description="probability; with CLD2, share of the text that is in the language")
    model: str | None = Field(None, description="a fastText language model's file, in place of CLD2")
    first_bytes: Annotated[int, Field(ge=0)] = Field(2000, description="read so much of a document; 0: all of it")
    inverse: bool = Field(False, description="keep exactly the documents that would be dropped")


class ScoreSentencesStep(Strict):
    """Give every document the worst sentence's probability of a label, and the share of such sentences."""

    use: Literal["score-sentences"]
    name: Name = "toxicity"
    model: str = Field(description="a fastText .bin or .ftz file")
    label: str = Field(description="the label whose probability counts, such as __label__toxic")
    threshold: Fraction = Field(0.5, description="probability from which a sentence counts for NAME.share")


class PersonalStep(Strict):
    """Mask mail and IP addresses, phone and card numbers and IBANs, as recorded edits."""

    use: Literal["mask-personal"]
    name: Name = "personal"
    kinds: list[Literal["iban", "card", "email", "ip", "phone"]] = Field(
        default=["iban", "card", "email", "ip", "phone"], min_length=1
    )
    masks: dict[str, str] = Field(default_factory=dict, description="kind: what stands in its place, for [EMAIL]")


class RepairStep(Strict):
    """Repair text that was decoded wrongly, with ftfy, as recorded edits."""

    use: Literal["repair"]
    name: Name = "repair"


class WordListStep(Strict):
    """Count listed words and phrases: the signals NAME.count and NAME.per_1000."""

    use: Literal["word-list"]
    name: Name = "listed"
    lists: list[str] = Field(min_length=1, description="files, one entry a line")


class UrlsStep(Strict):
    """Match URLs against block lists, and drop what they list."""

    use: Literal["urls"]
    name: Name = "urls"
    domains: list[str] = Field(default_factory=list, description="files, one domain a line; what is below it counts")
    urls: list[str] = Field(default_factory=list, description="files, one URL a line")
    words: list[str] = Field(default_factory=list, description="files; one of these words is enough")
    soft_words: list[str] = Field(default_factory=list, description="files; two of these words are enough")
    substrings: list[str] = Field(default_factory=list, description="files; looked for in letters and digits")
    inverse: bool = Field(False, description="keep exactly the documents that would be dropped")


class ProgramsStep(Strict):
    """Execute document programs (ProX) as recorded edits and drops."""

    use: Literal["programs"]
    name: Name = "programs"
    file: str | None = Field(None, description='JSON lines {"id": ..., "program": ...}')
    field: str | None = Field(None, description="of the documents' metadata, in place of a file")

    @model_validator(mode="after")
    def _one_origin(self) -> "ProgramsStep":
        if (self.file is None) == (self.field is None):
            raise ValueError("expected either 'file' or 'field'")
        return self


class DatatroveStep(Strict):
    """Apply a filter of datatrove, at its own speed."""

    use: Literal["datatrove"]
    filter: str = Field(description="a class of datatrove.pipeline.filters, such as GopherQualityFilter")
    name: Name = "datatrove"
    arguments: dict[str, Any] = Field(default_factory=dict, description="of the class")
    edits: bool = Field(False, description="the filter changes texts, as C4QualityFilter does")
