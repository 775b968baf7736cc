"""What stands behind a training position: the sample it is in, and the documents that its tokens come from."""

from pathlib import Path
from typing import Any

import orjson

from tilth.corpus.chain import INDEX
from tilth.corpus.errors import UserError


def token_counts(root: Path) -> dict[str, Any]:
    """Return what the token shards of a run hold, by source, in JSON's types. Raises ``UserError``: there are none."""
    from tilth.tokenize.token_set import TokenSet

    tokens = TokenSet.open(_folder(root, "tokens"))
    return {
        "tokens": str(tokens.folder),
        "digest": tokens.digest,
        "vocabulary": tokens.encoding.vocabulary_size,
        "separator": tokens.encoding.separator,
        "shards": len(tokens.parts),
        "sources": {name: vars(count) for name, count in tokens.sources.items()},
    }


def documents_behind(root: Path, position: int) -> dict[str, Any]:
    """Return the sample at ``position`` (tokens consumed since the run's start) and its documents, in JSON's types.

    ``document`` is that of the token at the position itself, null where a row is padded. Raises ``UserError`` where the
    run has no model or tokens.
    """
    from tilth.reading import special_tokens
    from tilth.tokenize.orders import tokens_of
    from tilth.tokenize.token_set import TokenSet
    from tilth.tokenize.tokenizer import Tokenizer
    from tilth.train.job import TrainJob
    from tilth.train.samples import open_order

    if position < 0:
        raise UserError(f"--at: found {position}, expected a position of at least 0, in tokens")
    job = TrainJob.from_json((_folder(root, "model") / "job.json").read_bytes())
    tokens = TokenSet.open(_folder(root, "tokens"))
    tokenizer = Tokenizer.load(_folder(root, "tokenizer"))
    order = open_order(job, tokens, special_tokens(job, tokenizer))
    sample = position // order.sequence_length
    document = order.document_of(position)
    row = tokens_of(order.batch(sample, 1))
    return {
        "position": position,
        "step": sample // job.optimisation.batch_size + 1,
        "sample": sample,
        "epochs": order.places.epochs(sample + 1),
        "document": None if document is None else {"id": document[0], "source": document[1]},
        "documents": [{"id": id, "source": name} for id, name in order.documents_at(sample)],
        "text": tokenizer.decode(row),
    }


def counts_text(found: dict[str, Any]) -> str:
    """Return ``token_counts`` for a person."""
    lines = [f"{found['tokens']}: {found['shards']} shards, {found['vocabulary']:,} pieces"]
    for name, count in found["sources"].items():
        rate = count["bytes"] / max(1, count["tokens"])
        lines.append(
            f"  {name}: {count['documents']:,} documents, {count['tokens']:,} tokens, {rate:.2f} bytes a token"
        )
    return "\n".join(lines)


def behind_text(found: dict[str, Any]) -> str:
    """Return ``documents_behind`` for a person."""
    document = found["document"]
    lines = [
        f"position {found['position']:,}: sample {found['sample']:,}, step {found['step']:,}",
        "padding" if document is None else f"token of {document['id']} ({document['source']})",
        "",
        "documents of the sample",
        *(f"  {one['id']}  {one['source']}" for one in found["documents"]),
        "",
        found["text"],
    ]
    return "\n".join(lines)


def _folder(root: Path, what: str) -> Path:
    index = orjson.loads((root / INDEX).read_bytes())
    if what not in index:
        raise UserError(f"{root}: the run has no {what} yet; add it to the recipe and run it")
    return root / str(index[what])
