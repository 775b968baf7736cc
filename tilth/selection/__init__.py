"""Training scorers, cutting by score, quotas and mixtures. This room imports the filters and corpus rooms only."""
