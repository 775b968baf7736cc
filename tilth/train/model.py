"""The shape of a model as a value: what it is made of, how many parameters it has, which layouts can hold it.

The vocabulary is padded to a multiple of 128 whatever the layout, and the padding can never be predicted: its logits
are masked. So neither the loss nor a checkpoint knows how many processes shared the embedding.
"""

from dataclasses import dataclass
from typing import Literal

from tilth.corpus.errors import UserError
from tilth.train.layout import Layout

VOCABULARY_MULTIPLE = (
    128  # Megatron-LM's default of --make-vocab-size-divisible-by; any tensor degree that divides it fits
)


@dataclass(frozen=True)
class ModelConfig:
    """A decoder-only transformer. The defaults are Llama's shape at a size that trains on two cores."""

    vocabulary_size: int  # of the tokenizer, unpadded
    layers: int = 4
    hidden_size: int = 128
    heads: int = 4
    sequence_length: int = 256
    ffn_hidden_size: int | None = None  # default: 4 x hidden_size for gelu, 8/3 x hidden_size in steps of 64 for swiglu
    position: Literal["learned", "rope"] = "rope"
    normalization: Literal["LayerNorm", "RMSNorm"] = "RMSNorm"
    activation: Literal["gelu", "swiglu"] = "swiglu"
    bias: bool = False  # in the linear layers
    tied_embeddings: bool = True  # one matrix reads the tokens and predicts them
    dropout: float = 0.0
    kind: Literal["gpt"] = "gpt"

    @property
    def padded_vocabulary_size(self) -> int:
        """Rows of the embedding: the vocabulary, rounded up to a multiple of 128."""
        return -(-self.vocabulary_size // VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE

    @property
    def feed_forward_size(self) -> int:
        """Width inside the feed-forward layer."""
        if self.ffn_hidden_size is not None:
            return self.ffn_hidden_size
        return 4 * self.hidden_size if self.activation == "gelu" else -(-8 * self.hidden_size // (3 * 64)) * 64

    @property
    def parameters(self) -> int:
        """Number of parameters, the padding of the vocabulary included."""
        width, inner = self.hidden_size, self.feed_forward_size
        up = inner * (2 if self.activation == "swiglu" else 1)
        norm = width * (2 if self.normalization == "LayerNorm" else 1)
        attention = 4 * width * width + (4 * width if self.bias else 0)
        feed_forward = width * up + inner * width + (up + width if self.bias else 0)
        embedding = self.padded_vocabulary_size * width
        positions = self.sequence_length * width if self.position == "learned" else 0
        embeddings = embedding * (1 if self.tied_embeddings else 2) + positions
        return embeddings + self.layers * (attention + feed_forward + 2 * norm) + norm

    def check(self, layout: Layout) -> None:
        """Raise ``UserError`` where the shape makes no sense or cannot be cut as ``layout`` says."""
        layout.check()
        for name in ("vocabulary_size", "layers", "hidden_size", "heads", "sequence_length"):
            if getattr(self, name) < 1:
                raise UserError(f"model.{name}: found {getattr(self, name)}, expected 1 or more")
        if not 0.0 <= self.dropout < 1.0:
            raise UserError(f"model.dropout: found {self.dropout}, expected 0 or more and below 1")
        _divides("model.hidden_size", self.hidden_size, "model.heads", self.heads)
        if self.position == "rope":
            _divides("the width of a head (hidden_size / heads)", self.hidden_size // self.heads, "2 for rope", 2)
        _divides("model.heads", self.heads, "layout.tensor", layout.tensor)
        _divides("model.ffn_hidden_size", self.feed_forward_size, "layout.tensor", layout.tensor)
        _divides("the padded vocabulary", self.padded_vocabulary_size, "layout.tensor", layout.tensor)
        _divides("model.layers", self.layers, "layout.pipeline", layout.pipeline)
        if layout.sequence_parallel:
            _divides("model.sequence_length", self.sequence_length, "layout.tensor", layout.tensor)


def _divides(what: str, size: int, by: str, parts: int) -> None:
    if parts < 1 or size % parts:
        raise UserError(f"{what}: found {size}, expected a multiple of {by} ({parts}); change one of the two")
