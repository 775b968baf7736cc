"""Where training samples come from: the order of a token set, opened by the launcher and by every worker alike."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from tilth.corpus.errors import UserError
from tilth.train.job import TrainJob

if TYPE_CHECKING:
    from tilth.tokenize.token_set import TokenSet
    from tilth.train.objectives.batch import Objective


class Samples(Protocol):
    """A fixed, endless order of samples."""

    fingerprint: str  # of the tokens and their order

    def batch(self, first: int, count: int) -> np.ndarray:
        """Return samples ``first`` to ``first + count - 1``: int64, (count, sequence_length + 1)."""


@dataclass(frozen=True)
class Material:
    """All that a run reads: its samples, what is asked about them, and samples it is never trained on."""

    samples: Samples
    objective: "Objective"
    held_out: Samples | None = None


def open_samples(job: TrainJob) -> Samples:
    """Return the order in which ``job`` sees its tokens.

    Raises ``UserError`` where the tokens are missing or damaged, or made with a tokenizer of another size than the
    model's vocabulary, or where the weights do not fit the sources.
    """
    from tilth.tokenize.order import TrainingOrder

    return TrainingOrder(_token_set(job, job.tokens), job.model.sequence_length, job.seed, dict(job.weights) or None)


def open_material(job: TrainJob) -> Material:
    """Return all that ``job`` reads. Raises ``UserError`` as ``open_samples`` does, or for another tokenizer."""
    from tilth.tokenize.order import TrainingOrder
    from tilth.tokenize.tokenizer import Tokenizer
    from tilth.train.objectives.choose import objective_of
    from tilth.train.objectives.vocabulary import Vocabulary

    encoding = _token_set(job, job.tokens).encoding
    vocabulary = None
    if job.tokenizer is not None and job.model.kind == "bert":
        tokenizer = Tokenizer.load(job.tokenizer)
        if tokenizer.digest != encoding.tokenizer:
            raise UserError(
                f"tokenizer: {job.tokenizer} has the digest {tokenizer.digest}, the tokens in {job.tokens} were made "
                f"with {encoding.tokenizer}; name the tokenizer that made them"
            )
        vocabulary = Vocabulary.of(tokenizer)
    held_out = None
    if job.held_out is not None:
        held_out = TrainingOrder(_token_set(job, job.held_out), job.model.sequence_length, 0)
    return Material(open_samples(job), objective_of(job, encoding.separator, vocabulary), held_out)


def _token_set(job: TrainJob, folder: str) -> "TokenSet":
    from tilth.tokenize.token_set import TokenSet

    tokens = TokenSet.open(folder)
    if job.model.vocabulary_size != tokens.encoding.vocabulary_size:
        raise UserError(
            f"model.vocabulary_size: found {job.model.vocabulary_size}, expected {tokens.encoding.vocabulary_size}, "
            f"the size of the tokenizer of {folder}; set it to that"
        )
    return tokens
