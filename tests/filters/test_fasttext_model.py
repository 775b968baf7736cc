"""Reading model files: all that the library wrote, and one clear line for everything else."""

import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tilth.corpus.errors import UserError
from tilth.filters.fasttext_model import HEADER, FastTextModel, label_probabilities, load_model
from tilth.filters.fasttext_tokens import padded, read_tokens
from tilth.filters.fasttext_words import find_all
from tilth.selection.scorer import zeroed_allocations

LINES = "\n".join(f"__label__{'ab'[row % 2]} common größe word{row % 7} {'x' * (row % 11)}" for row in range(60)) + "\n"


def write_model(path: Path, **options: object) -> Path:
    """Train with the library and write the model to ``path``."""
    import fasttext

    lines = path.with_suffix(".txt")
    lines.write_text(LINES, encoding="utf-8")
    with zeroed_allocations():
        if options.get("model"):
            trained = fasttext.train_unsupervised(str(lines), dim=4, thread=1, verbose=0, minCount=1, **options)
        else:
            trained = fasttext.train_supervised(str(lines), **{"dim": 4, "thread": 1, "verbose": 0, **options})
    trained.save_model(str(path))
    return path


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "good.bin", wordNgrams=2, bucket=50)


def test_a_model_is_read_as_the_library_reads_it(good: Path) -> None:
    import fasttext

    library, ours = fasttext.load_model(str(good)), load_model(str(good))
    entries = [
        ours.pool[start : start + length].tobytes().decode()
        for start, length in zip(ours.word_starts, ours.word_lengths, strict=True)
    ]
    assert entries[: ours.words] == library.get_words()
    assert list(ours.labels) == library.get_labels()
    assert (ours.word_ngrams, ours.bucket, ours.minn, ours.maxn) == (2, 50, 0, 0)
    logits = library.get_input_matrix().astype(np.float64) @ library.get_output_matrix().T.astype(np.float64)
    np.testing.assert_allclose(ours.table[:, 0], logits[:, 0] - logits[:, 1], atol=1e-6)


def test_many_labels_keep_their_embeddings(tmp_path: Path) -> None:
    import fasttext

    path = write_model(tmp_path / "wide.bin", dim=1, wordNgrams=1, label="word")  # labels are word0 to word6
    ours, library = load_model(str(path)), fasttext.load_model(str(path))
    assert len(ours.labels) == 7
    np.testing.assert_array_equal(ours.table, library.get_input_matrix())
    np.testing.assert_array_equal(ours.output, library.get_output_matrix())


def test_every_word_of_a_crowded_table_is_found(tmp_path: Path) -> None:
    lines = tmp_path / "crowded.txt"
    lines.write_text(" ".join(["__label__a", *(f"w{number:x}" * (1 + number % 5) for number in range(5000))]) + "\n")
    import fasttext

    with zeroed_allocations():
        fasttext.train_supervised(str(lines), dim=2, thread=1, verbose=0).save_model(str(tmp_path / "crowded.bin"))
    ours = load_model(str(tmp_path / "crowded.bin"))
    assert (ours.slots > 0).sum() == len(ours.word_starts) == 5002
    entries = [
        ours.pool[start : start + length].tobytes()
        for start, length in zip(ours.word_starts, ours.word_lengths, strict=True)
    ]
    assert found_entries(ours, entries) == list(range(5002))
    assert set(found_entries(ours, [each + b"x" for each in entries])) == {-1}


def found_entries(model: FastTextModel, words: list[bytes]) -> list[int]:
    """Return the entry of every word, as scoring finds it."""
    data = padded(np.frombuffer(b" ".join(words), np.uint8))
    stops = np.cumsum([1 + len(each) for each in words]) - 1
    edges = np.stack([stops - [len(each) for each in words], stops], axis=1).ravel()
    low, high, hashes, codes, others, entries = (
        np.empty(len(words), kind) for kind in ("u8", "u8", "u4", "u4", "u2", "i8")
    )
    read_tokens(data, edges, len(words), low, high, hashes, others)
    tables = (model.pool, model.word_starts, model.word_lengths, model.word_keys, model.slots)
    find_all(data, edges, low, high, hashes, len(words), *tables, codes, others, entries)
    return entries.tolist()


@pytest.mark.parametrize("model", ["skipgram", "cbow"])
def test_word_vectors_are_refused_by_name(tmp_path: Path, model: str) -> None:
    with pytest.raises(UserError, match=r"model is .*, expected supervised"):
        load_model(str(write_model(tmp_path / "other.bin", model=model)))


def many_labels(folder: Path, labels: int = 7, **options: object) -> object:
    """Train with the library on 600 lines of some 60 words each, labels of very different counts."""
    import fasttext

    random = np.random.default_rng(1)
    lines = folder / "many.txt"
    with lines.open("w") as out:
        for row in range(600):
            label = int(labels * random.random() ** 2) if labels < 100 else row % labels
            words = " ".join(f"w{(label + 1) * number % 391}" for number in random.integers(0, 900, 1 + row % 60))
            out.write(f"__label__{label} {words}\n")
    with zeroed_allocations():
        return fasttext.train_supervised(
            str(lines), **{"dim": 9, "lr": 0.5, "epoch": 8, "thread": 1, "verbose": 0, **options}
        )


def answers(library: object, labels: tuple[str, ...], texts: list[str]) -> np.ndarray:
    rows = [dict(zip(*library.predict(text, k=-1), strict=True)) for text in texts]
    return np.array([[row.get(label, np.nan) for label in labels] for row in rows])


TEXTS = [
    "",
    "w1 w2 w3",
    "w7 " * 40,
    "nothing known",
    *(" ".join(f"w{number * step % 391}" for number in range(90)) for step in range(1, 30)),
]


@pytest.mark.parametrize("loss", ["hs", "ova", "ns", "softmax"])
@pytest.mark.parametrize("labels", [2, 7, 23])  # 23 are more than there are dimensions
def test_every_loss_scores_as_the_library_scores(tmp_path: Path, loss: str, labels: int) -> None:
    import fasttext

    path = tmp_path / "model.bin"
    many_labels(tmp_path, labels, loss=loss, wordNgrams=2, bucket=400).save_model(str(path))
    ours = load_model(str(path))
    found = label_probabilities(ours, pa.array(TEXTS))
    expected = answers(fasttext.load_model(str(path)), ours.labels, TEXTS)
    known = ~np.isnan(expected)  # the library leaves out what is below its threshold
    assert known.mean() > 0.9
    # 1e-5 is added to every probability, in a tree at every branch
    allowed = 2e-5 + (1e-5 * len(ours.labels) if loss == "hs" else 0.0)
    apart = np.abs(found + 1e-5 - expected)[known]
    if loss in ("ova", "ns"):  # a logit at the edge of a step of the library's table may fall on either side
        assert (apart > allowed).mean() < 0.005
        assert apart.max() < 0.009
    else:
        assert apart.max() < allowed
        if loss == "hs":
            np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(
    "options", [{}, {"qnorm": True}, {"qout": True}, {"cutoff": 300}, {"cutoff": 900, "qnorm": True, "dsub": 4}]
)
@pytest.mark.parametrize(
    "features", [{"wordNgrams": 2, "bucket": 800}, {"wordNgrams": 1}, {"minn": 2, "maxn": 3, "bucket": 700}]
)
@pytest.mark.parametrize("loss", ["softmax", "hs"])
def test_a_compressed_model_scores_as_the_library_scores(
    tmp_path: Path, options: dict[str, object], features: dict[str, int], loss: str
) -> None:
    import fasttext

    labels = 300 if options.get("qout") else 7  # the library quantises no matrix of fewer than 256 rows
    trained = many_labels(tmp_path, labels, loss=loss, dim=9, **features)
    rows = trained.get_input_matrix().shape[0]
    with zeroed_allocations():
        trained.quantize(verbose=0, **options)
    path = tmp_path / "small.ftz"
    trained.save_model(str(path))
    ours = load_model(str(path))
    assert (len(ours.kept) > 0) == (0 < int(options.get("cutoff", 0)) < rows)
    expected = answers(fasttext.load_model(str(path)), ours.labels, TEXTS)
    known = ~np.isnan(expected)
    found = label_probabilities(ours, pa.array(TEXTS)).astype(np.float64)
    assert np.abs(found + 1e-5 - expected)[known].max() < (2e-5 if loss == "softmax" else 2e-4)


def test_a_compressed_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    trained = many_labels(tmp_path, bucket=900, wordNgrams=2)
    with zeroed_allocations():
        trained.quantize(cutoff=400, qnorm=True, verbose=0)
    trained.save_model(str(tmp_path / "small.ftz"))
    whole = (tmp_path / "small.ftz").read_bytes()
    load_model(str(tmp_path / "small.ftz"))
    for length in np.linspace(0, len(whole) - 1, 150).astype(int).tolist():
        (tmp_path / "cut.ftz").write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"cut\.ftz"):
            load_model(str(tmp_path / "cut.ftz"))


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_flipped_byte_of_a_compressed_model_gives_a_model_or_one_clear_line(
    compressed: bytes, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    changed = bytearray(compressed)
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.getbasetemp() / "flipped.ftz"
    path.write_bytes(changed)
    try:
        model = load_model(str(path))
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert np.isfinite(label_probabilities(model, pa.array(["w1 w2 w3"]))).all()


@pytest.fixture(scope="module")
def compressed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("compressed")
    trained = many_labels(folder, bucket=300, wordNgrams=2)
    with zeroed_allocations():
        trained.quantize(cutoff=290, qnorm=True, verbose=0)
    trained.save_model(str(folder / "small.ftz"))
    return (folder / "small.ftz").read_bytes()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\0" * 500, b"{}" * 100])
def test_a_foreign_file_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "foreign.bin").write_bytes(content)
    with pytest.raises(UserError, match=r"foreign\.bin: begins with .*expected a fastText model") as caught:
        load_model(str(tmp_path / "foreign.bin"))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.bin: can't be read \(No such file"):
        load_model(str(tmp_path / "absent.bin"))


def test_an_unknown_version_is_refused(good: Path, tmp_path: Path) -> None:
    data = bytearray(good.read_bytes())
    data[4:8] = struct.pack("<i", 13)
    (tmp_path / "new.bin").write_bytes(data)
    with pytest.raises(UserError, match="version 13, expected 11 or 12"):
        load_model(str(tmp_path / "new.bin"))


def test_old_supervised_models_have_no_subwords(good: Path, tmp_path: Path) -> None:
    data = bytearray(good.read_bytes())
    data[4:8] = struct.pack("<i", 11)
    data[48:52] = struct.pack("<i", 6)  # maxn, which version 11 stored and did not mean
    (tmp_path / "old.bin").write_bytes(data)
    texts = pa.array(["common größe unknown"])
    old, new = load_model(str(tmp_path / "old.bin")), load_model(str(good))
    assert old.maxn == 0
    np.testing.assert_array_equal(label_probabilities(old, texts), label_probabilities(new, texts))


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_a_file_cut_anywhere_is_refused(
    good: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = good.read_bytes()
    path = tmp_path_factory.getbasetemp() / "cut.bin"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(UserError):
        load_model(str(path))


def test_bytes_after_the_end_are_refused(good: Path, tmp_path: Path) -> None:
    (tmp_path / "long.bin").write_bytes(good.read_bytes() + b"\0")
    with pytest.raises(UserError, match=r"damaged model: \d+ bytes, expected \d+"):
        load_model(str(tmp_path / "long.bin"))


@settings(max_examples=200, deadline=None)
@given(place=st.integers(0, HEADER.size + 250), value=st.integers(1, 255))
@example(place=40, value=255)
def test_a_flipped_byte_gives_a_model_or_one_clear_line(
    good: Path, tmp_path_factory: pytest.TempPathFactory, place: int, value: int
) -> None:
    data = bytearray(good.read_bytes())
    data[place] ^= value
    path = tmp_path_factory.getbasetemp() / "flipped.bin"
    path.write_bytes(data)
    try:
        model = load_model(str(path))
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert np.isfinite(label_probabilities(model, pa.array(["common größe word1"]))).all()


def test_a_diverged_model_is_refused(good: Path, tmp_path: Path) -> None:
    data = bytearray(good.read_bytes())
    data[-4:] = struct.pack("<f", float("nan"))
    (tmp_path / "diverged.bin").write_bytes(data)
    with pytest.raises(UserError, match="not finite"):
        load_model(str(tmp_path / "diverged.bin"))
