"""Models in Hugging Face's folders, out and in: GPT-2, Llama, and Megatron's BERT. Importing it loads no torch."""
