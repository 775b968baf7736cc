"""The recipe that ``tilth init`` writes: commented, complete, to be changed rather than written."""

from pathlib import Path

from tilth.corpus.errors import UserError
from tilth.corpus.store import write_atomically

STARTER = """\
# A recipe says everything that a run does, in order. Paths are relative to this file.
#   tilth check recipe.yaml     checks it and its inputs, prints the plan
#   tilth run recipe.yaml       runs it; the same command again redoes nothing
#   tilth schema                prints every key with its meaning

name: my-corpus                 # the run folder is runs/my-corpus
seed: 0

sources:                        # one entry a domain; the ledger and the report count by them
  - name: docs
    path: data/docs/*.jsonl     # .jsonl, .jsonl.gz, .jsonl.zst or .parquet; a list or a glob
    text: text                  # field that holds the text; dots reach into nested fields
    # id: id                    # field with the record's own id; without it, its place in the file
    # date: date
    # url: url
    # allowance: 0.01           # share of unreadable records at which the run stops

stages:
  - use: normalise              # line endings, control characters, Unicode NFC; every change is recorded

  - use: rules
    preset: gopher.datatrove@1  # Gopher's quality rules with datatrove's limits
    # limits: {words: [20, null]}   # change a limit; `tilth what-if` shows what it would keep
    # inverse: true             # keep exactly what the rules would drop

  - use: deduplicate            # one of the documents with the same text stays: the first source's

  - use: hold-out               # kept away from training, for the evaluation
    fraction: 0.01

  # - use: score                # a fastText classifier, trained here or named by `model: file.bin`
  #   name: quality
  #   train: {positive: [docs], negative: [web]}
  #
  # - use: select               # the best half of the bytes by that score
  #   by: quality
  #   keep: 0.5

tokenizer:
  vocabulary: 8192              # SentencePiece BPE, trained on what is left

train:                          # a Megatron-core GPT on the token shards
  model: {layers: 4, hidden_size: 128, heads: 4, sequence_length: 256}
  optimisation: {steps: 300, batch_size: 16, learning_rate: 0.003}
  layout: {tensor: 1, pipeline: 1, data: 1}   # processes: their product

evaluate:                       # bits per byte on the held-out documents, before and after
  bytes_per_source: 100 KB
"""


def write_starter(path: Path) -> None:
    """Write the starter recipe. Raises ``UserError`` rather than overwrite a file."""
    if path.exists():
        raise UserError(f"{path}: exists already; choose another name or remove it")
    try:
        write_atomically(path, STARTER.encode())
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); choose another place") from error
