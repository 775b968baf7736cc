"""Token shards as other tools' files, and such files as token shards that a recipe can train on.

Out go Megatron's ``.bin`` and ``.idx``; in come those and datatrove's ``.ds``. What comes in is named by its tokenizer,
which such files do not know, and checked against it id by id.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from tilth.corpus.chain import INDEX
from tilth.corpus.errors import UserError


def export_tokens(root: Path, prefix: Path, sentence_ends: Sequence[str], *, separators: bool) -> dict[str, Any]:
    """Write the token shards of a run as ``prefix.bin`` and ``prefix.idx``; return what was written, in JSON's types.

    ``sentence_ends``: pieces after which a sentence, a sequence of its own, ends. Raises ``UserError`` where there are
    no tokens, a piece is unknown, or the files are there already.
    """
    from tilth.tokenize.megatron_files import export_megatron
    from tilth.tokenize.token_set import TokenSet
    from tilth.tokenize.tokenizer import Tokenizer

    index = orjson.loads((root / INDEX).read_bytes())
    if "tokens" not in index:
        raise UserError(f"{root}: the run has no tokens yet; add a tokenizer to the recipe and run it")
    files = [prefix.with_name(prefix.name + end) for end in (".bin", ".idx")]
    if files[1].exists():
        raise UserError(f"{files[1]}: is there already; name another --out, or remove both files")
    tokens = TokenSet.open(root / str(index["tokens"]))
    tokenizer = Tokenizer.load(root / str(index["tokenizer"]))
    ends = [tokenizer.id_of(piece) for piece in sentence_ends]
    try:
        export_megatron(tokens, prefix, ends, keep_separator=separators)
    except OSError as error:
        raise UserError(f"{prefix}: cannot be written ({error.strerror}); make room or choose another --out") from error
    total = tokens.total
    return {
        "files": [str(file) for file in files],
        "documents": total.documents,
        "tokens": total.tokens - (0 if separators else total.documents),
        "vocabulary": tokens.encoding.vocabulary_size,
        "separator": tokens.encoding.separator,
        "tokenizer": str(tokenizer.path),
    }


def import_tokens(paths: Sequence[Path], tokenizer: Path, source: str, out: Path) -> dict[str, Any]:
    """Write token files as token shards in ``out``; return what they hold and what a recipe has to say.

    ``paths``: ``.ds`` files, or Megatron files by ``.bin``, ``.idx`` or what both have in common. Raises ``UserError``
    where they are of both kinds, damaged or made with another tokenizer, or where ``out`` holds shards already.
    """
    from tilth.tokenize.datatrove_files import import_datatrove
    from tilth.tokenize.megatron_files import import_megatron
    from tilth.tokenize.token_set import MANIFEST
    from tilth.tokenize.tokenizer import Tokenizer

    if (out / MANIFEST).exists():
        raise UserError(f"{out}: holds token shards already; name a new folder with --out")
    of_datatrove = [path for path in paths if path.suffix == ".ds"]
    if of_datatrove and len(of_datatrove) < len(paths):
        raise UserError(f"{of_datatrove[0]}: found files of datatrove and of Megatron; import each kind by itself")
    loaded = Tokenizer.load(tokenizer)
    if of_datatrove:
        tokens = import_datatrove(of_datatrove, loaded, source, out)
    else:
        prefixes = [path.with_suffix("") if path.suffix in (".bin", ".idx") else path for path in paths]
        tokens = import_megatron(list(dict.fromkeys(prefixes)), loaded, source, out)
    return {
        "tokens": str(out),
        "digest": tokens.digest,
        "shards": len(tokens.parts),
        "sources": {name: vars(count) for name, count in tokens.sources.items()},
        "recipe": {"tokens": str(out), "tokenizer": {"model": str(tokenizer)}},
    }
