"""Training: Megatron-core models, layouts, checkpoints and runs. Importing this package loads neither torch nor Megatron."""
