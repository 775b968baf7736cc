"""Export: what leaves a stage of a run, in a folder for other tools, with a manifest that says what it is.

The folder appears whole or not at all: it is written beside its place under another name, every document is summed on
the way and the sum compared with the run's ledger, and the rename comes last.
"""

import difflib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from tilth.corpus.chain import Stored, open_chain
from tilth.corpus.document import halves
from tilth.corpus.errors import UserError
from tilth.corpus.ledger import document_sums
from tilth.corpus.store import file_digest
from tilth.corpus.writers import ExportFormat, exported, file_name, hugging_face_files, write_file

MANIFEST = "_manifest.json"
Progress = Callable[[int, int], None]  # parts done, parts in all


def export(
    run: Path, stage: str | None, format: ExportFormat, folder: Path | None, progress: Progress | None = None
) -> dict[str, Any]:
    """Write the documents that leave ``stage`` (by default the last) of a run; return the manifest.

    ``folder`` is by default ``exports/STAGE-FORMAT`` in the run. An export of the same documents that is there already
    is left as it is. Raises ``UserError`` where the stage is not known or the folder holds anything else.
    """
    stored = chosen_stage(run, stage)
    manifest = stored.manifest
    folder = (folder or run / "exports" / f"{manifest.name}-{format}").resolve()
    found = written(folder)
    if found is not None and (found["fingerprint"], found["format"]) == (manifest.fingerprint, format):
        return {**found, "folder": str(folder), "reused": True}
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: holds something else already; name another folder with --out, or remove it")
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        made = write_parts(stored, format, partial, progress)
        (partial / MANIFEST).write_bytes(orjson.dumps(made, option=orjson.OPT_INDENT_2))
        if folder.exists():
            folder.rmdir()
        partial.rename(folder)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise UserError(f"{folder}: cannot be written ({error.strerror}); make room or choose another --out") from error
    return {**made, "folder": str(folder), "reused": False}


def chosen_stage(run: Path, stage: str | None) -> Stored:
    """Return the stage of that name, or the last; raise ``UserError`` for a name that there is not."""
    chain = {stored.manifest.name: stored for stored in open_chain(run)}
    if not chain:
        raise UserError(f"{run}: no stage is finished; run the recipe first")
    if stage is None:
        return list(chain.values())[-1]
    if stage not in chain:
        near = difflib.get_close_matches(stage, chain, 1)
        hint = f"did you mean '{near[0]}'?" if near else f"the stages are {', '.join(chain)}"
        raise UserError(f"--stage: no stage '{stage}' in {run}; {hint}")
    return chain[stage]


def write_parts(stored: Stored, format: ExportFormat, folder: Path, progress: Progress | None) -> dict[str, Any]:
    """Write every part of a stage and return the manifest. Raises ``UserError`` where they are not what was stored."""
    manifest = stored.manifest
    names = [file_name(format, part, stored.parts) for part in range(stored.parts)]
    files: dict[str, Any] = {}
    total = Total()
    for part, name in enumerate(names):
        documents = write_file(folder / name, format, total.over(stored, part))
        place = folder / name
        with place.open("rb") as handle:
            os.fsync(handle.fileno())
        files[name] = {"bytes": place.stat().st_size, "digest": file_digest(place), "documents": documents}
        if progress is not None:
            progress(part + 1, stored.parts)
    account = manifest.account
    if (total.documents, total.set_digest) != (account.documents_out, account.set_digest):
        raise UserError(
            f"{stored.folder}: holds {total.documents} documents with digest {total.set_digest}, its manifest says "
            f"{account.documents_out} with {account.set_digest}; run the recipe again"
        )
    if format == "huggingface":
        for name, data in hugging_face_files(names, manifest.fingerprint).items():
            (folder / name).write_bytes(data)
    return {
        "stage": manifest.name,
        "fingerprint": manifest.fingerprint,
        "format": format,
        "documents": account.documents_out,
        "bytes": account.bytes_out,
        "set_digest": account.set_digest,
        "files": files,
    }


class Total:
    """Sums the documents that pass, as the ledger does."""

    def __init__(self) -> None:
        self.documents = 0
        self.sums = (0, 0)

    @property
    def set_digest(self) -> str:
        """32 hex digits, equal to the account's for the same documents."""
        return f"{self.sums[1]:016x}{self.sums[0]:016x}"

    def over(self, stored: Stored, part: int) -> Iterator[pa.RecordBatch]:
        """Yield the documents of a part as they are exported, and sum them."""
        for batch in stored.lineage.read(part, ("text", "url", "date", "language", "metadata")):
            low, high = document_sums(halves(batch.column("id")), halves(batch.column("digest")))
            self.sums = (self.sums[0] + low) % 2**64, (self.sums[1] + high) % 2**64
            self.documents += batch.num_rows
            yield exported(batch)


def written(folder: Path) -> dict[str, Any] | None:
    """Return the manifest of an export that is there, or ``None``."""
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        found = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) and {"fingerprint", "format"} <= set(found) else None
