"""What a model learns to do with a row of tokens. An objective turns rows into a ``Batch``; each is one file."""
