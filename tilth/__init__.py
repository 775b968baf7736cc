"""Tilth: raw domain corpora in, proven token shards and trained models out."""

__version__ = "0.1.0"
