"""KenLM models: bits a byte of every line as a sentence; one clear line where the library or the model is missing."""

import importlib.util
import math
from pathlib import Path

import pytest

from tilth.corpus.document import document_id, documents
from tilth.corpus.errors import UserError
from tilth.corpus.stage import Asset
from tilth.corpus.store import file_digest
from tilth.selection.kenlm_model import KenlmBits

INSTALLED = importlib.util.find_spec("kenlm") is not None
# Logarithms to base 10. Rye is said nine times as often as oats, but oats after rye.
ARPA = """\\data\\
ngram 1=5
ngram 2=1

\\1-grams:
-3\t<unk>\t0
-99\t<s>\t0
-0.5\t</s>\t0
-0.2\trye\t0
-1.1542425\toats\t0

\\2-grams:
-0.1\trye oats

\\end\\
"""


def stage(path: Path) -> KenlmBits:
    return KenlmBits("perplexity", Asset(str(path), file_digest(path)))


@pytest.mark.skipif(not INSTALLED, reason="the package 'kenlm' is not installed")
def test_every_line_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "farm.arpa").write_text(ARPA)
    texts = ["rye oats", "rye\n\n  oats ", "", "wheat"]
    ids = [document_id("a", text) for text in texts]
    batch = documents({"id": ids, "text": texts, "source": ["a"] * 4})
    found = stage(tmp_path / "farm.arpa").apply(batch).signals["perplexity"].to_pylist()
    expected = [0.8 / 8, (0.7 + 1.6542425) / 12, 8 / math.log2(10), 3.5 / 5]
    assert found == pytest.approx([each * math.log2(10) for each in expected], rel=1e-5)


@pytest.mark.skipif(not INSTALLED, reason="the package 'kenlm' is not installed")
def test_a_damaged_model_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "farm.arpa").write_text(ARPA[:40])
    with pytest.raises(UserError, match=r"farm\.arpa: not a KenLM model") as caught:
        stage(tmp_path / "farm.arpa").apply(documents({"id": [], "text": [], "source": []}))
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(INSTALLED, reason="the package 'kenlm' is installed")
def test_a_missing_library_names_its_extra(tmp_path: Path) -> None:
    (tmp_path / "farm.arpa").write_text(ARPA)
    with pytest.raises(UserError, match=r"pip install 'tilth\[kenlm\]'"):
        stage(tmp_path / "farm.arpa").apply(documents({"id": [], "text": [], "source": []}))
