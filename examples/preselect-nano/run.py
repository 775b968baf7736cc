"""PreSelect-nano: does predictive selection teach a small model more than its rivals do?

    python examples/preselect-nano/run.py [--quick] [--folder runs/preselect-nano]

Every method chooses a fifth (in bytes) of one pool of 20,000 documents. A third is made bad on purpose: words shuffled,
boilerplate, other languages. Then the same small model is trained on the same number of tokens of each choice, three
seeds each, and scored on held-out text of every source, the bad ones too. ``all`` and ``random`` are both fair samples
of the pool and so the control: what tells those two apart is noise.

What each is told of the target: DSIR and the DCLM-style classifier see 300 texts of each of its sources, which are in
no pool; PreSelect sees 300 texts of every source, and which models of a ladder are better on held-out text of the
target. ``preselect`` has a ladder as published, of models that differ in size and training; ``preselect-mixtures`` one
of equal models that read other mixtures of the sources. None is told which sources are bad.

The row ``target`` is the question; it was chosen before the models were trained. The texts are those of the folder
../shared/data beside the repository; nothing of them is written outside ``--folder``.

``--quick`` is for a look at the machinery: a fifth of the documents, a smaller model, a fifth of the steps.
"""

import argparse
import io
import json
import random
import resource
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
    """How much is done. Models are (layers, width, steps)."""

    documents: int  # of each of the six sources and of each kind of bad text
    sample: int  # scored by the ladder, of each source; and of each target source, what the others are shown
    sizes: tuple[tuple[int, int, int], ...]  # the ladder of sizes
    mixed: tuple[int, int, int]  # every model of the ladder of mixtures
    mixtures: int  # models of that ladder; the more, the fewer documents order all of them perfectly
    final: tuple[int, int, int]  # every final training
    held_out: float


FULL = Scale(
    2670,
    300,
    ((1, 16, 100), (1, 32, 150), (2, 48, 200), (2, 64, 300), (3, 96, 400)),
    (2, 48, 200),
    6,
    (2, 64, 300),
    0.05,
)
QUICK = Scale(
    500, 80, ((1, 16, 25), (1, 32, 40), (2, 48, 60), (2, 64, 90), (3, 96, 120)), (2, 48, 60), 4, (1, 48, 80), 0.08
)
EPOCHS = 25  # of both classifiers: at fastText's 5 one of 540 texts a class has hardly begun to learn
REFERENCE = "reference.jsonl"
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
    """Write one JSON lines file a source, and the reference of the target; return the names of the sources."""
    chance = random.Random(0)
    folder.mkdir(parents=True, exist_ok=True)
    files = sorted((DATA / "corpora").glob("*.zst"))
    if not files:
        raise UserError(f"{DATA / 'corpora'}: no corpora there; put the folder beside the repository")
    most = scale.documents
    sources: dict[str, list[str]] = {
        path.name.partition("_")[0]: list(pieces(path, most + scale.sample)) for path in files
    }
    reference = [text for name in TARGET for text in sources[name][most:]]
    sources = {name: texts[:most] for name, texts in sources.items()}
    good = [text for texts in sources.values() for text in texts]
    sources["shuffled"] = []
    for text in chance.sample(good, min(most, len(good))):
        words = text.split()
        chance.shuffle(words)
        sources["shuffled"].append(" ".join(words))
    sources["boilerplate"] = [" | ".join(chance.choices(BOILERPLATE, k=40)) + f" {number}" for number in range(most)]
    others = foreign()
    chance.shuffle(others)
    sources["foreign"] = others[:most]
    files_of = {f"{name}.jsonl": texts for name, texts in sources.items()} | {REFERENCE: reference}
    for name, texts in files_of.items():
        with (folder / name).open("w", encoding="utf-8") as out:
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


def selections(
    names: Sequence[str], ladders: Mapping[str, Sequence[Mapping[str, str]]]
) -> dict[str, list[dict[str, Any]]]:
    """Return the steps of every selection: what scores, and the fifth that is kept."""
    keep = {"use": "select", "keep": KEEP}
    examples = {"positive": [REFERENCE], "negative": list(names)}  # DCLM's negatives are the pool at random
    scorer = {"epochs": EPOCHS, "dimension": 32, "buckets": 200_000}
    return {
        "all": [],
        "random": [{"use": "random"}, {**keep, "by": "random"}],
        "dsir": [{"use": "dsir", "target": [REFERENCE]}, {**keep, "by": "dsir"}],
        "dclm": [{"use": "score", "name": "dclm", "train": {**examples, **scorer}}, {**keep, "by": "dclm"}],
        **{
            method: [
                {"use": "preselect", "name": method, "models": list(ladder), "target": list(TARGET), **scorer},
                {**keep, "by": method},
            ]
            for method, ladder in ladders.items()
        },
    }


def mixtures(names: Sequence[str], number: int) -> list[dict[str, float]]:
    """Return ``number`` mixtures of the sources, evenly distributed over all that there are (Dirichlet, all 1)."""
    shares = np.random.default_rng(0).dirichlet(np.ones(len(names)), number)
    return [dict(zip(names, map(float, row), strict=True)) for row in shares]


def trained(
    folder: Path,
    tokens: Path,
    vocabulary: int,
    shape: tuple[int, int, int],
    seed: int,
    weights: Mapping[str, float] | None = None,
) -> Path:
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
        weights=weights or {},
    )  # fmt: skip
    return launch.train(job, folder).checkpoint


# the verdict


@dataclass(frozen=True)
class Difference:
    """Mean bits a byte of a method's models on some documents, and their difference to random's."""

    bits_per_byte: float
    difference: float
    margin: float  # half the width of its 95 % interval
    detectable: float  # the difference that would be found four times in five


def differences(bits: Mapping[str, np.ndarray], sizes: np.ndarray, draws: int = 1000) -> dict[str, Difference]:
    """Compare every method with ``random``. ``bits``: seeds x documents; ``sizes``: bytes of the documents.

    Two kinds of chance: trainings (variance between the seeds of a method, pooled over all methods, so that three
    seeds of six methods give 12 degrees of freedom) and held-out documents (bootstrap). The interval is Student's.
    """
    from scipy.stats import t

    chance = np.random.default_rng(0)
    drawn = chance.multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), draws)  # times each document counts
    means = {method: values.sum(axis=1) / sizes.sum() for method, values in bits.items()}
    seeds = len(SEEDS)
    between = float(np.mean([values.var(ddof=1) for values in means.values()]))
    freedom = len(bits) * (seeds - 1)
    found = {}
    for method, values in bits.items():
        paired = drawn @ (values - bits["random"]).mean(axis=0) / (drawn @ sizes)
        error = 0.0 if method == "random" else float(np.sqrt(2 * between / seeds + paired.var()))
        found[method] = Difference(
            float(means[method].mean()),
            float(means[method].mean() - means["random"].mean()),
            float(t.ppf(0.975, freedom)) * error,
            float(t.ppf(0.975, freedom) + t.ppf(0.8, freedom)) * error,
        )
    return found


def verdict(bits: Mapping[str, np.ndarray], sources: np.ndarray, sizes: np.ndarray) -> dict[str, dict[str, Difference]]:
    """Return the comparison on every source, on the target and on all good sources."""
    groups = {str(name): sources == name for name in sorted(set(sources))}
    groups |= {"target": np.isin(sources, TARGET), "good sources": ~np.isin(sources, BAD)}
    return {
        name: differences({method: values[:, rows] for method, values in bits.items()}, sizes[rows])
        for name, rows in groups.items()
    }


def show(result: Mapping[str, Mapping[str, Difference]]) -> str:
    """Return the verdict as a Markdown table: bits a byte of random, and what the others are off it."""
    methods = [name for name in result["target"] if name != "random"]
    lines = [f"| held-out text | random | {' | '.join(methods)} | detectable |", "|---" * (len(methods) + 3) + "|"]
    for group, found in result.items():
        cells = [f"{found[name].difference:+.3f} ± {found[name].margin:.3f}" for name in methods]
        least = max(found[name].detectable for name in methods)
        lines.append(f"| {group} | {found['random'].bits_per_byte:.3f} | {' | '.join(cells)} | {least:.3f} |")
    return "\n".join(lines)


def processor_seconds() -> float:
    """Return the processor time of this process and of all that it has started and seen end."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


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
    rungs: dict[str, list[tuple[tuple[int, int, int], dict[str, float]]]] = {
        "preselect": [(shape, {}) for shape in scale.sizes],
        "preselect-mixtures": [(scale.mixed, weights) for weights in mixtures(names, scale.mixtures)],
    }
    ladders: dict[str, list[dict[str, str]]] = {}
    for method, models in rungs.items():
        for number, (shape, weights) in enumerate(models):
            place = folder / "ladder" / f"{method}-{number}"
            trained(place, pool.tokens.folder, vocabulary, shape, number, weights)
            entry = {"name": f"m{number}", "checkpoint": str(place.resolve()), "tokenizer": str(tokenizer)}
            ladders.setdefault(method, []).append(entry)
            say(f"ladder of {method}: {shape[0]} layers of {shape[1]}, {shape[2]} steps")
    checkpoints: dict[str, Path] = {}
    kept: dict[str, Any] = {}
    scorers: dict[str, Any] = {}
    for method, tail in selections(names, ladders).items():
        run = corpus_run(root, base, names, scale, tail, tokenizer)
        account = run.head.manifest.account
        kept[method] = {name: size for name, (_, size) in sorted(account.kept.items())}
        say(f"{method}: {account.documents_out} documents, {account.bytes_out / 1e6:.2f} MB")
        for name, place in json.loads((root / "run.json").read_text())["scorers"].items():
            report = json.loads((root / place / "report.json").read_text())
            scorers[name] = {key: report.get(key) for key in ("auc", "positive", "predictive")}
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
    result = verdict(bits, sources, sizes)
    say("scored")
    return {
        "documents": documents,
        "held_out": {
            str(name): int(count) for name, count in zip(*np.unique(sources, return_counts=True), strict=True)
        },
        "seconds": round(time.perf_counter() - started),
        "processor_seconds": round(processor_seconds()),
        "tokens": scale.final[2] * BATCH * SEQUENCE,
        "kept_bytes": kept,
        "scorers": scorers,
        "result": result,
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
    (folder / "result.json").write_text(json.dumps(found, indent=1, default=vars))
    print(json.dumps({key: value for key, value in found.items() if key != "result"}, indent=1))
    print(show(found["result"]))


if __name__ == "__main__":
    main()
