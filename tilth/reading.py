"""How much of every source a training run reads, and how often: known as soon as its tokens are, before any step.

Up to about four epochs a repeat teaches nearly as much as new text, and ever less beyond (Muennighoff et al. 2023,
Scaling Data-Constrained Language Models). Weights make repeats easy to overlook: so the plan, the lock file and the
report show them by source.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tilth.tokenize.token_set import TokenSet
from tilth.tokenize.tokenizer import Tokenizer
from tilth.train.job import TrainJob
from tilth.train.samples import open_order


def readings(job: TrainJob, tokens: TokenSet, tokenizer: Path) -> dict[str, dict[str, Any]]:
    """Return by source, in JSON's types: ``tokens`` that there are, ``read`` in training, ``epochs``, ``at_most``.

    ``read`` counts places in rows, with what a packing adds; ``at_most`` is in tokens, or null where nothing ends the
    source. Raises ``UserError`` where the sources end before the run does.
    """
    order = open_order(job, tokens, special_tokens(job, Tokenizer.load(tokenizer)))
    samples = job.optimisation.steps * job.optimisation.batch_size
    length = job.model.sequence_length
    counts, epochs, limits = order.places.counts(samples), order.places.epochs(samples), order.places.limits
    return {
        name: {
            "tokens": count.tokens,
            "read": counts.get(name, 0) * length,
            "epochs": round(epochs.get(name, 0.0), 4),
            "at_most": limits[name] * length if name in limits else None,
        }
        for name, count in tokens.sources.items()
    }


def special_tokens(job: TrainJob, tokenizer: Tokenizer) -> dict[str, int]:
    """Return the ids by role that the rows of ``job`` are made with. Raises ``UserError`` where one is missing."""
    return tokenizer.needed("class", "padding") if job.packing == "segments" else {}


def readings_text(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return ``readings`` as lines for a person."""
    return [
        f"  {name}: {row['read']:,} tokens, {row['epochs']:.3g} epochs"
        + (f" (at most {row['at_most']:,} tokens)" if row["at_most"] is not None else "")
        for name, row in found.items()
    ]
