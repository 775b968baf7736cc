"""Reading model files: all that the library wrote, and one clear line for everything else."""

import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tilth.corpus.errors import UserError
from tilth.filters.fasttext_model import HEADER, label_probabilities, load_model
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
    from tilth.filters.fasttext_kernel import find, token_hash, token_key

    lines = tmp_path / "crowded.txt"
    lines.write_text(" ".join(["__label__a", *(f"w{number:x}" * (1 + number % 5) for number in range(5000))]) + "\n")
    import fasttext

    with zeroed_allocations():
        fasttext.train_supervised(str(lines), dim=2, thread=1, verbose=0).save_model(str(tmp_path / "crowded.bin"))
    ours = load_model(str(tmp_path / "crowded.bin"))
    tables = (ours.pool, ours.word_starts, ours.word_lengths, ours.slot_keys, ours.slot_entries)
    assert (ours.slot_keys > 0).sum() == len(ours.word_starts) == 5002
    for entry, (start, length) in enumerate(zip(ours.word_starts, ours.word_lengths, strict=True)):
        value, key = (of(ours.pool, start, start + length) for of in (token_hash, token_key))
        assert find(ours.pool, start, length, value, key, *tables)[0] == entry


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"loss": "hs"}, "loss is hierarchical softmax, expected softmax"),
        ({"loss": "ova"}, "loss is one-vs-all, expected softmax"),
        ({"loss": "ns"}, "loss is negative sampling, expected softmax"),
        ({"model": "skipgram"}, "model is skip-gram, expected supervised"),
        ({"model": "cbow"}, "model is cbow, expected supervised"),
    ],
)
def test_other_kinds_of_model_are_refused_by_name(tmp_path: Path, options: dict[str, str], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        load_model(str(write_model(tmp_path / "other.bin", **options)))


@pytest.mark.parametrize(("cutoff", "complaint"), [(0, "input matrix is quantised"), (300, "model is pruned")])
def test_compressed_models_are_refused_by_name(tmp_path: Path, cutoff: int, complaint: str) -> None:
    import fasttext

    (tmp_path / "many.txt").write_text("".join(f"__label__{row % 2} w{row}\n" for row in range(600)))
    with zeroed_allocations():
        trained = fasttext.train_supervised(str(tmp_path / "many.txt"), dim=4, thread=1, verbose=0)
        trained.quantize(cutoff=cutoff, verbose=0)
    trained.save_model(str(tmp_path / "small.ftz"))
    with pytest.raises(UserError, match=complaint):
        load_model(str(tmp_path / "small.ftz"))


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
