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


# Weights with a row for every piece, the padding's after them.
BY_VOCABULARY = ("embedding.word_embeddings.weight", "output_layer.weight", "output_layer.bias")
GELUS = ("gelu", "gelu_tanh")


@dataclass(frozen=True)
class ModelConfig:
    """A transformer: a decoder (``gpt``) or an encoder (``bert``).

    The defaults are Llama's shape at a size that trains on two cores; ``tilth.train.presets`` has others by name.
    """

    vocabulary_size: int  # of the tokenizer, unpadded
    layers: int = 4
    hidden_size: int = 128
    heads: int = 4
    sequence_length: int = 256
    ffn_hidden_size: int | None = None  # default: 4 x hidden_size for gelu, 8/3 x hidden_size in steps of 64 for swiglu
    query_groups: int | None = None  # heads of keys and values, each shared by heads / query_groups; default: all heads
    position: Literal["learned", "rope"] = "rope"
    normalization: Literal["LayerNorm", "RMSNorm"] = "RMSNorm"
    activation: Literal["gelu", "gelu_tanh", "swiglu"] = (
        "swiglu"  # gelu_tanh: the approximation that GPT-2 learned with
    )
    bias: bool = False  # in the linear layers
    tied_embeddings: bool = True  # one matrix reads the tokens and predicts them
    dropout: float = 0.0
    kind: Literal["gpt", "bert"] = "gpt"
    sentence_order: bool = False  # bert: a head that tells whether two halves of a text were exchanged
    norm_epsilon: float = 1e-5
    rope_base: int = 10_000  # of rope: the longest wavelength is about 2 pi times this, in positions

    @property
    def padded_vocabulary_size(self) -> int:
        """Rows of the embedding: the vocabulary, rounded up to a multiple of 128."""
        return -(-self.vocabulary_size // VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE

    @property
    def feed_forward_size(self) -> int:
        """Width inside the feed-forward layer."""
        if self.ffn_hidden_size is not None:
            return self.ffn_hidden_size
        return 4 * self.hidden_size if self.activation in GELUS else -(-8 * self.hidden_size // (3 * 64)) * 64

    @property
    def key_heads(self) -> int:
        """Heads of keys, and of values."""
        return self.query_groups or self.heads

    @property
    def layer_matrices(self) -> int:
        """Weights of the matrices of one layer: what every token is multiplied with."""
        width, inner = self.hidden_size, self.feed_forward_size
        keys = self.key_heads * (width // self.heads)
        up = inner * (2 if self.activation == "swiglu" else 1)
        return 2 * width * width + 2 * width * keys + width * up + inner * width

    @property
    def parameters(self) -> int:
        """Number of parameters, the padding of the vocabulary included."""
        width, inner = self.hidden_size, self.feed_forward_size
        up = inner * (2 if self.activation == "swiglu" else 1)
        norm = width * (2 if self.normalization == "LayerNorm" else 1)
        keys = self.key_heads * (width // self.heads)
        biases = 2 * width + 2 * keys + up + width if self.bias else 0
        embedding = self.padded_vocabulary_size * width
        positions = self.sequence_length * width if self.position == "learned" else 0
        embeddings = embedding * (1 if self.tied_embeddings else 2) + positions
        return embeddings + self.layers * (self.layer_matrices + biases + 2 * norm) + norm + self._head_parameters

    @property
    def _head_parameters(self) -> int:
        """What BERT has beyond a GPT: two segments, a head that predicts masked tokens, one for the sentence order."""
        if self.kind == "gpt":
            return 0
        width = self.hidden_size
        norm = width * (2 if self.normalization == "LayerNorm" else 1)
        masked = width * width + width + norm + self.padded_vocabulary_size
        return 2 * width + masked + (width * width + width + 2 * width + 2 if self.sentence_order else 0)

    def flops_per_token(self, predicted: float = 1.0) -> float:
        """Floating-point operations of training on a token, forward and backward, nothing computed twice.

        6 for every weight of a matrix and 12 x layers x hidden_size x sequence_length for attention (Chowdhery et al.
        2022, PaLM, appendix B, which counts the whole square of a causal mask too). ``predicted`` is the share of the
        positions whose logits are computed.
        """
        head = self.hidden_size * self.padded_vocabulary_size
        if self.kind == "bert":
            head += self.hidden_size * self.hidden_size
        matrices = self.layers * self.layer_matrices + predicted * head
        return 6.0 * matrices + 12.0 * self.layers * self.hidden_size * self.sequence_length

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
        if self.query_groups is not None and self.query_groups < 1:
            raise UserError(f"model.query_groups: found {self.query_groups}, expected 1 or more")
        _divides("model.heads", self.heads, "model.query_groups", self.key_heads)
        _divides("model.heads", self.heads, "layout.tensor", layout.tensor)
        _divides("model.query_groups", self.key_heads, "layout.tensor", layout.tensor)
        if self.sentence_order and self.kind != "bert":
            raise UserError("model.sentence_order: found true with kind gpt, expected bert; turn it off")
        _divides("model.ffn_hidden_size", self.feed_forward_size, "layout.tensor", layout.tensor)
        _divides("the padded vocabulary", self.padded_vocabulary_size, "layout.tensor", layout.tensor)
        stages, names = layout.pipeline, "layout.pipeline"
        if layout.virtual > 1:
            stages, names = stages * layout.virtual, f"{names} x layout.virtual"
        _divides("model.layers", self.layers, names, stages)
        if layout.sequence_parallel:
            _divides("model.sequence_length", self.sequence_length, "layout.tensor", layout.tensor)


def _divides(what: str, size: int, by: str, parts: int) -> None:
    if parts < 1 or size % parts:
        raise UserError(f"{what}: found {size}, expected a multiple of {by} ({parts}); change one of the two")
