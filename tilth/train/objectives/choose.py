"""Gives a job the objective that its settings describe."""

from tilth.corpus.errors import UserError
from tilth.train.job import TrainJob
from tilth.train.objectives.batch import Objective
from tilth.train.objectives.causal import Causal
from tilth.train.objectives.masked import Masked, Masking
from tilth.train.objectives.segments import Segments
from tilth.train.objectives.sentence_order import SentenceOrder
from tilth.train.objectives.vocabulary import Vocabulary


def objective_of(job: TrainJob, separator: int | None, vocabulary: Vocabulary | None = None) -> Objective:
    """Return the objective of ``job``. ``separator`` is that of the shards; a BERT also needs its ``vocabulary``.

    Raises ``UserError`` where they are needed and missing.
    """
    wanted = job.objective
    if job.model.kind == "gpt":
        if wanted.document_mask and separator is None:
            raise UserError("objective.document_mask: found no separator in the tokens, expected one; turn it off")
        return Causal(separator if wanted.document_mask else None)
    if vocabulary is None:
        raise UserError("tokenizer: found none, expected the tokenizer of the shards: a bert has to know its mask")
    masking = Masking(
        seed=job.seed,
        proposals=wanted.proposals,
        rate=wanted.rate,
        masked=wanted.masked,
        replaced=wanted.replaced,
        span_success=wanted.span_success,
        longest_span=wanted.longest_span,
    )
    if job.packing == "segments":
        return Segments(masking, vocabulary, job.model.sentence_order)
    if job.model.sentence_order:
        return SentenceOrder(masking, vocabulary)
    return Masked(masking, vocabulary, wanted.document_mask)
