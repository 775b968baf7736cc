"""The tokenizer in a recipe: what kind, trained on what, grown for which domain."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tilth.recipe.values import Size, Strict


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
