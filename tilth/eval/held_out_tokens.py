"""Held-out documents as token shards, for a run that looks at them while it trains."""

from pathlib import Path

import pyarrow as pa

from tilth.corpus.document import documents
from tilth.tokenize.shards import tokenize_part
from tilth.tokenize.token_set import MANIFEST, write_manifest
from tilth.tokenize.tokenizer import Tokenizer


def held_out_tokens(table: pa.Table, tokenizer: Tokenizer, folder: Path) -> Path:
    """Write ``table`` (``id``, ``text``, ``source``) as a token set in ``folder``, unless it is there; return it."""
    if (folder / MANIFEST).is_file():
        return folder
    columns = {name: table.column(name).combine_chunks() for name in ("id", "text", "source")}
    part = tokenize_part([documents(columns)], tokenizer.path, folder / "part-00000.arrow")
    write_manifest(folder, tokenizer, [part])
    return folder
