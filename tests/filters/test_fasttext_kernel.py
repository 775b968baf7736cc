"""The kernel against the library itself, and against a plain-Python twin of the library's rules."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tilth.filters.fasttext_kernel import one_line, remainder
from tilth.filters.fasttext_model import FastTextModel, label_probabilities, load_model
from tilth.filters.fasttext_tokens import PADDING, PIECE, TOKENS, next_tokens, padded, read_tokens, token_hash
from tilth.selection.scorer import zeroed_allocations

CORPORA = Path(__file__).parents[2].parent / "shared" / "data" / "corpora"
WORDS = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "över",
    "größten",
    "文字列",
    "слово",
    "aaaaaaa",
    "bbbbbbbb",
    "cccccccc1",
    "incomprehensibilities",
]
VARIANTS = {
    "words": {"wordNgrams": 1},
    "bigrams": {"wordNgrams": 2, "bucket": 997},
    "four-grams": {"wordNgrams": 4, "bucket": 5000},
    "subwords": {"wordNgrams": 1, "minn": 2, "maxn": 4, "bucket": 300},
    "subwords and trigrams": {"wordNgrams": 3, "minn": 1, "maxn": 3, "bucket": 1000},
    "more labels than dimensions": {"wordNgrams": 2, "bucket": 500, "labels": 9},
    "rare words unknown": {"wordNgrams": 2, "bucket": 500, "minCount": 20},
}


def train(folder: Path, labels: int = 3, **options: object) -> tuple[FastTextModel, object]:
    """Train a tiny model with the library; return it as ours and as the library's."""
    import fasttext

    random = np.random.default_rng(3)
    lines = [
        f"__label__{row % labels} "
        + " ".join(random.choice(WORDS, size=1 + row % 17))
        + f" word{row % labels} rare{row}"
        for row in range(300)
    ]
    (folder / "lines.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    options = {"dim": 7, "epoch": 8, "lr": 0.4, "minn": 0, "maxn": 0, **options}
    with zeroed_allocations():
        trained = fasttext.train_supervised(str(folder / "lines.txt"), thread=1, verbose=0, **options)
    # With one thread the library fills a tenth of this matrix: give every row known numbers.
    shape = trained.get_input_matrix().shape
    trained.set_matrices(random.uniform(-1, 1, shape), trained.get_output_matrix())
    trained.save_model(str(folder / "model.bin"))
    return load_model(str(folder / "model.bin")), fasttext.load_model(str(folder / "model.bin"))


@pytest.fixture(scope="module", params=VARIANTS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[FastTextModel, object]:
    return train(tmp_path_factory.mktemp("fasttext"), **VARIANTS[request.param])


@pytest.fixture(scope="module")
def bigrams(tmp_path_factory: pytest.TempPathFactory) -> tuple[FastTextModel, object]:
    return train(tmp_path_factory.mktemp("fasttext"), **VARIANTS["bigrams"])


def library_probabilities(library: object, labels: tuple[str, ...], texts: list[str]) -> np.ndarray:
    """Return the library's own answers without the 1e-5 that it adds: texts x labels."""
    names, values = library.predict([text.replace("\n", " ") for text in texts], k=-1)
    rows = [dict(zip(name, value, strict=True)) for name, value in zip(names, values, strict=True)]
    return np.array([[row[label] - 1e-5 for label in labels] for row in rows])


token = st.sampled_from([*WORDS, "</s", "</s>x", "word1", "rare7", "__label", "unknown", "ÿ", "𝒳", "a" * 70])
text = st.one_of(
    st.text(max_size=200),
    st.text(alphabet=" \n\r\t\v\f\0ab", max_size=60),
    st.lists(token, max_size=40).map(" ".join),
    st.lists(st.one_of(token, st.sampled_from(["</s>", "__label__1", "__label__unknown"])), max_size=12).map("\t".join),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(text, min_size=1, max_size=8))
def test_every_text_scores_as_the_library_scores_it(pair: tuple[FastTextModel, object], texts: list[str]) -> None:
    ours, library = pair
    expected = library_probabilities(library, ours.labels, texts)
    np.testing.assert_allclose(label_probabilities(ours, pa.array(texts)), expected, rtol=0, atol=3e-6)


def test_long_texts_score_as_the_library_scores_them(pair: tuple[FastTextModel, object]) -> None:
    ours, library = pair
    random = np.random.default_rng(5)
    texts = [" ".join(random.choice(WORDS, size)) for size in (510, 511, 512, 513, 2563)]
    texts += ["x" * 5_000, "ö" * 2_000 + " the"]
    expected = library_probabilities(library, ours.labels, texts)
    np.testing.assert_allclose(label_probabilities(ours, pa.array(texts)), expected, rtol=0, atol=2e-5)


def twin_probabilities(model: FastTextModel, library: object, text: str) -> np.ndarray:
    """The library's rules again, slowly and in double precision, over the library's own matrices."""
    words = {word: row for row, word in enumerate(library.get_words())}
    rows, hashes = [], []
    for each in [*text.encode().replace(b"\0", b" ").split(), b"</s>"]:
        word = each.decode()
        if word in words:
            rows.append(words[word])
        if model.maxn > 0 and word != "</s>":
            framed = f"<{word}>"
            for first in range(len(framed)):
                for last in range(first + max(model.minn, 1), min(first + model.maxn, len(framed)) + 1):
                    if not (last - first == 1 and (first == 0 or last == len(framed))):
                        piece = framed[first:last].encode()
                        rows.append(model.words + fnv(piece) % model.bucket)
        value = fnv(each)
        hashes.append(value - (1 << 32) if value >> 31 else value)
    for first in range(len(hashes)):
        value = hashes[first]
        for other in hashes[first + 1 : first + model.word_ngrams]:
            value = (value * 116049371 + other) % (1 << 64)
            rows.append(model.words + value % model.bucket)
    mean = library.get_input_matrix().astype(np.float64)[rows].mean(axis=0)
    logits = library.get_output_matrix().astype(np.float64) @ mean
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def fnv(data: bytes) -> int:
    """32-bit FNV-1a over signed bytes."""
    value = 2166136261
    for byte in data:
        value = ((value ^ ((byte - 256 if byte > 127 else byte) & 0xFFFFFFFF)) * 16777619) & 0xFFFFFFFF
    return value


def test_long_texts_are_exact_where_the_library_loses_digits(pair: tuple[FastTextModel, object]) -> None:
    ours, library = pair
    texts = ["x" * 60_000, "jumps fox\0größten " * 20_000, "文字列" * 5_000]
    expected = [twin_probabilities(ours, library, each) for each in texts]
    np.testing.assert_allclose(label_probabilities(ours, pa.array(texts)), expected, rtol=0, atol=1e-6)


def test_a_zeroed_end_token_scores_as_a_library_model_whose_end_row_is_zeros(tmp_path: Path) -> None:
    import fasttext

    ours, library = train(tmp_path, wordNgrams=2, bucket=997)
    matrix = library.get_input_matrix()
    matrix[library.get_word_id("</s>")] = 0
    library.set_matrices(matrix, library.get_output_matrix())
    library.save_model(str(tmp_path / "zeroed.bin"))
    texts = ["", "the quick brown", "fox " * 700, "jumps </s> over"]
    expected = library_probabilities(fasttext.load_model(str(tmp_path / "zeroed.bin")), ours.labels, texts)
    np.testing.assert_allclose(label_probabilities(ours, pa.array(texts), zero_end=True), expected, rtol=0, atol=3e-6)
    assert np.abs(label_probabilities(ours, pa.array(texts)) - expected).max() > 1e-3


def test_a_text_without_features_gets_equal_probabilities(tmp_path: Path) -> None:
    ours, library = train(tmp_path, wordNgrams=1, minCount=1000)
    labels, _ = library.predict("nothing known")
    assert labels == ()
    np.testing.assert_allclose(label_probabilities(ours, pa.array(["nothing known"])), 1 / 3, atol=1e-7)


@settings(max_examples=40, deadline=None)
@given(st.lists(text, min_size=1, max_size=12), st.randoms())
def test_a_text_scores_the_same_bits_in_any_company(
    bigrams: tuple[FastTextModel, object], texts: list[str], random: object
) -> None:
    ours, _ = bigrams
    alone = np.concatenate([label_probabilities(ours, pa.array([each])) for each in texts])
    order = list(range(len(texts)))
    random.shuffle(order)
    shuffled = pa.array(["before", *(texts[place] for place in order)], pa.large_string()).slice(1)
    together = label_probabilities(ours, shuffled)
    assert together.tobytes() == alone[order].tobytes()
    assert together.dtype == np.float32


def test_probabilities_sum_to_one(pair: tuple[FastTextModel, object]) -> None:
    ours, _ = pair
    probabilities = label_probabilities(ours, pa.array(["", "the quick", "слово " * 3000]))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


def test_no_texts_give_no_rows(bigrams: tuple[FastTextModel, object]) -> None:
    assert label_probabilities(bigrams[0], pa.array([], pa.string())).shape == (0, 3)


@given(st.text())
def test_one_line_changes_newlines_and_nothing_else(given_text: str) -> None:
    data = np.frombuffer(given_text.encode(), np.uint8)
    assert one_line(data).tobytes().decode() == given_text.replace("\n", " ")


@given(st.binary(max_size=40))
def test_the_hash_is_fnv_1a_over_signed_bytes(data: bytes) -> None:
    assert int(token_hash(np.frombuffer(data, np.uint8), 0, len(data))) == fnv(data)


@pytest.mark.skipif(not CORPORA.is_dir(), reason="needs ../shared/data beside the repository")
def test_real_texts_score_as_the_library_scores_them(pair: tuple[FastTextModel, object]) -> None:
    import zstandard

    ours, library = pair
    texts = []
    for path in sorted(CORPORA.glob("*.zst")):
        with zstandard.open(path, "rt", encoding="utf-8") as lines:
            texts += [json.loads(line)["text"] for line, _ in zip(lines, range(40), strict=False)]
    texts = [each[:100_000] for each in texts]  # the library adds up in single precision: longer ones measure that
    expected = library_probabilities(library, ours.labels, texts)
    np.testing.assert_allclose(label_probabilities(ours, pa.array(texts)), expected, rtol=0, atol=2e-5)


any_bytes = st.one_of(
    st.binary(max_size=80),
    st.lists(st.sampled_from([b"a", b" ", b"\0", b"\n", b"\xc3", b"x" * 7, b"y" * 8, b"z" * 17]), max_size=60).map(
        b"".join
    ),
)


@settings(deadline=None)
@given(st.lists(any_bytes, min_size=1, max_size=4), st.sampled_from([0, PIECE - 30, 2 * PIECE]), st.binary(max_size=1))
def test_tokens_are_what_separators_leave_with_their_first_bytes_and_hashes(
    pieces: list[bytes], filling: int, filler: bytes
) -> None:
    text = (filler * filling).join(pieces)
    data = padded(np.frombuffer(text, np.uint8))
    edges, (low, high), hashes = (
        np.empty(2 * TOKENS, np.int64),
        np.empty((2, TOKENS), np.uint64),
        np.empty(TOKENS, "u4"),
    )
    found = []
    place = 0
    while place < len(text):
        tokens, place = next_tokens(data, place, len(text), edges)
        read_tokens(data, edges, tokens, low, high, hashes, np.empty(TOKENS, np.uint16))
        for start, stop, *rest in zip(edges[0::2], edges[1::2], low, high, hashes[:tokens], strict=False):
            found.append((text[start:stop], *map(int, rest)))
    expected = text.translate(bytes.maketrans(b"\n\r\t\v\f\0", b" " * 6)).split(b" ")
    assert len(data) == len(text) + PADDING
    assert found == [
        (each, int.from_bytes(each[:8], "little"), int.from_bytes(each[8:16], "little"), fnv(each))
        for each in expected
        if each
    ]


@settings(max_examples=300)
@given(st.integers(1, 2**31 - 1), st.integers(0, 2**64 - 1), st.sampled_from([None, -1, 0, 1]))
@example(2_000_000, 2**64 - 1, None)
@example(2**13, 2**64 - 1, None)
@example(2**13 - 1, 2**64 - 1, None)
def test_the_remainder_from_a_reciprocal_is_the_remainder(divisor: int, value: int, beside: int | None) -> None:
    if beside is not None:  # at a multiple of the divisor, where a quotient may be off by one
        value = min(max(value // divisor * divisor + beside, 0), 2**64 - 1)
    assert remainder(np.uint64(value), divisor, 1.0 / divisor) == value % divisor
