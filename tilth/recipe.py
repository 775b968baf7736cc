"""The recipe: one YAML file that says everything, checked as a whole before anything runs.

Paths are relative to the recipe's own folder, so a recipe and its data can be moved together. Unknown keys are refused
with the nearest known name: a misspelt limit that is silently ignored costs more than any other mistake.
"""

import difflib
import re
import reprlib
from collections.abc import Hashable
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from tilth.corpus.errors import UserError
from tilth.corpus.sources import Format

UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
NAME = r"^[a-z0-9][a-z0-9_.-]*$"
STEPS = ("read", "tokenizer", "tokens", "train", "evaluate", "report")  # what a run does beside its stages
COLUMNS = ("id", "text", "source", "url", "date", "language", "metadata", "bytes", "digest")  # of a document
MEMBER = re.compile(r"\[|^constrained-|^str$")  # how pydantic calls members of a union: list[str], constrained-float
MOST_VALUES = 100_000  # in a recipe, every alias counted each time: a few lines of aliases can stand for billions


def parse_size(value: object) -> object:
    """Turn '64 MB' into 64000000 bytes; leave anything else to pydantic."""
    if isinstance(value, str):
        match = re.fullmatch(r"\s*([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([A-Za-z]+)\s*", value)
        if match and match[2].upper() in UNITS:
            return int(Decimal(match[1]) * UNITS[match[2].upper()])
        raise ValueError(f"expected bytes, as a number or like '64 MB', found {reprlib.repr(value)}")
    return value


Size = Annotated[int, BeforeValidator(parse_size)]
Name = Annotated[str, Field(pattern=NAME, max_length=64)]
Fraction = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Limit = Annotated[float, Field(ge=0, allow_inf_nan=False)]
SignedLimit = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[int, Field(gt=0)]


class Strict(BaseModel):
    """Refuses unknown keys; cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceRecipe(Strict):
    """One domain of raw text: its files, and the names of its fields."""

    name: Name = Field(description="what the ledger, quotas and reports call it")
    path: str | Annotated[list[str], Field(min_length=1)] = Field(
        description="files or globs, relative to the recipe; .jsonl(.gz, .zst) and .parquet"
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

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths as a tuple."""
        return (self.path,) if isinstance(self.path, str) else tuple(self.path)


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


class SurvivorRecipe(Strict):
    """Who stays among duplicates."""

    priority: list[str] = Field(
        default_factory=list, description="sources, best first; by default in the recipe's order"
    )
    prefer: list[Literal["source", "quality", "newest", "oldest", "longest", "shortest"]] = Field(
        default=["source", "quality", "newest", "longest"], description="criteria in order; the id settles ties"
    )
    quality: str | None = Field(None, description="the signal that 'quality' means; without it, it says nothing")


class NearRecipe(Strict):
    """How near-duplicates are found (MinHash over shingles, bands x rows) and compared."""

    shingle: Literal["words", "characters"] = Field("words", description="units of a shingle")
    length: Annotated[int, Field(ge=1, le=1000)] = Field(5, description="units in a shingle")
    hashes: Annotated[int, Field(ge=1, le=4096)] = Field(112, description="values in a signature")
    bits: Literal[32, 64] = Field(32, description="of a value")
    bands: Annotated[int, Field(ge=1, le=4096)] = 14
    rows: Annotated[int, Field(ge=1, le=4096)] = Field(8, description="values in a band")
    threshold: Fraction = Field(0.8, description="the similarity from which a document goes")
    verify: Literal["jaccard", "containment", "signature", "none"] = Field(
        "jaccard", description="what candidates are compared by before one goes"
    )
    hubs: Annotated[int, Field(ge=1, le=1024)] = Field(
        8, description="documents of a bucket to compare all others with"
    )
    against: list[str] = Field(
        default_factory=list, description="run folders whose documents stay, by their signatures"
    )

    @model_validator(mode="after")
    def _within_the_signature(self) -> "NearRecipe":
        if self.bands * self.rows > self.hashes:
            raise ValueError(
                f"{self.bands} bands x {self.rows} rows need {self.bands * self.rows} hashes, found {self.hashes}"
            )
        return self


class DeduplicateStep(SurvivorRecipe):
    """Of the documents that are the same, or nearly so, keep the best."""

    use: Literal["deduplicate"]
    by: Literal["text", "words", "near"] = Field(
        "text", description="what must be equal: every byte, the words whatever their case and marks, or nearly all"
    )
    name: Name = "deduplicate"
    near: NearRecipe | None = Field(None, description="settings of 'by: near'")
    allowance: Annotated[float, Field(ge=0, le=1)] | dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        0.5, description="share of a source's documents that may go before the run stops; or by source"
    )

    @model_validator(mode="after")
    def _settings_apply(self) -> "DeduplicateStep":
        if self.near is not None and self.by != "near":
            raise ValueError(f"'near' is for 'by: near', found 'by: {self.by}'")
        return self


class RepeatedLinesStep(SurvivorRecipe):
    """Cut runs of lines or paragraphs that the corpus holds more than once, all but one, as recorded edits."""

    use: Literal["repeated-lines"]
    name: Name = "repeated-lines"
    unit: Literal["lines", "paragraphs"] = "lines"
    run: Annotated[int, Field(ge=1, le=1000)] = Field(3, description="units in a row that must be repeated; C4's are 3")
    minimum_words: Annotated[int, Field(ge=0)] = Field(10, description="words below which a run is not compared")


class RepeatedPassagesStep(SurvivorRecipe):
    """Cut passages of so many words that the corpus holds more than once, all but one, as recorded edits."""

    use: Literal["repeated-passages"]
    name: Name = "repeated-passages"
    words: Annotated[int, Field(ge=8, le=10_000)] = Field(50, description="least words of a passage")


class BenchmarkRecipe(Strict):
    """An evaluation set on disk."""

    name: Name
    path: str = Field(description="JSON lines (.jsonl, .gz, .zst) or a task of lm-eval (.yaml)")
    fields: list[str] = Field(default_factory=list, description="fields to look for; by default every text of a record")


class DecontaminateStep(Strict):
    """Remove what stands in evaluation sets, and certify against which."""

    use: Literal["decontaminate"]
    name: Name = "decontaminate"
    benchmarks: list[BenchmarkRecipe] = Field(min_length=1)
    words: Annotated[int, Field(ge=1, le=1000)] = Field(13, description="words of an n-gram")
    minimum_words: Annotated[int, Field(ge=1)] = Field(5, description="shorter texts of an example are not looked for")
    share: Fraction = Field(0.1, description="of a text's n-grams: from here on a document holds the example")
    action: Literal["drop", "cut"] = Field("drop", description="drop the document, or cut the n-grams")


class HoldOutStep(Strict):
    """Keep a share of the documents away from training, for evaluation."""

    use: Literal["hold-out"]
    name: Name = "hold-out"
    fraction: Fraction = Field(0.01, description="share of documents")


class ScorerTraining(Strict):
    """Train a fastText classifier on documents of these sources or files, as they stand at this point of the chain."""

    positive: list[str] = Field(min_length=1, description="names of sources, or JSON lines files")
    negative: list[str] = Field(min_length=1, description="names of sources, or JSON lines files")
    documents: Annotated[int, Field(gt=1, le=10_000_000)] = Field(20_000, description="at most so many of each class")
    dimension: Annotated[int, Field(ge=1, le=2048)] = 100
    epochs: Annotated[int, Field(ge=1, le=1000)] = 5
    buckets: Annotated[int, Field(ge=1, le=100_000_000)] = 200_000
    length_correction: bool = Field(False, description="score without fastText's end token, which knows the length")


class ScoreStep(Strict):
    """Give every document the probability of a label under a fastText model."""

    use: Literal["score"]
    name: Name = Field("quality", description="name of the step and of the signal")
    train: ScorerTraining | None = None
    model: str | None = Field(None, description="a fastText .bin or .ftz file or a capsule's folder, for 'train'")
    label: str = Field("__label__positive", description="the label whose probability is the score")
    first_bytes: Annotated[int, Field(ge=0)] = Field(0, description="read so much of a document; 0: all of it")
    paragraphs: bool = Field(False, description="score each paragraph; the mean by bytes counts")

    @model_validator(mode="after")
    def _one_origin(self) -> "ScoreStep":
        if (self.train is None) == (self.model is None):
            raise ValueError("expected either 'train' or 'model'")
        return self


class RandomStep(Strict):
    """Give every document a number in (0, 1) by its id: the control that a selection must beat."""

    use: Literal["random"]
    name: Name = "random"
    seed: Annotated[int, Field(ge=0, lt=2**32)] | None = Field(None, description="by default the recipe's")


class LengthStep(Strict):
    """Give every document its length in bytes."""

    use: Literal["length"]
    name: Name = "length"


class CompressionStep(Strict):
    """Give every document the bytes that zlib makes of each of its own."""

    use: Literal["compression"]
    name: Name = "compression"


class DsirStep(Strict):
    """Give every document DSIR's importance weight towards a target, with Gumbel noise."""

    use: Literal["dsir"]
    name: Name = "dsir"
    target: list[str] = Field(min_length=1, description="names of sources, or JSON lines files")
    chunk: Annotated[int, Field(ge=0)] = Field(128, description="weight of so many average words; 0: of all words")
    noise: bool = Field(True, description="draw by weight; without it the highest weights are kept")
    seed: Annotated[int, Field(ge=0, lt=2**32)] | None = Field(None, description="by default the recipe's")


class PerplexityStep(Strict):
    """Give every document its bits a byte under an n-gram model of reference text."""

    use: Literal["perplexity"]
    name: Name = "perplexity"
    reference: list[str] = Field(min_length=1, description="names of sources, or JSON lines files")
    order: Annotated[int, Field(ge=2, le=7)] = Field(5, description="bytes of the longest n-gram")
    sample: Size = Field(20_000_000, gt=0, description="bytes of reference text to count")


class SampleStep(Strict):
    """Take documents of every source out of the pool, for a ladder of models to read."""

    use: Literal["sample"]
    name: Name = "sample"
    documents: Positive = Field(300, description="of each source")
    sources: Positive | None = Field(None, description="only so many, those with most documents")


class RungRecipe(Strict):
    """One model of a ladder."""

    name: Name
    checkpoint: str | None = Field(None, description="a folder of Tilth's training, or one checkpoint in it")
    tokenizer: str | None = Field(None, description="the tokenizer of that training")
    huggingface: str | None = Field(None, description="a local folder, in place of the two")


class PreselectStep(Strict):
    """Score by a classifier of the documents whose losses tell good models from worse."""

    use: Literal["preselect"]
    name: Name = Field("quality", description="name of the step and of the signal")
    sample: str = Field("sample", description="the 'sample' stage whose documents have losses")
    losses: str | None = Field(None, description="a Parquet table: id, one column a model; in place of 'models'")
    models: list[RungRecipe] = Field(default_factory=list, description="the ladder, which is asked for the losses")
    ability: dict[str, Annotated[float, Field(allow_inf_nan=False)]] = Field(
        default_factory=dict, description="model: a number, higher is better; in place of 'target'"
    )
    target: list[str] = Field(default_factory=list, description="sources whose held-out text says which model is able")
    estimator: Literal["strength", "sign_sign", "sign_cdf", "spearman"] = "strength"
    level: Literal["page", "source"] = Field("page", description="what is included or not, for the other estimators")
    projection: Literal["linear", "l2"] = Field("linear", description="how their estimates become shares")
    keep: Fraction = Field(0.1, description="share of the pool that their projection includes")
    documents: Annotated[int, Field(gt=1, le=10_000_000)] = Field(200_000, description="at most so many of each class")
    dimension: Annotated[int, Field(ge=1, le=2048)] = 100
    epochs: Annotated[int, Field(ge=1, le=1000)] = 5
    buckets: Annotated[int, Field(ge=1, le=100_000_000)] = 200_000
    first_bytes: Annotated[int, Field(ge=0)] = Field(0, description="read so much of a document; 0: all of it")
    length_correction: bool = Field(True, description="score without fastText's end token, which knows the length")

    @model_validator(mode="after")
    def _one_origin(self) -> "PreselectStep":
        if (self.losses is None) == (not self.models):
            raise ValueError("expected either 'losses' or 'models'")
        if bool(self.ability) == bool(self.target):
            raise ValueError("expected either 'ability' or 'target'")
        if self.target and not self.models:
            raise ValueError("'target' needs 'models', to be asked about its held-out text")
        return self


class AsOfStep(Strict):
    """Keep what was written up to a day, or from a day on."""

    use: Literal["as-of"]
    name: Name = "as-of"
    until: str = Field("", description="the last day, such as 2019-08-31")
    since: str = Field("", description="the first day")
    undated: Literal["drop", "keep"] = "drop"
    inverse: bool = Field(False, description="keep exactly what would be dropped")


class LeaveOutStep(Strict):
    """Drop whole sources: the other side of a mixture."""

    use: Literal["leave-out"]
    name: Name = "leave-out"
    sources: list[str] = Field(min_length=1)
    inverse: bool = Field(False, description="keep these sources only")


class SelectStep(Strict):
    """Keep the best, the middle or the worst by a score, in bytes of text, of all documents or of every group."""

    use: Literal["select"]
    by: str = Field("quality", description="name of the signal")
    keep: Fraction | None = Field(None, description="share of the bytes")
    bytes: Size | None = Field(None, gt=0, description="so many bytes, in place of 'keep'")
    tokens: Positive | None = Field(None, description="so many tokens, in place of 'keep'; needs 'bytes_per_token'")
    bytes_per_token: Annotated[float, Field(gt=0, le=100)] | None = Field(None, description="of your tokenizer")
    name: Name = "select"
    part: Literal["highest", "middle", "lowest"] = "highest"
    per: str = Field("all", description="groups: all, source, year, or a signal that 'edges' cut into bins")
    edges: list[float] = Field(default_factory=list, description="rising limits between the bins of 'per'")
    quotas: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        default_factory=dict, description="group: share of what is kept; other groups share the rest by size"
    )
    epochs: Annotated[float, Field(ge=1, le=100)] = Field(1.0, description="most repeats of a source below its quota")
    inverse: bool = Field(False, description="keep exactly what would be dropped")

    @model_validator(mode="after")
    def _one_budget(self) -> "SelectStep":
        if sum(budget is not None for budget in (self.keep, self.bytes, self.tokens)) != 1:
            raise ValueError("expected one of 'keep', 'bytes' and 'tokens'")
        if (self.tokens is None) != (self.bytes_per_token is None):
            raise ValueError("'tokens' and 'bytes_per_token' go together")
        if self.epochs > 1 and self.per != "source":
            raise ValueError("'epochs' repeats sources in training: it needs 'per: source'")
        return self


Step = Annotated[
    NormaliseStep
    | RulesStep
    | LimitsStep
    | PersonalStep
    | RepairStep
    | WordListStep
    | UrlsStep
    | ProgramsStep
    | DatatroveStep
    | DeduplicateStep
    | RepeatedLinesStep
    | RepeatedPassagesStep
    | DecontaminateStep
    | HoldOutStep
    | SampleStep
    | ScoreStep
    | RandomStep
    | LengthStep
    | CompressionStep
    | DsirStep
    | PerplexityStep
    | PreselectStep
    | AsOfStep
    | LeaveOutStep
    | SelectStep,
    Field(discriminator="use"),
]
MEASURING = (ScoreStep, RandomStep, LengthStep, CompressionStep, DsirStep, PerplexityStep, PreselectStep)


class GrowRecipe(Strict):
    """New pieces for a domain, after the old ones, whose ids stay."""

    sources: list[str] = Field(min_length=1, description="the domain")
    pieces: Annotated[int, Field(ge=1, le=1_000_000)] = Field(1000, description="how many to add")
    sample: Size = Field(10_000_000, gt=0, description="bytes of text of each source to read")


class TokenizerRecipe(Strict):
    """A tokenizer trained on the selected documents, or one of yours."""

    kind: Literal["sentencepiece-bpe", "sentencepiece-unigram", "byte-bpe", "wordpiece", "bytes"] = "sentencepiece-bpe"
    vocabulary: Annotated[int, Field(ge=258, le=1_000_000)] = Field(8192, description="pieces; plain bytes have theirs")
    sample: Size = Field(10_000_000, gt=0, description="bytes of text to train on")
    weights: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(
        default_factory=dict, description="source: share of the sample, repeated where it is short; by default by size"
    )
    special: list[str] = Field(default_factory=list, description="special tokens beyond those of the kind")
    lowercase: bool = Field(False, description="WordPiece only")
    model: str | None = Field(
        None, description="a Hugging Face folder, tokenizer.json or .model file, in place of training"
    )
    separator: str | None = Field(None, description="the model's token between documents, where its files name none")
    grow: GrowRecipe | None = None
    shard: Size = Field(512_000_000, ge=4096, description="bytes of tokens in one shard")

    @model_validator(mode="after")
    def _separator_of_a_model(self) -> "TokenizerRecipe":
        if self.separator is not None and self.model is None:
            raise ValueError("'separator' needs 'model'; a trained tokenizer has its own")
        return self


class ModelRecipe(Strict):
    """The shape of a transformer; the vocabulary is the tokenizer's. The preset, or the kind, gives what is missing."""

    preset: str | None = Field(None, description="gpt-1m to gpt-1.3b, gpt2-124m, bert-mini to bert-base, ...")
    kind: Literal["gpt", "bert"] | None = Field(None, description="by default gpt")
    layers: Annotated[int, Field(ge=1, le=1000)] | None = Field(None, description="by default 4")
    hidden_size: Annotated[int, Field(ge=8, le=65536)] | None = Field(None, description="by default 128")
    heads: Annotated[int, Field(ge=1, le=1024)] | None = Field(None, description="by default 4")
    query_groups: Positive | None = Field(None, description="heads of keys and values; by default all heads")
    ffn_hidden_size: Positive | None = Field(None, description="by default 4 x hidden_size, for swiglu 8/3 of it")
    sequence_length: Annotated[int, Field(ge=8, le=1_000_000)] | None = Field(None, description="by default 256")
    position: Literal["learned", "rope"] | None = Field(None, description="by default rope, for bert learned")
    normalization: Literal["LayerNorm", "RMSNorm"] | None = Field(None, description="default: RMSNorm; bert: LayerNorm")
    activation: Literal["gelu", "gelu_tanh", "swiglu"] | None = Field(None, description="by default swiglu, bert gelu")
    bias: bool | None = Field(None, description="in the linear layers; by default not, for bert yes")
    tied_embeddings: bool | None = Field(None, description="one matrix reads the tokens and predicts them; by default")
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = Field(None, description="by default 0")
    sentence_order: bool | None = Field(None, description="bert: also tell whether two halves were exchanged")
    norm_epsilon: Annotated[float, Field(gt=0, lt=1)] | None = Field(None, description="by default 1e-5")
    rope_base: Positive | None = Field(None, description="by default 10,000")


class ObjectiveRecipe(Strict):
    """What a bert has to guess, and how far attention reaches."""

    proposals: Literal["tokens", "words", "spans"] = Field("tokens", description="what is masked together")
    rate: Annotated[float, Field(gt=0, le=0.9)] = Field(0.15, description="share of the tokens that are predicted")
    masked: Annotated[float, Field(ge=0, le=1)] = Field(0.8, description="of those become the mask token")
    replaced: Annotated[float, Field(ge=0, le=1)] = Field(0.1, description="of those become another; the rest stay")
    span_success: Annotated[float, Field(gt=0, lt=1)] = Field(0.2, description="of a span's geometric length")
    longest_span: Annotated[int, Field(ge=1, le=512)] = Field(10, description="words")
    document_mask: bool = Field(False, description="attention stays within a document; gpt too")


class PhaseRecipe(Strict):
    """A stretch of the learning rate's schedule."""

    steps: Positive | None = None
    tokens: Positive | None = Field(None, description="in place of steps")
    to: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)] = Field(description="the rate at its end")
    shape: Literal["constant", "linear", "cosine", "root"] = "linear"

    @model_validator(mode="after")
    def _one_length(self) -> "PhaseRecipe":
        if (self.steps is None) == (self.tokens is None):
            raise ValueError("expected either 'steps' or 'tokens'")
        return self


class OptimisationRecipe(Strict):
    """Steps, batches (in sequences), AdamW and its learning rate."""

    steps: Annotated[int, Field(ge=1, le=100_000_000)] = 300
    tokens: Positive | None = Field(None, description="to train on, in place of steps")
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = Field(16, description="sequences in one step")
    micro_batch_size: Positive | None = Field(None, description="sequences in one forward pass of a process")
    learning_rate: Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)] = Field(3e-3, description="the peak")
    minimum_learning_rate: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)] = 3e-4
    warmup_steps: Annotated[int, Field(ge=0)] = 20
    warmup_tokens: Positive | None = Field(None, description="in place of warmup_steps")
    schedule: Literal["constant", "linear", "cosine", "wsd"] = "cosine"
    decay_steps: Annotated[int, Field(ge=0)] = Field(0, description="of wsd")
    phases: list[PhaseRecipe] = Field(default_factory=list, description="in place of warm-up and schedule")
    weight_decay: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)] = 0.1
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.95
    epsilon: Annotated[float, Field(gt=0, le=1)] = 1e-8
    gradient_clipping: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = 1.0
    precision: Literal["fp32", "bf16"] = "fp32"
    undecayed: list[str] = Field(default_factory=list, description="matrices without weight decay, by part of name")
    checkpoint_every: Annotated[int, Field(ge=0)] = Field(100, description="steps; 0: at the end only")
    keep_last: Positive = Field(2, description="checkpoints beside the first one")
    keep_every: Annotated[int, Field(ge=0)] = Field(0, description="steps whose multiples are kept for good; 0: none")
    evaluate_tokens: Positive | None = Field(None, description="look at held-out samples every so many tokens")
    recompute: Literal["none", "attention", "layers"] = Field("none", description="compute again to save memory")
    skip_above: Annotated[float, Field(gt=0)] | None = Field(None, description="deviations of a loss; 6 is usual")
    skip_window: Annotated[int, Field(ge=2, le=100_000)] = Field(128, description="steps")
    most_skips: Positive = Field(5, description="in a row before the run stops")
    tensorboard: bool = Field(False, description="write figures for TensorBoard beside the log")


class LayoutRecipe(Strict):
    """Over how many processes the model is cut: tensor x pipeline x data parallel."""

    tensor: Annotated[int, Field(ge=1, le=4096)] = 1
    pipeline: Annotated[int, Field(ge=1, le=4096)] = 1
    data: Annotated[int, Field(ge=1, le=65536)] = 1
    sequence_parallel: bool = False
    distributed_optimizer: bool = Field(False, description="data-parallel copies share the optimizer's state")
    virtual: Positive = Field(1, description="parts of a pipeline stage; only 1 is offered")


class TrainRecipe(Strict):
    """A Megatron-core GPT or BERT on the token shards."""

    model: ModelRecipe = Field(default_factory=ModelRecipe)
    objective: ObjectiveRecipe = Field(default_factory=ObjectiveRecipe)
    start: str | None = Field(None, description="a checkpoint of the same shape whose weights to begin with")
    growth: Literal["pieces", "mean", "random"] = Field("pieces", description="how pieces new to 'start' begin")
    optimisation: OptimisationRecipe = Field(default_factory=OptimisationRecipe)
    layout: LayoutRecipe = Field(default_factory=LayoutRecipe)
    weights: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(
        default_factory=dict, description="source: share of the training tokens; by default as they come"
    )


class EvaluateRecipe(Strict):
    """Bits per byte on the held-out documents of every source, before and after."""

    bytes_per_source: Size = Field(100_000, gt=0, description="at most so much held-out text of a source")


class Recipe(Strict):
    """Everything a run does, in order."""

    name: Name = Field(description="the run folder is runs/NAME")
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    part_size: Size = Field(64_000_000, ge=1024, le=2**31, description="bytes of input in one part, the unit of work")
    sources: list[SourceRecipe] = Field(min_length=1)
    stages: list[Step] = Field(default_factory=list)
    tokenizer: TokenizerRecipe | None = None
    train: TrainRecipe | None = None
    evaluate: EvaluateRecipe | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> "Recipe":
        sources = [source.name for source in self.sources]
        _unique("sources", sources)
        _unique("stages", [step.name for step in self.stages])
        signals: list[str] = []
        for number, step in enumerate(self.stages):
            if step.name in STEPS:
                raise Misfit(f"'{step.name}' is a step of the run itself; choose another", "stages", number, "name")
            if isinstance(step, DeduplicateStep) and isinstance(step.allowance, dict):
                for name in step.allowance:
                    _known(name, sources, "no source has the name", "stages", number, "allowance", name)
            if isinstance(step, SurvivorRecipe):
                for place, name in enumerate(step.priority):
                    _known(name, sources, "no source has the name", "stages", number, "priority", place)
                if step.quality is not None:
                    _known(step.quality, signals, "no stage before this one measures", "stages", number, "quality")
            if isinstance(step, MEASURING):
                if step.name in COLUMNS:
                    raise Misfit(f"'{step.name}' is a column of documents; choose another", "stages", number, "name")
                signals.append(step.name)
            if isinstance(step, SelectStep):
                _known(step.by, signals, "no stage before this one measures", "stages", number, "by")
                if step.per not in ("all", "source", "year"):
                    _known(step.per, signals, "no stage before this one measures", "stages", number, "per")
            if isinstance(step, LeaveOutStep):
                for place, name in enumerate(step.sources):
                    _known(name, sources, "no source has the name", "stages", number, "sources", place)
            if isinstance(step, PreselectStep):
                before = [one.name for one in self.stages[:number] if isinstance(one, SampleStep)]
                _known(step.sample, before, "no 'sample' stage before this one is called", "stages", number, "sample")
                for place, name in enumerate(step.target):
                    _known(name, sources, "no source has the name", "stages", number, "target", place)
                if step.target and not any(isinstance(one, HoldOutStep) for one in self.stages[:number]):
                    raise Misfit("nothing is held out; put {use: hold-out} before it", "stages", number, "target")
        if self.tokenizer is not None:
            for name in self.tokenizer.weights:
                _known(name, sources, "no source has the name", "tokenizer", "weights", name)
            for place, name in enumerate(self.tokenizer.grow.sources if self.tokenizer.grow else ()):
                _known(name, sources, "no source has the name", "tokenizer", "grow", "sources", place)
        if self.train is not None:
            if self.tokenizer is None:
                raise Misfit("a model needs tokens; give the recipe a 'tokenizer'", "train")
            for name in self.train.weights:
                _known(name, sources, "no source has the name", "train", "weights", name)
        if self.evaluate is not None:
            if self.train is None:
                raise Misfit("there is no model; give the recipe a 'train'", "evaluate")
            if not any(isinstance(step, HoldOutStep) for step in self.stages):
                raise Misfit("nothing is held out; give the recipe a stage {use: hold-out}", "evaluate")
        return self


class Misfit(ValueError):
    """Two fields that do not fit together; ``place`` leads to the one to mend."""

    def __init__(self, message: str, *place: int | str) -> None:
        super().__init__(message)
        self.place = place


def _unique(where: str, names: list[str]) -> None:
    for number, name in enumerate(names):
        if name in names[:number]:
            raise Misfit(f"'{name}' is used twice; give each its own 'name'", where, number, "name")


def _known(name: str, known: list[str], what: str, *place: int | str) -> None:
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known) or 'none'}"
        raise Misfit(f"{what} '{name}'; {hint}", *place)


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice, where plain YAML would let the last one win.

    It also says where a value is that YAML's own constructors stumble over.
    """

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Build a value; a number that no field could take is refused here, since Python would not even show it."""
        try:
            value = super().construct_object(node, deep)
        except ValueError as error:  # a date that there is not, thousands of digits
            raise yaml.MarkedYAMLError(problem=str(error), problem_mark=node.start_mark) from error
        if isinstance(value, int) and value.bit_length() > 64:
            raise yaml.MarkedYAMLError(problem="a number beyond 64 bits", problem_mark=node.start_mark)
        return value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Build a mapping, every key once."""
        seen = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key must be a word", problem_mark=key_node.start_mark)
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"key '{key}' is given twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def load_recipe(path: Path) -> Recipe:
    """Read and check a recipe. Raises ``UserError``: file, line, field, found, expected."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such recipe; 'tilth init' writes one to start from") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    try:
        tree = yaml.compose(text, yaml.SafeLoader)
        if tree is not None and _values(tree, {}) > MOST_VALUES:
            raise yaml.YAMLError(f"its aliases stand for more than {MOST_VALUES:,} values; write them out")
        data = yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(f"{path}{line}: not valid YAML: {_one_line(str(error.problem))}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid YAML: {_one_line(str(error))}") from error
    if not isinstance(data, dict):
        found = "nothing" if data is None else type(data).__name__
        raise UserError(f"{path}: expected a mapping with 'name' and 'sources', found {found}")
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        raise UserError(_explain(path, error, tree)) from error


def _explain(path: Path, error: ValidationError, tree: yaml.Node | None) -> str:
    # a misspelt key often makes a required one missing: the misspelling is what to mend
    details = sorted(error.errors(), key=lambda detail: detail["type"] != "extra_forbidden")
    top = _place(details[0])
    # each member of a union says why it does not fit; the one that got furthest is the one that was meant
    same = [detail for detail in details if _place(detail)[: len(top)] == top]
    first = max(same, key=lambda detail: len(_place(detail)))
    place = _place(first)
    line = _line(tree, list(place))
    others = len({_place(detail) for detail in details if detail not in same})
    more = f" (and {others} more)" if others else ""
    field = ".".join(str(item) for item in place)
    said = _one_line(f"{f'{field}: ' if field else ''}{_message(first)}{more}")
    return f"{path}{f':{line}' if line else ''}: {said}"


def _one_line(text: str) -> str:
    """Return ``text`` without line breaks and control characters, which keys of a mapping may hold, too."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def _place(detail: ErrorDetails) -> tuple[int | str, ...]:
    """Return the keys that lead to what is wrong, without what pydantic puts in to name a union's member."""
    error = detail.get("ctx", {}).get("error")
    location = [*detail["loc"], *(error.place if isinstance(error, Misfit) else ())]
    if len(location) > 2 and location[0] == "stages" and location[2] in TAGS:
        del location[2]
    return tuple(item for item in location if not (isinstance(item, str) and MEMBER.search(item)))


def _values(node: yaml.Node, known: dict[int, int]) -> int:
    """Count the values below a node, those behind an alias each time; ``known`` are the counts of nodes so far."""
    if id(node) not in known:
        known[id(node)] = MOST_VALUES + 1  # until it is counted: what holds itself has no end
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        items = node.value if isinstance(node, yaml.SequenceNode) else [item for pair in pairs for item in pair]
        known[id(node)] = 1 + sum(_values(item, known) for item in items)
    return known[id(node)]


def _message(detail: ErrorDetails) -> str:
    kind, found, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        key = str(detail["loc"][-1])
        known = _known_keys(detail["loc"])
        near = difflib.get_close_matches(key, known, 1, cutoff=0.5)
        return "unknown key; " + (f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(known)}")
    if kind == "missing":
        return "missing; give it a value"
    if kind == "union_tag_invalid":
        near = difflib.get_close_matches(str(context["tag"]), sorted(TAGS), 1)
        hint = f"did you mean '{near[0]}'?" if near else f"expected one of {', '.join(sorted(TAGS))}"
        return f"use: '{context['tag']}' is unknown; {hint}"
    if kind == "union_tag_not_found":
        return f"expected 'use' with one of {', '.join(sorted(TAGS))}"
    if kind == "value_error":
        return str(context["error"])
    text = detail["msg"][0].lower() + detail["msg"][1:]
    shown = reprlib.repr(found)
    return f"{text}, found {shown if len(shown) <= 60 else shown[:57] + '...'}"


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    """Return the keys that the model at a location knows."""
    models: list[type[BaseModel]] = [Recipe]
    for item in location[:-1]:
        if item in TAGS:
            models = [model for model in models if _tag(model) == item]
        elif isinstance(item, str):
            fields = [model.model_fields[item] for model in models if item in model.model_fields]
            models = [model for field in fields for model in _models_in(field.annotation)]
    return [key for model in models for key in model.model_fields]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]


def _tag(step: type[BaseModel]) -> str:
    """Return the word that 'use' names a step by."""
    return str(get_args(step.model_fields["use"].annotation)[0])


TAGS = {_tag(step): step for step in _models_in(Step)}


def _line(tree: yaml.Node | None, place: list[int | str]) -> int | None:
    """Return the line (from 1) of the deepest node that the path reaches."""
    if tree is None:
        return None
    node, line = tree, tree.start_mark.line + 1
    for item in place:
        if isinstance(node, yaml.SequenceNode) and isinstance(item, int) and item < len(node.value):
            node = node.value[item]
            line = node.start_mark.line + 1
        elif isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == str(item)]
            if not found:
                break
            line = found[0][0].start_mark.line + 1
            node = found[0][1]
        else:
            break
    return line


def recipe_schema() -> dict[str, Any]:
    """Return the JSON schema of a recipe, for editors."""
    return Recipe.model_json_schema()
