"""PreSelect-nano: does predictive selection teach a small model more than its rivals do?

    python examples/preselect-nano/run.py [--quick] [--folder runs/preselect-nano]

A ladder of five small models is trained on the whole pool. Their bits a byte on a sample that left the pool, and the
order of their ability on held-out text of the target, give predictive strength, labels and a scorer. Then one model is
trained on the same number of tokens from: all of the pool, and a fifth of it (in bytes) chosen at random, by DSIR, by a
DCLM-style classifier, and by PreSelect. Every method is told the same target. All models are scored on held-out text of
every source, the bad ones too.

A third of the pool is made bad on purpose: words shuffled, boilerplate, other languages. The texts are those of the
folder ../shared/data beside the repository; nothing of them is written outside ``--folder``.

``--quick`` is for a look at the machinery: a fifth of the documents, a smaller model, a fifth of the steps.
"""

import argparse
import io
import json
import random
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tilth.corpus.engines import engine
from tilth.corpus.errors import UserError
from tilth.eval.bits_per_byte import evaluate
from tilth.eval.held_out import held_out_documents
from tilth.recipe.recipe import Recipe
from tilth.run import Run
from tilth.show import Silent
from tilth.train import launch
from tilth.train.job import TrainConfig, TrainJob
from tilth.train.model import ModelConfig

REPOSITORY = Path(__file__).resolve().parents[2]
DATA = REPOSITORY.parent / "shared" / "data"
TARGET = ("encyclopedia", "science")
BAD = ("shuffled", "boilerplate", "foreign")
PIECE = 1500  # characters of a document: all sources in pieces of one length, so that length says nothing
SEEDS = (1, 2, 3)
KEEP = 0.2


@dataclass(frozen=True)
class Scale:
    """How much is done. Ladder: (layers, width, steps) of each model."""

    documents: int  # of each of the six sources
    bad: int  # of each kind
    sample: int  # scored by the ladder, of each source
    ladder: tuple[tuple[int, int, int], ...]
    final: tuple[int, int, int]  # layers, width and steps of every final training
    held_out: float


FULL = Scale(
    2200, 2270, 300, ((1, 16, 100), (1, 32, 150), (2, 48, 250), (2, 64, 400), (3, 96, 600)), (2, 64, 400), 0.05
)
QUICK = Scale(500, 450, 80, ((1, 16, 25), (1, 32, 40), (2, 48, 60), (2, 64, 90), (3, 96, 120)), (1, 48, 80), 0.08)
SEQUENCE, BATCH, VOCABULARY = 128, 16, 2560  # pieces: the languages bring 1,500 characters


# the corpus


def pieces(path: Path, most: int) -> Iterator[str]:
    """Yield pieces of whole words, one a document at first, then the second of each, until there are ``most``."""
    import zstandard

    with zstandard.open(path, "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    given = start = 0
    while given < most:
        before = given
        for text in texts:
            piece = text[start : start + PIECE].rpartition(" ")[0].strip()
            if len(piece) > PIECE // 3 and given < most:
                given += 1
                yield piece
        if given == before:
            return
        start += PIECE


def foreign() -> list[str]:
    """Return pieces of text in other languages: sentences of Lingua's test data."""
    import zstandard

    with zstandard.open(DATA / "langid" / "lingua_testdata_udhr2.tar.zst", "rb") as stream:
        archive = tarfile.open(fileobj=io.BytesIO(stream.read()))  # noqa: SIM115
    found = []
    for member in archive:
        name = Path(member.name)
        if member.isfile() and "sentences" in member.name and name.stem not in ("en", "README"):
            stream_ = archive.extractfile(member)
            lines = stream_.read().decode("utf-8", "replace").split("\n") if stream_ else []
            text = " ".join(line.strip() for line in lines)
            found += [text[start : start + PIECE] for start in range(0, len(text) - PIECE // 3, PIECE)]
    return found


BOILERPLATE = (
    "Home About Contact Login Register", "Click here to read more", "All rights reserved.", "Accept all cookies",
    "Share on social media", "Sign up for our newsletter today!", "Terms of service Privacy policy", "Back to top",
    "You must be logged in to leave a comment.", "Related posts", "Next page Previous page", "Add to cart Buy now",
    "Free shipping on orders over $50", "Posted in News Tagged update", "Follow us for the latest offers",
)  # fmt: skip


def write_corpus(folder: Path, scale: Scale) -> list[str]:
    """Write one JSON lines file a source and return their names."""
    chance = random.Random(0)
    folder.mkdir(parents=True, exist_ok=True)
    files = sorted((DATA / "corpora").glob("*.zst"))
    if not files:
        raise UserError(f"{DATA / 'corpora'}: no corpora there; put the folder beside the repository")
    sources: dict[str, list[str]] = {path.name.partition("_")[0]: list(pieces(path, scale.documents)) for path in files}
    good = [text for texts in sources.values() for text in texts]
    sources["shuffled"] = []
    for text in chance.sample(good, min(scale.bad, len(good))):
        words = text.split()
        chance.shuffle(words)
        sources["shuffled"].append(" ".join(words))
    sources["boilerplate"] = [
        " | ".join(chance.choices(BOILERPLATE, k=40)) + f" {number}" for number in range(scale.bad)
    ]
    others = foreign()
    chance.shuffle(others)
    sources["foreign"] = others[: scale.bad]
    for name, texts in sources.items():
        with (folder / f"{name}.jsonl").open("w", encoding="utf-8") as out:
            out.writelines(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
    return sorted(sources)


# the runs


def corpus_run(
    root: Path,
    base: Path,
    names: Sequence[str],
    scale: Scale,
    tail: list[dict[str, Any]],
    tokenizer: Path | None = None,
) -> Run:
    """Bring the pool and the steps of one selection up to its token shards; without a ``tokenizer``, train one."""
    recipe = Recipe.model_validate(
        {
            "name": "preselect-nano",
            "seed": 1,
            "part_size": "4 MB",
            "sources": [{"name": name, "path": f"{name}.jsonl"} for name in names],
            "stages": [
                {"use": "hold-out", "fraction": scale.held_out},
                {"use": "sample", "documents": scale.sample},
                *tail,
            ],
            "tokenizer": {"model": str(tokenizer)} if tokenizer else {"vocabulary": VOCABULARY, "sample": "4 MB"},
        }
    )  # fmt: skip
    run = Run(recipe, base, root, engine("local", 1), Silent())
    run.execute("tokens")
    return run


def selections(ladder: Sequence[Mapping[str, str]]) -> dict[str, list[dict[str, Any]]]:
    """Return the steps of every selection: what scores, and the fifth that is kept."""
    keep = {"use": "select", "keep": KEEP}
    others = {"negative": [], "positive": list(TARGET)}
    return {
        "all": [],
        "random": [{"use": "random"}, {**keep, "by": "random"}],
        "dsir": [{"use": "dsir", "target": list(TARGET)}, {**keep, "by": "dsir"}],
        "dclm": [
            {"use": "score", "name": "dclm", "train": {**others, "buckets": 200_000, "dimension": 32}},
            {**keep, "by": "dclm"},
        ],
        "preselect": [
            {
                "use": "preselect",
                "name": "preselect",
                "models": list(ladder),
                "target": list(TARGET),
                "dimension": 32,
            },
            {**keep, "by": "preselect"},
        ],
    }


def trained(folder: Path, tokens: Path, vocabulary: int, shape: tuple[int, int, int], seed: int) -> Path:
    """Train a model of (layers, width, steps) and return its last checkpoint."""
    layers, width, steps = shape
    job = TrainJob(
        model=ModelConfig(
            vocabulary_size=vocabulary, layers=layers, hidden_size=width, heads=max(1, width // 16),
            sequence_length=SEQUENCE,
        ),
        optimisation=TrainConfig(
            steps=steps, batch_size=BATCH, learning_rate=4e-3, minimum_learning_rate=4e-4, warmup_steps=steps // 10,
            keep_last=1,
        ),
        tokens=str(tokens),
        seed=seed,
    )  # fmt: skip
    return launch.train(job, folder).checkpoint


# the verdict


def interval(values: np.ndarray, sizes: np.ndarray, draws: int = 2000) -> tuple[float, float, float]:
    """Return mean bits a byte and its 95 % interval: bootstrap over seeds and documents. ``values``: seeds x documents.

    ``values`` are bits, ``sizes`` bytes. With three seeds the interval says little of seeds and much of documents.
    """
    chance = np.random.default_rng(0)
    found = np.empty(draws)
    for draw in range(draws):
        seeds = chance.integers(0, len(values), len(values))
        rows = chance.integers(0, len(sizes), len(sizes))
        found[draw] = values[seeds].mean(axis=0)[rows].sum() / sizes[rows].sum()
    low, high = np.quantile(found, [0.025, 0.975])
    return float(values.mean(axis=0).sum() / sizes.sum()), float(low), float(high)


def verdict(bits: Mapping[str, np.ndarray], sources: np.ndarray, sizes: np.ndarray) -> dict[str, Any]:
    """Return bits a byte of every method and source, and its difference to random, each with an interval."""
    groups = {name: sources == name for name in sorted(set(sources))}
    good = ~np.isin(sources, BAD)
    groups |= {"target": np.isin(sources, TARGET), "good sources": good}
    return {
        method: {
            name: {
                "bits_per_byte": interval(values[:, rows], sizes[rows]),
                "against_random": interval((values - bits["random"])[:, rows], sizes[rows]),
            }
            for name, rows in groups.items()
        }
        for method, values in bits.items()
    }


def show(result: Mapping[str, Any]) -> str:
    """Return the verdict as a Markdown table: bits a byte, and the difference to random with its interval."""
    methods = list(result)
    lines = ["| held-out text | " + " | ".join(methods) + " |", "|---" * (len(methods) + 1) + "|"]
    for group in result["random"]:
        cells = []
        for method in methods:
            mean, _, _ = result[method][group]["bits_per_byte"]
            change, low, high = result[method][group]["against_random"]
            cells.append(
                f"{mean:.3f}" if method == "random" else f"{mean:.3f} ({change:+.3f}: {low:+.3f} to {high:+.3f})"
            )
        lines.append(f"| {group} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def measure(folder: Path, scale: Scale) -> dict[str, Any]:
    """Do all of it in ``folder``; what is done is found again."""
    started = time.perf_counter()

    def say(what: str) -> None:
        print(f"[{time.perf_counter() - started:6.0f} s] {what}", flush=True)

    base, root = folder / "corpus", folder / "run"
    names = write_corpus(base, scale)
    pool = corpus_run(root, base, names, scale, [])
    tokenizer = Path(pool.tokenizer.path).resolve()
    vocabulary = pool.tokenizer.vocabulary_size
    documents = pool.head.manifest.account.documents_out
    say(f"pool of {documents} documents, {pool.head.manifest.account.bytes_out / 1e6:.1f} MB")
    ladder = []
    for number, shape in enumerate(scale.ladder):
        place = folder / "ladder" / f"{number}"
        trained(place, pool.tokens.folder, vocabulary, shape, 0)
        ladder.append({"name": f"m{number}", "checkpoint": str(place.resolve()), "tokenizer": str(tokenizer)})
        say(f"ladder: {shape[0]} layers of {shape[1]}, {shape[2]} steps")
    checkpoints: dict[str, Path] = {}
    kept: dict[str, Any] = {}
    for method, tail in selections(ladder).items():
        for step in tail:
            if "train" in step:
                step["train"]["negative"] = [name for name in names if name not in TARGET]
        run = corpus_run(root, base, names, scale, tail, tokenizer)
        account = run.head.manifest.account
        kept[method] = {name: size for name, (_, size) in sorted(account.kept.items())}
        say(f"{method}: {account.documents_out} documents, {account.bytes_out / 1e6:.2f} MB")
        for seed in SEEDS:
            place = folder / "models" / f"{method}-{seed}"
            checkpoints[f"{method}-{seed}"] = trained(place, run.tokens.folder, vocabulary, scale.final, seed)
        say(f"{method}: {len(SEEDS)} models trained")
        held_out = run.held_out
    texts = held_out_documents(held_out, 10**9)
    found = evaluate(checkpoints, tokenizer, texts, folder / "evaluation").documents
    rows = texts.num_rows
    table = found.column("bits").to_numpy().reshape(len(checkpoints), rows)
    bits = {method: np.stack([table[list(checkpoints).index(f"{method}-{seed}")] for seed in SEEDS]) for method in kept}
    sizes = texts.column("bytes").to_numpy().astype(float)
    sources = np.array(texts.column("source").to_pylist())
    say("scored")
    scorer = json.loads((next((root / "scorers").glob("preselect-*")) / "report.json").read_text())
    return {
        "documents": documents,
        "held_out": {
            str(name): int(count) for name, count in zip(*np.unique(sources, return_counts=True), strict=True)
        },
        "seconds": round(time.perf_counter() - started),
        "tokens": scale.final[2] * BATCH * SEQUENCE,
        "kept_bytes": kept,
        "predictive": {**scorer["predictive"], "auc": scorer["auc"], "training": scorer["positive"]},
        "result": verdict(bits, sources, sizes),
    }


def main() -> None:
    """Run and print; exits with 1 where something is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a fifth of the documents, a fifth of the steps")
    parser.add_argument("--folder", type=Path, default=Path("runs/preselect-nano"))
    options = parser.parse_args()
    try:
        folder = options.folder / ("quick" if options.quick else "full")
        found = measure(folder.resolve(), QUICK if options.quick else FULL)
    except UserError as error:
        print(f"preselect-nano: {error}", file=sys.stderr)
        sys.exit(1)
    (folder / "result.json").write_text(json.dumps(found, indent=1))
    print(json.dumps({key: value for key, value in found.items() if key != "result"}, indent=1))
    print(show(found["result"]))


if __name__ == "__main__":
    main()
