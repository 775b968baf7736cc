"""Steps of a recipe that measure documents and keep those that teach best."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tilth.recipe.values import Fraction, Name, Positive, Size, Strict

LengthCorrection = Literal["plain", "end-token", "centred"]
LENGTH = (
    "end-token: score without fastText's end token, which knows the length; centred: also less the mean of a length"
)


class ScorerTraining(Strict):
    """Train a fastText classifier on documents of these sources or files, as they stand at this point of the chain."""

    positive: list[str] = Field(min_length=1, description="names of sources, or JSON lines files")
    negative: list[str] = Field(min_length=1, description="names of sources, or JSON lines files")
    documents: Annotated[int, Field(gt=1, le=10_000_000)] = Field(20_000, description="at most so many of each class")
    dimension: Annotated[int, Field(ge=1, le=2048)] = 100
    epochs: Annotated[int, Field(ge=1, le=1000)] = 5
    buckets: Annotated[int, Field(ge=1, le=100_000_000)] = 200_000
    length: LengthCorrection = Field("plain", description=LENGTH)


class ScoreStep(Strict):
    """Give every document the probability of a label under a fastText model."""

    use: Literal["score"]
    name: Name = Field("quality", description="name of the step and of the signal")
    train: ScorerTraining | None = None
    model: str | None = Field(None, description="a fastText .bin or .ftz file or a capsule's folder, for 'train'")
    label: str = Field("__label__positive", description="the label whose probability is the score")
    first_bytes: Annotated[int, Field(ge=0)] = Field(0, description="read so much of a document; 0: all of it")
    paragraphs: bool = Field(False, description="score each paragraph; the mean by bytes counts")
    arithmetic: Literal["double", "library"] = Field(
        "double",
        description="library: fastText's own numbers to the last bit, slower, where a cut was published on them",
    )

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
    """Give every document its bits a byte under an n-gram model: of bytes, of reference text, or of words, a KenLM."""

    use: Literal["perplexity"]
    name: Name = "perplexity"
    reference: list[str] = Field(default_factory=list, description="names of sources, or JSON lines files")
    kenlm: str | None = Field(None, description="a model of KenLM's, .arpa or binary, for 'reference'")
    order: Annotated[int, Field(ge=2, le=7)] = Field(5, description="bytes of the longest n-gram")
    sample: Size = Field(20_000_000, gt=0, description="bytes of reference text to count")

    @model_validator(mode="after")
    def _one_origin(self) -> "PerplexityStep":
        if bool(self.reference) == (self.kenlm is not None):
            raise ValueError("expected either 'reference' or 'kenlm'")
        return self


class RegressionStep(Strict):
    """Give every document the rating of a linear head on a local encoder, fitted to rated examples."""

    use: Literal["regression"]
    name: Name = "regression"
    encoder: str = Field(description="a local Hugging Face folder, such as Snowflake's arctic-embed-m")
    examples: str = Field(description="JSON lines: 'text', and a number as 'score'; not of the pool")
    pooling: Literal["first", "mean"] = Field("first", description="which of the encoder's last states count")
    tokens: Annotated[int, Field(ge=8, le=8192)] = Field(512, description="of a document's beginning")
    penalty: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(0.01, description="of the head's weights")


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
    length: LengthCorrection = Field("end-token", description=LENGTH)

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
    tokens: Positive | None = Field(None, description="so many tokens, in place of 'keep'")
    bytes_per_token: Annotated[float, Field(gt=0, le=100)] | None = Field(
        None, description="of 'tokens'; by default measured on the pool, where the recipe's tokenizer is a 'model'"
    )
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
        if self.tokens is None and self.bytes_per_token is not None:
            raise ValueError("'bytes_per_token' needs 'tokens'")
        if self.epochs > 1 and self.per != "source":
            raise ValueError("'epochs' repeats sources in training: it needs 'per: source'")
        return self


MEASURING = (
    ScoreStep,
    RandomStep,
    LengthStep,
    CompressionStep,
    DsirStep,
    PerplexityStep,
    RegressionStep,
    PreselectStep,
)
