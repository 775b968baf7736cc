"""Writes a checkpoint as a Hugging Face folder and reads such folders back: config.json, safetensors, the tokenizer.

Nothing in a folder is unpickled or run; weights are read from safetensors alone. Exported weights are float32, as they
were trained, without the vocabulary's padding.
"""

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from tilth.corpus.errors import UserError
from tilth.corpus.store import file_digest
from tilth.tokenize.tokenizer import Tokenizer
from tilth.train import checkpoint
from tilth.train.build import build_model
from tilth.train.hugging_face import gpt2, llama, megatron_bert
from tilth.train.identity import imported_manifest
from tilth.train.job import parse
from tilth.train.layout import Layout, alone
from tilth.train.loop import write_checkpoint
from tilth.train.model import BY_VOCABULARY, ModelConfig
from tilth.train.state import load_state

SHAPES: dict[str, ModuleType] = {"gpt2": gpt2, "llama": llama, "megatron-bert": megatron_bert}
CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
# Files of a tokenizer that Hugging Face's loaders look for.
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json")
ROLES = {"separator": "eos_token", "padding": "pad_token", "unknown": "unk_token", "class": "cls_token"} | {
    "mask": "mask_token"
}


def export_model(source: Path, folder: Path, tokenizer: Path | None = None) -> dict[str, Any]:
    """Write the checkpoint ``source`` to ``folder`` and return its ``config.json``.

    Raises ``UserError`` where no class of Hugging Face's has its shape, or ``tokenizer`` is not the one it needs.
    """
    found = checkpoint.read_checkpoint(source)
    model: ModelConfig = parse(ModelConfig, found.model)
    shape = _shape_of(model, source)
    loaded = Tokenizer.load(tokenizer) if tokenizer is not None else None
    if loaded is not None and loaded.vocabulary_size != model.vocabulary_size:
        raise UserError(
            f"{source}: trained with a vocabulary of {model.vocabulary_size}, found {loaded.vocabulary_size} in "
            f"{tokenizer}; name the tokenizer of its training"
        )
    with alone(), torch.no_grad():
        built = build_model(model, Layout())
        load_state(found.path, [built], None)
        weights = {name: value for name, value in built.state_dict().items() if isinstance(value, Tensor)}
    for name in BY_VOCABULARY:
        if name in weights:
            weights[name] = weights[name][: model.vocabulary_size]
    tensors = {name: value.detach().contiguous().clone() for name, value in shape.export(model, weights).items()}
    architecture = shape.WITH_ORDER if model.sentence_order else shape.ARCHITECTURE
    config = {"architectures": [architecture], "dtype": "float32", **shape.config(model), **_special(loaded)}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / CONFIG).write_bytes(orjson.dumps(config, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    if loaded is not None:
        _write_tokenizer(loaded, folder)
    return config


def import_model(source: Path, folder: Path) -> ModelConfig:
    """Write the Hugging Face folder ``source`` as the checkpoint of step 0 in ``folder`` and return its model.

    Raises ``UserError`` where ``source`` is damaged or of a shape that Tilth does not have.
    """
    config = _read_json(source / CONFIG)
    kind = config.get("model_type")
    if kind not in SHAPES:
        raise UserError(f"{source / CONFIG}: model_type: found {kind!r}, expected one of {', '.join(SHAPES)}")
    tensors = _read_tensors(source)
    try:
        model: ModelConfig = SHAPES[kind].model_of(config)
        model.check(Layout())
        weights = SHAPES[kind].load(model, tensors)
    except KeyError as error:
        raise UserError(
            f"{source}: {error.args[0]!r} is missing or not known; expected a whole {kind} model"
        ) from error
    except (RuntimeError, TypeError) as error:
        raise UserError(f"{source}: the tensors do not fit {CONFIG}: {' '.join(str(error).split())[:160]}") from error
    with alone(), torch.no_grad():
        built = build_model(model, Layout())
        own = built.state_dict()
        for name, value in weights.items():
            _fill(own, name, value, model.vocabulary_size, source)
        missing = [name for name, value in own.items() if isinstance(value, Tensor) and name not in weights]
        if missing:
            raise UserError(f"{source}: nothing gives {missing[0]}; expected a whole {kind} model")
        folder.mkdir(parents=True, exist_ok=True)
        digests = {path.name: file_digest(path) for path in sorted(source.glob("*.safetensors"))}
        write_checkpoint(folder, [built], None, imported_manifest(model, digests))
    return model


def recipe_of(model: ModelConfig) -> dict[str, Any]:
    """Return what a recipe's ``train.model`` has to say for this model: all that is not the default."""
    told = {
        field.name: getattr(model, field.name)
        for field in dataclasses.fields(model)
        if field.name != "vocabulary_size" and getattr(model, field.name) != field.default
    }
    return {"kind": model.kind, **told}


def _shape_of(model: ModelConfig, source: Path) -> ModuleType:
    for shape in SHAPES.values():
        if shape.fits(model):
            return shape
    raise UserError(
        f"{source}: no class of Hugging Face's has {model.kind} with {model.position} positions, "
        f"{model.normalization}, {model.activation}, bias {model.bias}, {model.key_heads} of {model.heads} key "
        "heads; expected the shape of GPT-2, Llama or Megatron's BERT"
    )


def _fill(own: Mapping[str, Any], name: str, value: Tensor, vocabulary_size: int, source: Path) -> None:
    """Copy a weight; where the vocabulary is padded, what is beyond it keeps its first values."""
    rows = own[name][:vocabulary_size] if name in BY_VOCABULARY else own[name]
    if rows.shape != value.shape:
        raise UserError(f"{source}: {name}: found {tuple(value.shape)}, expected {tuple(rows.shape)} as {CONFIG} says")
    rows.copy_(value)


def _special(tokenizer: Tokenizer | None) -> dict[str, int]:
    if tokenizer is None:
        return {}
    keys = {"separator": "eos_token_id", "padding": "pad_token_id"}
    found = {keys[role]: number for role, number in tokenizer.special.items() if role in keys}
    return {"bos_token_id": tokenizer.separator, **found}


def _write_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Copy the tokenizer's files, and say its special tokens where it does not say them itself."""
    path = tokenizer.path if tokenizer.path.is_dir() else tokenizer.path.parent
    for name in TOKENIZER_FILES:
        if (path / name).is_file():
            shutil.copyfile(path / name, folder / name)
    if tokenizer.path.is_file():
        shutil.copyfile(tokenizer.path, folder / f"tokenizer{tokenizer.path.suffix}")
    said = {
        ROLES[role]: tokenizer.library.piece_of(number) for role, number in tokenizer.special.items() if role in ROLES
    }
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if not (folder / name).is_file():
            more = {"tokenizer_class": "PreTrainedTokenizerFast"} if name == "tokenizer_config.json" else {}
            (folder / name).write_bytes(orjson.dumps({**more, **said}, option=orjson.OPT_INDENT_2))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = orjson.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise UserError(f"{path}: not found; name a folder with {CONFIG} and {WEIGHTS}") from error
    except orjson.JSONDecodeError as error:
        raise UserError(f"{path}: not JSON ({error}); the folder is damaged") from error
    if not isinstance(found, dict):
        raise UserError(f"{path}: found a {type(found).__name__}, expected an object; the folder is damaged")
    return found


def _read_tensors(source: Path) -> dict[str, Tensor]:
    names = [WEIGHTS]
    if (source / INDEX).is_file():
        names = sorted({Path(str(name)).name for name in _read_json(source / INDEX).get("weight_map", {}).values()})
    found: dict[str, Tensor] = {}
    for name in names:
        if not (source / name).is_file():
            raise UserError(f"{source / name}: not found; only safetensors are read, convert other formats to them")
        try:
            found |= load_file(source / name)
        except SafetensorError as error:
            raise UserError(f"{source / name}: not safetensors ({error}); the file is damaged") from error
    return {name: value.float() for name, value in found.items()}
