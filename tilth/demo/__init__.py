"""The demonstration: a corpus that every Python installation already carries, so that nothing has to be downloaded."""
