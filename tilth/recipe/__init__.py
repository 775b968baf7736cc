"""One YAML file says everything that a run does; here is what it may say."""
