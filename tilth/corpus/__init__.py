"""What a document is, where it comes from, and where it is kept. This room imports nothing of ours."""
