"""Named shapes of models: published ones where there are any, and small ones in the same proportions.

A preset is a starting point: any field given beside it wins. Sizes in names count all parameters at a vocabulary of
about 50,000 (GPT-2's), but for ``gpt-1m`` to ``gpt-30m``, where an embedding of that size would be most of the model
and the name holds at a vocabulary of 4,096.
"""

import difflib
from typing import Any

from tilth.corpus.errors import UserError

GPT2 = {
    "kind": "gpt",
    "position": "learned",
    "normalization": "LayerNorm",
    "activation": "gelu",
    "bias": True,
    "tied_embeddings": True,
}
LLAMA = {
    "kind": "gpt",
    "position": "rope",
    "normalization": "RMSNorm",
    "activation": "swiglu",
    "bias": False,
    "tied_embeddings": True,
}
BERT = {**GPT2, "kind": "bert"}


def _sizes(layers: int, hidden_size: int, heads: int, sequence_length: int, **more: Any) -> dict[str, Any]:
    return {"layers": layers, "hidden_size": hidden_size, "heads": heads, "sequence_length": sequence_length, **more}


PRESETS: dict[str, dict[str, Any]] = {
    "gpt-1m": {**LLAMA, **_sizes(4, 128, 4, 256)},
    "gpt-3m": {**LLAMA, **_sizes(6, 192, 6, 256)},
    "gpt-10m": {**LLAMA, **_sizes(8, 320, 5, 512)},
    "gpt-30m": {**LLAMA, **_sizes(10, 512, 8, 512)},
    # Radford et al. 2019, table 2; the names are those of the published weights
    "gpt2-124m": {**GPT2, **_sizes(12, 768, 12, 1024)},
    "gpt2-355m": {**GPT2, **_sizes(24, 1024, 16, 1024)},
    "gpt2-774m": {**GPT2, **_sizes(36, 1280, 20, 1024)},
    # Llama's layer at those sizes, four queries a key from 350 million on
    "gpt-124m": {**LLAMA, **_sizes(12, 768, 12, 1024)},
    "gpt-350m": {**LLAMA, **_sizes(24, 1024, 16, 1024, query_groups=4)},
    "gpt-760m": {**LLAMA, **_sizes(24, 1536, 16, 2048, query_groups=4)},
    "gpt-1.3b": {**LLAMA, **_sizes(24, 2048, 16, 2048, query_groups=4, ffn_hidden_size=6912)},
    # Turc et al. 2019, "Well-Read Students Learn Better", table 1; base is Devlin et al. 2018
    "bert-tiny": {**BERT, **_sizes(2, 128, 2, 512)},
    "bert-mini": {**BERT, **_sizes(4, 256, 4, 512)},
    "bert-small": {**BERT, **_sizes(4, 512, 8, 512)},
    "bert-medium": {**BERT, **_sizes(8, 512, 8, 512)},
    "bert-base": {**BERT, **_sizes(12, 768, 12, 512)},
}


def shape(given: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a ``ModelConfig`` that ``given`` means: a preset's, if it names one, and its own over them.

    Fields that are None are not given. Without a preset, ``kind: bert`` begins with BERT's layer and ``gpt`` with
    Llama's. Raises ``UserError`` for a preset that there is not, or one of another kind.
    """
    said = {name: value for name, value in given.items() if value is not None and name != "preset"}
    name = given.get("preset")
    if name is None:
        return {**(BERT if said.get("kind") == "bert" else {}), **said}
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, 1)
        hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(PRESETS)}"
        raise UserError(f"model.preset: '{name}' is not known; {hint}")
    if said.get("kind", PRESETS[name]["kind"]) != PRESETS[name]["kind"]:
        raise UserError(f"model.kind: found {said['kind']}, expected {PRESETS[name]['kind']} as preset '{name}' says")
    return {**PRESETS[name], **said}
