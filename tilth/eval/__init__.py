"""Evaluation: what a checkpoint knows of texts that it never saw."""
