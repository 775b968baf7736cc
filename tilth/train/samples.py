"""Where training samples come from: the order of a token set, opened by the launcher and by every worker alike."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from tilth.corpus.errors import UserError
from tilth.train.job import TrainJob

if TYPE_CHECKING:
    from tilth.tokenize.mixture import Mixture
    from tilth.tokenize.orders import Order
    from tilth.tokenize.token_set import TokenSet
    from tilth.train.objectives.batch import Objective


class Samples(Protocol):
    """A fixed order of samples."""

    fingerprint: str  # of the tokens and their order

    def batch(self, first: int, count: int) -> Any:
        """Return samples ``first`` to ``first + count - 1``, as the objective takes them."""


@dataclass(frozen=True)
class Material:
    """All that a run reads: its samples, what is asked about them, and samples it is never trained on."""

    samples: Samples
    objective: "Objective"
    held_out: Samples | None = None


def open_order(job: TrainJob, tokens: "TokenSet", special: Mapping[str, int]) -> "Order":
    """Return the order in which ``job`` sees ``tokens``; ``special``: ids by role, for a BERT's segments.

    Raises ``UserError`` where mixture and sources do not fit, or where the order ends before the run does.
    """
    from tilth.tokenize.mixture import Mixture
    from tilth.tokenize.orders import check_end

    mixture = Mixture(dict(job.weights) or None, dict(job.budgets) or None, dict(job.epochs) or None)
    order = _order(job, tokens, job.seed, mixture, special)
    check_end(order, job.optimisation.steps * job.optimisation.batch_size)
    return order


def open_material(job: TrainJob) -> Material:
    """Return all that ``job`` reads.

    Raises ``UserError`` as ``open_order`` does, where the tokens are missing or damaged, or where they were made with
    another tokenizer than the model's.
    """
    from tilth.tokenize.mixture import Mixture
    from tilth.tokenize.tokenizer import Tokenizer
    from tilth.train.objectives.choose import objective_of
    from tilth.train.objectives.vocabulary import Vocabulary

    tokens = _token_set(job, job.tokens)
    encoding = tokens.encoding
    vocabulary = None
    special: Mapping[str, int] = {}
    if job.tokenizer is not None and job.model.kind == "bert":
        tokenizer = Tokenizer.load(job.tokenizer)
        if tokenizer.digest != encoding.tokenizer:
            raise UserError(
                f"tokenizer: {job.tokenizer} has the digest {tokenizer.digest}, the tokens in {job.tokens} were made "
                f"with {encoding.tokenizer}; name the tokenizer that made them"
            )
        vocabulary = Vocabulary.of(tokenizer)
        special = tokenizer.needed("class", "padding") if job.packing == "segments" else {}
    held_out = None
    if job.held_out is not None:
        held_out = _order(job, _token_set(job, job.held_out), 0, Mixture(), special)
    order = open_order(job, tokens, special)
    return Material(order, objective_of(job, encoding.separator, vocabulary), held_out)


def _order(job: TrainJob, tokens: "TokenSet", seed: int, mixture: "Mixture", special: Mapping[str, int]) -> "Order":
    from tilth.tokenize import orders

    pairs = job.pairs if job.model.sentence_order else "none"
    return orders.open_order(tokens, job.packing, job.model.sequence_length, seed, mixture, special, pairs)


def _token_set(job: TrainJob, folder: str) -> "TokenSet":
    from tilth.tokenize.token_set import TokenSet

    tokens = TokenSet.open(folder)
    if job.model.vocabulary_size != tokens.encoding.vocabulary_size:
        raise UserError(
            f"model.vocabulary_size: found {job.model.vocabulary_size}, expected {tokens.encoding.vocabulary_size}, "
            f"the size of the tokenizer of {folder}; set it to that"
        )
    return tokens
