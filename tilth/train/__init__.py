"""Training: Megatron-core models, layouts, checkpoints and runs. Importing it loads neither torch nor Megatron."""
