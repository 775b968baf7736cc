"""Signals, rules over them, edits, deduplication and decontamination. This room imports the corpus room only."""
