"""Decontamination: evaluation examples that stand in the training text, found by their n-grams, with a certificate."""
