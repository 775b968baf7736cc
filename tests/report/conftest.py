"""A small run as the pipeline leaves it: real readers, real stages, the real engine; nothing is stood in for."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tilth.corpus.chain import Chain, Stored
from tilth.corpus.engines.local import LocalEngine
from tilth.corpus.sources import Source, find_files, input_digests
from tilth.corpus.splits import plan_parts
from tilth.corpus.stage import Stage

Records = Mapping[str, Sequence[dict[str, Any] | str]]
MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Return what makes a run folder of records (a string is a raw line) by source, and of stages."""

    def make(records: Records, stages: Sequence[Stage] = (), part_bytes: int = 1 << 20, **index: Any) -> Path:
        data, root = tmp_path / "data", tmp_path / "run"
        data.mkdir(exist_ok=True)
        sources = {}
        for name, lines in records.items():
            raw = [line if isinstance(line, str) else json.dumps(line) for line in lines]
            (data / f"{name}.jsonl").write_text("\n".join(raw) + "\n", encoding="utf-8")
            sources[name] = Source(name, (str(data / f"{name}.jsonl"),), allowance=1.0)
        files = [file for source in sources.values() for file in find_files(source, data)]
        digests = {
            name: input_digests([file for file in files if file.source == name], tmp_path / "inputs.json")
            for name in sources
        }
        chain = Chain(root, LocalEngine(1))
        head: Stored = chain.read(sources, plan_parts(files, part_bytes), digests)
        for stage in stages:
            head = chain.apply(stage, head)
        folders = [stored.folder.name for stored in chain.done]
        (root / "run.json").write_text(json.dumps({"name": "small", "stages": folders, **index}))
        return root

    return make
