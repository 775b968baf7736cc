"""The library's arithmetic against the library: equal to the last bit, or refused."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tilth.corpus.document import documents
from tilth.corpus.errors import UserError
from tilth.corpus.stage import Asset
from tilth.corpus.store import file_digest
from tilth.filters.fasttext_library import LibraryModel, library_probabilities, map_matrices
from tilth.filters.fasttext_model import load_model
from tilth.filters.score import LIBRARY, Score
from tilth.selection.scorer import zeroed_allocations

CORPORA = Path(__file__).parents[2].parent / "shared" / "data" / "corpora"
WORDS = ["the", "quick", "brown", "über", "文字列", "incomprehensibilities", "unknown", "__label__x", "rare7"]


def train(path: Path, **options: object) -> object:
    """Train a tiny model with the library, give every row known numbers, write it."""
    import fasttext

    random = np.random.default_rng(4)
    lines = path.with_suffix(".txt")
    lines.write_text(
        "\n".join(f"__label__{row % 3} {' '.join(random.choice(WORDS[:6], 9))}" for row in range(90)) + "\n"
    )
    with zeroed_allocations():
        options = {"dim": 11, "thread": 1, "verbose": 0, "wordNgrams": 3, "bucket": 700, **options}
        trained = fasttext.train_supervised(str(lines), **options)
    trained.set_matrices(
        random.normal(size=trained.get_input_matrix().shape), random.normal(size=trained.get_output_matrix().shape)
    )
    trained.save_model(str(path))
    return fasttext.load_model(str(path))


def mapped_model(path: Path) -> LibraryModel:
    return map_matrices(str(path), load_model(str(path)))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[LibraryModel, object]:
    path = tmp_path_factory.mktemp("library") / "model.bin"
    library = train(path)
    return mapped_model(path), library


def answers(library: object, labels: tuple[str, ...], texts: list[str]) -> np.ndarray:
    names, values = library.predict([text.replace("\n", " ") for text in texts], k=-1)
    rows = [dict(zip(name, value, strict=True)) for name, value in zip(names, values, strict=True)]
    return np.array([[row[label] for label in labels] for row in rows], np.float32)


def test_every_answer_is_the_librarys_to_the_last_bit(pair: tuple[LibraryModel, object]) -> None:
    ours, library = pair
    random = np.random.default_rng(6)
    texts = [" ".join(random.choice(WORDS, size)) for size in [*range(60), 511, 3000, 20_000]]
    texts += ["", "a", "the\nquick", "the </s> quick", "\0the\t\tbrown ", "x" * 9000]
    expected = answers(library, ours.model.labels, texts)
    assert library_probabilities(ours, pa.array(texts)).tobytes() == expected.tobytes()
    shifted = pa.array(["before", *texts]).slice(1)
    assert library_probabilities(ours, shifted).tobytes() == expected.tobytes()


def test_a_matrix_is_read_wherever_it_begins(tmp_path: Path) -> None:
    import fasttext

    aligned = set()
    for place in range(2):
        lines = tmp_path / "lines.txt"
        lines.write_text(f"__label__a {'x' * (1 + place)} yes\n__label__b no\n" * 5)
        path = tmp_path / f"{place}.bin"
        with zeroed_allocations():
            fasttext.train_supervised(str(lines), dim=5, thread=1, verbose=0, wordNgrams=2, bucket=9).save_model(
                str(path)
            )
        ours = mapped_model(path)
        aligned.add(bool(ours.matrix.flags.aligned))
        texts = ["x yes", "no no no", "xx"]
        expected = answers(fasttext.load_model(str(path)), ours.model.labels, texts)
        assert library_probabilities(ours, pa.array(texts)).tobytes() == expected.tobytes()
    assert False in aligned


def test_a_zeroed_end_token_is_a_row_of_zeros(tmp_path: Path) -> None:
    import fasttext

    library = train(tmp_path / "model.bin")
    ours = mapped_model(tmp_path / "model.bin")
    matrix = library.get_input_matrix()
    matrix[library.get_word_id("</s>")] = 0
    library.set_matrices(matrix, library.get_output_matrix())
    library.save_model(str(tmp_path / "zeroed.bin"))
    texts = ["", "the quick brown", "über </s> unknown"]
    expected = answers(fasttext.load_model(str(tmp_path / "zeroed.bin")), ours.model.labels, texts)
    assert library_probabilities(ours, pa.array(texts), zero_end=True).tobytes() == expected.tobytes()


def test_a_text_without_features_gets_equal_probabilities(tmp_path: Path) -> None:
    train(tmp_path / "model.bin", wordNgrams=1, bucket=0, minCount=1000)
    found = library_probabilities(mapped_model(tmp_path / "model.bin"), pa.array(["nothing known"]))
    np.testing.assert_allclose(found, [[1 / 3] * 3], atol=2e-5)


@pytest.mark.parametrize("options", [{"minn": 2, "maxn": 3}, {"loss": "ova"}, {"loss": "hs"}])
def test_models_whose_sums_are_not_repeated_are_refused(tmp_path: Path, options: dict[str, object]) -> None:
    train(tmp_path / "model.bin", **options)
    with pytest.raises(UserError, match="arithmetic: library"):
        mapped_model(tmp_path / "model.bin")


def test_a_quantised_model_is_refused(tmp_path: Path) -> None:
    library = train(tmp_path / "model.bin")
    library.quantize()
    library.save_model(str(tmp_path / "model.ftz"))
    with pytest.raises(UserError, match="arithmetic: library"):
        mapped_model(tmp_path / "model.ftz")


def test_the_stage_takes_either_arithmetic_and_no_other(tmp_path: Path) -> None:
    library = train(tmp_path / "model.bin")
    asset = Asset(str(tmp_path / "model.bin"), file_digest(tmp_path / "model.bin"))
    texts = ["the quick", "brown\nüber the"]
    batch = documents({"id": [bytes(16), b"1" * 16], "text": texts, "source": ["test"] * 2})
    exact, theirs = (
        Score("quality", asset, "__label__1", arithmetic=arithmetic).apply(batch).signals["quality"].to_numpy()
        for arithmetic in ("double", LIBRARY)
    )
    expected = answers(library, ("__label__1",), texts)[:, 0]
    assert theirs.tobytes() == expected.tobytes()
    np.testing.assert_allclose(exact + 1e-5, expected, atol=1e-6)
    with pytest.raises(UserError, match="arithmetic: found 'single'"):
        Score("quality", asset, "__label__1", arithmetic="single")


@pytest.mark.skipif(not CORPORA.is_dir(), reason="needs ../shared/data beside the repository")
def test_real_texts_score_as_the_library_scores_them(pair: tuple[LibraryModel, object]) -> None:
    import zstandard

    ours, library = pair
    texts = []
    for path in sorted(CORPORA.glob("*.zst")):
        with zstandard.open(path, "rt", encoding="utf-8") as lines:
            texts += [json.loads(line)["text"] for line, _ in zip(lines, range(40), strict=False)]
    expected = answers(library, ours.model.labels, texts)
    assert library_probabilities(ours, pa.array(texts)).tobytes() == expected.tobytes()
