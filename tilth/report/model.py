"""What the report of a run shows, as plain values: no file is read here and nothing is drawn.

Between the run folder and the page stand these values, so that what is shown can be tested without parsing HTML and a
page can be drawn without a run. Sizes are bytes of UTF-8, shares are 0 to 1, times are seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tilth.selection.compare import Comparison

Scale = Literal["linear", "logarithmic", "whole"]  # "whole": every bin is one whole number


@dataclass(frozen=True)
class Amount:
    """So many documents with so many bytes of text."""

    documents: int = 0
    bytes: int = 0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(self.documents + other.documents, self.bytes + other.bytes)


@dataclass(frozen=True)
class StageFlow:
    """What went into a stage and what became of it: entered = kept + dropped + held out, but for edited bytes."""

    name: str
    kind: str  # the stage's class
    effect: str
    entered: Amount
    kept: Amount
    dropped: Amount
    held_out: Amount
    edited_bytes: int
    parts: int
    fingerprint: str
    set_digest: str


@dataclass(frozen=True)
class SourceFlow:
    """What was read of a source and what is left of it at the end of the chain."""

    source: str
    read: Amount
    dropped: Amount
    held_out: Amount
    kept: Amount


@dataclass(frozen=True)
class RuleDrops:
    """What one rule of one stage removed."""

    stage: str
    rule: str
    dropped: Amount
    by_source: Mapping[str, Amount]


@dataclass(frozen=True)
class RuleEdits:
    """How many edits one rule of one stage made."""

    stage: str
    rule: str
    edits: int


@dataclass(frozen=True)
class Distribution:
    """A histogram of a signal over the documents that were measured.

    ``counts`` has one entry a bin; values beyond the outer edges are counted in the outer bins. ``low`` and ``high``
    are the limits that a document must keep to, ``outside`` the documents that do not, ``unmeasured`` those whose
    value is no number.
    """

    signal: str
    stage: str  # of the rule, or of the scorer where no rule looks at the signal
    rule: str
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    scale: Scale
    low: float | None
    high: float | None
    strict: bool  # a limit is itself too much
    inverted: bool  # documents outside the limits are kept instead
    documents: int
    outside: int
    unmeasured: int

    @property
    def limits(self) -> tuple[tuple[str, float], ...]:
        """The limits there are, each with its words."""
        low, high = ("more than", "less than") if self.strict else ("at least", "at most")
        return tuple((word, limit) for word, limit in ((low, self.low), (high, self.high)) if limit is not None)


@dataclass(frozen=True)
class Excerpt:
    """The beginning of a document as it may be shown: invisible characters are written out."""

    id: str  # 32 hex digits
    source: str
    bytes: int
    digest: str  # of the whole text, 32 hex digits
    text: str
    clipped: bool


@dataclass(frozen=True)
class DropExample:
    """A document that left, what was measured, what was allowed, and the duplicate that stayed."""

    document: Excerpt
    value: float | None
    limit: float | None
    other: str | None  # id of the surviving duplicate, 32 hex digits
    survivor: Excerpt | None  # None where it was not looked up


@dataclass(frozen=True)
class RuleExamples:
    """A few documents that one rule removed."""

    stage: str
    rule: str
    dropped: Amount
    examples: tuple[DropExample, ...]


@dataclass(frozen=True)
class UnreadableRecord:
    """A record that the reader could not turn into a document."""

    source: str
    rule: str
    bytes: int
    file: str
    offset: int | None
    reason: str


@dataclass(frozen=True)
class ScorerMetrics:
    """What a scorer said about documents that it was not trained on, and how it was trained."""

    signal: str
    figures: tuple[tuple[str, float | int | str], ...]
    settings: tuple[tuple[str, float | int | str], ...]
    calibration: tuple[tuple[float, float, int], ...] = ()  # mean score, share of positives, documents; one a bin


@dataclass(frozen=True)
class TokenCount:
    """What a source brings to training, separators included in the tokens."""

    source: str
    amount: Amount
    tokens: int
    epochs: float | None = None  # how often training read them; None where nothing was trained


@dataclass(frozen=True)
class TokenSummary:
    """The token shards of a run."""

    vocabulary_size: int
    tokenizer: str  # digest of the model file
    sources: tuple[TokenCount, ...]

    @property
    def tokens(self) -> int:
        """Tokens of all sources."""
        return sum(count.tokens for count in self.sources)


@dataclass(frozen=True)
class TrainingCurve:
    """The log of a training run; the columns have one entry a point, a point is the mean of ``steps_a_point`` steps."""

    steps: int
    tokens: int
    seconds: float
    median_speed: float  # tokens a second
    first_loss: float
    last_loss: float  # of the last point
    steps_a_point: int
    at_tokens: tuple[float, ...]
    loss: tuple[float, ...]
    learning_rate: tuple[float, ...]
    tokens_per_second: tuple[float, ...]
    held_out: tuple[tuple[float, float], ...] = ()  # tokens seen, and the loss on held-out samples then
    skipped: int = 0  # steps that were not taken


@dataclass(frozen=True)
class SourceBits:
    """Bits per byte of the held-out documents of a source, and the share of their tokens guessed, by checkpoint."""

    source: str
    amount: Amount
    bits_per_byte: Mapping[str, float]
    accuracy: Mapping[str, float] = field(default_factory=dict)  # share of tokens guessed: hidden ones, or the next


@dataclass(frozen=True)
class Evaluation:
    """Bits per byte under every checkpoint, by source and over all documents."""

    checkpoints: tuple[str, ...]
    sources: tuple[SourceBits, ...]
    total: SourceBits


@dataclass(frozen=True)
class SourceLoss:
    """What a source lost to one rule that drops duplicates, and what of it had entered the stage."""

    stage: str
    rule: str
    source: str
    dropped: Amount
    entered: Amount


@dataclass(frozen=True)
class Told:
    """A measured share, its 95 % interval, and of how many it is."""

    value: float
    low: float
    high: float
    of: int


@dataclass(frozen=True)
class Duplicate:
    """A document of a cluster. Without a survivor it stays; the similarity is that with the survivor, if measured."""

    document: Excerpt
    survivor: str | None
    similarity: float | None


@dataclass(frozen=True)
class DuplicateCluster:
    """Documents that are joined by near pairs: how many of each source, how many go, the best few of them."""

    size: int
    removed: int
    bytes: int
    sources: Mapping[str, int]
    sample: tuple[Duplicate, ...]


@dataclass(frozen=True)
class NearStep:
    """A step that removes near-duplicates: what was compared, how good it was, the largest clusters first."""

    name: str
    threshold: float
    measure: str
    verified: bool  # every removal was compared by the measure itself
    compared: int
    near: int
    precision: Told | None
    recall: Told | None
    clusters: tuple[DuplicateCluster, ...]


@dataclass(frozen=True)
class Duplicates:
    """What duplicates cost every source, and the steps that removed near ones."""

    losses: tuple[SourceLoss, ...]
    near: tuple[NearStep, ...]


@dataclass(frozen=True)
class SelectionsCompared:
    """Selections side by side, and the beginnings of documents that one takes and another refuses, by id."""

    comparison: Comparison
    examples: Mapping[str, Excerpt]


@dataclass(frozen=True)
class Report:
    """Everything the page shows. What a run did not do is empty or None, and its section is left out."""

    name: str
    unfinished: tuple[str, ...]  # stages that the run names and that are not finished
    stages: tuple[StageFlow, ...]
    sources: tuple[SourceFlow, ...]
    rules: tuple[RuleDrops, ...]
    edits: tuple[RuleEdits, ...]
    signals: tuple[Distribution, ...]
    scores: tuple[Distribution, ...]
    measured_parts: tuple[int, int]  # of the histograms: parts read, parts in all
    dropped_examples: tuple[RuleExamples, ...]
    kept_examples: tuple[Excerpt, ...]
    unreadable: tuple[UnreadableRecord, ...]
    unreadable_total: Amount
    scorers: tuple[ScorerMetrics, ...]
    tokens: TokenSummary | None
    training: TrainingCurve | None
    evaluation: Evaluation | None
    seconds: Mapping[str, float]
    recipe: str | None  # the text of the lock file
    versions: Mapping[str, str] = field(default_factory=dict)
    selections: SelectionsCompared | None = None
    duplicates: Duplicates | None = None

    @property
    def read(self) -> Amount:
        """What entered the chain."""
        return self.stages[0].entered

    @property
    def kept(self) -> Amount:
        """What is left at its end."""
        return self.stages[-1].kept

    @property
    def held_out(self) -> Amount:
        """What left for the evaluation."""
        return sum((stage.held_out for stage in self.stages), Amount())
