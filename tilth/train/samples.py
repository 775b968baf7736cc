"""Where training samples come from: the order of a token set, opened by the launcher and by every worker alike."""

from typing import Protocol

import numpy as np

from tilth.corpus.errors import UserError
from tilth.train.job import TrainJob


class Samples(Protocol):
    """A fixed, endless order of samples."""

    fingerprint: str  # of the tokens and their order

    def batch(self, first: int, count: int) -> np.ndarray:
        """Return samples ``first`` to ``first + count - 1``: int64, (count, sequence_length + 1)."""


def open_samples(job: TrainJob) -> Samples:
    """Return the order in which ``job`` sees its tokens.

    Raises ``UserError`` where the tokens are missing or damaged, or made with a tokenizer of another size than the
    model's vocabulary, or where the weights do not fit the sources.
    """
    from tilth.tokenize.order import TrainingOrder
    from tilth.tokenize.token_set import TokenSet

    tokens = TokenSet.open(job.tokens)
    if job.model.vocabulary_size != tokens.encoding.vocabulary_size:
        raise UserError(
            f"model.vocabulary_size: found {job.model.vocabulary_size}, expected {tokens.encoding.vocabulary_size}, "
            f"the size of the tokenizer of {job.tokens}; set it to that"
        )
    return TrainingOrder(tokens, job.model.sequence_length, job.seed, dict(job.weights) or None)
