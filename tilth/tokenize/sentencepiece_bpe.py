"""The names that this module had before there were other tokenizers than SentencePiece's BPE."""

from tilth.tokenize.settings import TokenizerSettings
from tilth.tokenize.tokenizer import Tokenizer, token_dtype
from tilth.tokenize.train_tokenizer import train_tokenizer

__all__ = ["Tokenizer", "TokenizerSettings", "token_dtype", "train_tokenizer"]
