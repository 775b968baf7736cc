"""Reads a checkpoint's metadata without letting it run code: a pickle may call only what describes tensors.

Megatron's checkpoints keep the shapes and places of their tensors in a pickle, and PyTorch loads it, and any object
that it says is stored beside the tensors, without a question. A checkpoint that someone else made could thus run
anything. The tensors themselves and ``common.pt`` are loaded by PyTorch's own restricted reader.
"""

import pickle
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint import metadata as records

from tilth.corpus.errors import UserError

FILE = ".metadata"

# What torch 2.13 writes for tensors. BytesStorageMetadata is missing on purpose: what it names is unpickled unchecked.
HARMLESS = {
    *(("torch.distributed.checkpoint.metadata", name) for name in (
        "ChunkStorageMetadata", "Metadata", "MetadataIndex", "StorageMeta", "TensorProperties", "TensorStorageMetadata",
        "_MEM_FORMAT_ENCODING",
    )),
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
    ("torch.serialization", "_get_layout"),
    ("torch", "Size"),
    ("pathlib", "PosixPath"),
    ("pathlib", "WindowsPath"),
}  # fmt: skip


class _Reader(pickle.Unpickler):
    """An unpickler that knows no other names."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what ``module.name`` is, where it can do no harm."""
        if (module, name) in HARMLESS or (module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name}")


def check_metadata(folder: Path) -> None:
    """Raise ``UserError`` where the metadata of the checkpoint in ``folder`` is damaged or names what it must not."""
    path = folder / FILE
    refused = "the checkpoint is damaged or was not made by tilth; do not open it"
    try:
        with path.open("rb") as stream:
            found = _Reader(stream).load()
    except (
        pickle.UnpicklingError,
        EOFError,
        OSError,
        AttributeError,
        TypeError,
        ValueError,
        IndexError,
        KeyError,
    ) as error:
        raise UserError(f"{path}: found {error}, expected the places of tensors; {refused}") from error
    if not isinstance(found, records.Metadata):
        raise UserError(f"{path}: found {type(found).__name__}, expected the places of tensors; {refused}")
