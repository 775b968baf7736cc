"""Tokenize: a tokenizer that loses nothing, token shards that need no reader of ours, an order that never moves."""
