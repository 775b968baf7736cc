"""How many bytes of a pool one token holds: what turns a budget of tokens into one of bytes.

A selection is cut by bytes, which are known without reading a text; tokens are counted on a sample of some megabytes,
chosen by a hash of ids. What is kept may hold more or fewer a byte than the pool: the count of the shards is exact.
"""

import numpy as np
import pyarrow as pa

from tilth.corpus.chain import Stored
from tilth.corpus.errors import UserError
from tilth.selection.hashed_ngrams import uniform
from tilth.tokenize.tokenizer import Tokenizer


def measured_bytes_per_token(stored: Stored, tokenizer: Tokenizer, most_bytes: int, seed: int) -> float:
    """Return bytes of text over tokens, separators among them, of a sample of what leaves ``stored``.

    About ``most_bytes`` are read, or all that there is. Raises ``UserError`` where the sample is empty.
    """
    share = min(1.0, most_bytes / max(1, stored.manifest.account.bytes_out))
    size = tokens = 0
    for part in range(stored.parts):
        for batch in stored.lineage.read(part, ["text"]):
            drawn = uniform(batch.column("id"), seed) <= share
            chosen = batch.filter(pa.array(drawn))
            size += int(np.asarray(chosen.column("bytes")).sum())
            tokens += len(tokenizer.encode_column(chosen.column("text"), separated=True)[0])
    if not size:
        raise UserError("select: tokens: no text to measure the tokenizer on; give 'bytes_per_token'")
    return size / tokens
