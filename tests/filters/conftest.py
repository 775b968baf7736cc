"""Real texts for the tests of filters, where they lie beside the repository; plain twins are imported by one name."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

sys.path.insert(0, str(Path(__file__).parent))
CORPORA = Path(__file__).parents[2].parent / "shared/data/corpora"
NAMES = ("biomedical_medquad", "encyclopedia_enwiki2019", "novels_eltec", "science_acl_2016plus")
NAMES += ("statutes_us_dc", "techdocs_mscpp")


@pytest.fixture(params=NAMES)
def real_texts(request: pytest.FixtureRequest) -> Callable[[int], list[str]]:
    """A function that returns so many texts of a corpus, evenly spread; once for every corpus."""
    path = CORPORA / f"{request.param}.share.jsonl.zst"
    if not path.is_file():
        pytest.skip("real texts lie in ../shared/data beside the repository")

    def read(count: int) -> list[str]:
        with path.open("rb") as raw:
            lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(raw), "utf-8").readlines()
        return [json.loads(line)["text"] for line in lines[:: max(1, len(lines) // count)]]

    return read
