"""Deduplication: documents, lines and passages that say the same; every removal names who stayed."""
