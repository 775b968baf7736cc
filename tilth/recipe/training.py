"""Training in a recipe: model, objective, optimisation, layout, and what is measured afterwards."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tilth.recipe.values import Positive, Size, Strict


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
    document_mask: bool = Field(False, description="attention and positions stay within a document; gpt too")


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
    attention: Literal["sdpa", "transformer-engine"] = Field("sdpa", description="whose kernels; by choice NVIDIA's")
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
    virtual: Positive = Field(1, description="parts of a pipeline stage, which take turns")


class TrainRecipe(Strict):
    """A Megatron-core GPT or BERT on the token shards."""

    model: ModelRecipe = Field(default_factory=ModelRecipe)
    objective: ObjectiveRecipe = Field(default_factory=ObjectiveRecipe)
    start: str | None = Field(None, description="a checkpoint of the same shape whose weights to begin with")
    growth: Literal["pieces", "mean", "random"] = Field("pieces", description="how pieces new to 'start' begin")
    optimisation: OptimisationRecipe = Field(default_factory=OptimisationRecipe)
    layout: LayoutRecipe = Field(default_factory=LayoutRecipe)
    packing: Literal["cut", "whole", "segments"] = Field(
        "cut", description="rows: cut where they end, whole documents (gpt), [class] text [separator] (bert)"
    )
    pairs: Literal["order", "next"] = Field(
        "order", description="sentence_order's false pairs: parts exchanged, or a part of another segment of the row"
    )
    weights: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(
        default_factory=dict, description="source: share of the training tokens; by default as they come"
    )
    budgets: dict[str, Annotated[int, Field(ge=0)]] = Field(
        default_factory=dict, description="source: tokens to train on, in place of weights"
    )
    epochs: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(
        default_factory=dict, description="source: how often it is read at most; by default without end"
    )

    @model_validator(mode="after")
    def _one_mixture(self) -> "TrainRecipe":
        if self.weights and self.budgets:
            raise ValueError("found weights and budgets, expected one of them; remove the other")
        return self


class EvaluateRecipe(Strict):
    """Bits per byte on the held-out documents of every source, before and after."""

    bytes_per_source: Size = Field(100_000, gt=0, description="at most so much held-out text of a source")
