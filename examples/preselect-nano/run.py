"""PreSelect-nano: does predictive selection teach a small model more than its rivals do?

    python examples/preselect-nano/run.py [--quick] [--folder runs/preselect-nano]

Every method chooses a fifth (in bytes) of one pool of 20,000 documents. A third is made bad on purpose: words shuffled,
boilerplate, other languages. Then the same small model is trained on the same number of tokens of each choice, eight
seeds each, and scored on held-out text of every source, the bad ones too. ``all`` and ``random`` are both fair samples
of the pool and so the control: what tells those two apart is noise. A seed's models begin with the same weights and
read by the same seed of the order, so a seed is a block, and differences are taken inside it.

What each is told of the target: DSIR and the DCLM-style classifier see 300 texts of each of its sources, which are in
no pool; PreSelect sees 700 texts of every source, and which models of a ladder are better on held-out text of the
target. ``preselect`` has a ladder as published, of six models that differ in size; ``preselect-mixtures`` one of three
equal models that read other mixtures of the sources. None is told which sources are bad.

The row ``target`` is the question; it was chosen before the models were trained. The texts are those of the folder
../shared/data beside the repository; nothing of them is written outside ``--folder``.

As many models are trained at a time as there are cores, each on one thread, and seed after seed, so that what is done
after ``--seeds 3`` is a comparison of three seeds. ``--quick`` is for a look at the machinery: fewer documents, steps
and seeds.
"""

import argparse
import io
import json
import os
import random
import resource
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

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
SEEDS = 8
COMPARISONS = 5  # all but random, with random
KEEP = 0.2


@dataclass(frozen=True)
class Scale:
    """How much is done. Models are (layers, width, steps)."""

    documents: int  # of each of the six sources and of each kind of bad text
    sample: int  # scored by the ladder, of each source
    reference: int  # of each target source, what the others are shown
    sizes: tuple[tuple[int, int, int], ...]  # the ladder of sizes: about ten times the layers' weights, as published
    mixed: tuple[int, int, int]  # every model of the ladder of mixtures
    mixtures: int  # models of that ladder; the more, the fewer documents order all of them perfectly
    final: tuple[int, int, int]  # every final training
    held_out: float
    seeds: int
    evaluated: int  # bytes of held-out text of every source but the target's, which are read whole


WIDTHS = (24, 32, 40, 48, 64, 80)
FULL = Scale(
    3100, 700, 300, tuple((2, width, 400) for width in WIDTHS), (2, 48, 400), 3, (2, 64, 600), 0.05, SEEDS, 80_000
)
QUICK = Scale(500, 100, 80, tuple((1, width, 60) for width in WIDTHS), (1, 48, 60), 3, (1, 48, 80), 0.08, 2, 40_000)
EPOCHS = 25  # of both classifiers: at fastText's 5 one of 540 texts a class has hardly begun to learn
REFERENCE = "reference.jsonl"
SEQUENCE, BATCH = 128, 16
# Bytes merged to 1,024 pieces: most of a small model's work is its last layer, whose size is the vocabulary.
TOKENIZER = {"kind": "byte-bpe", "vocabulary": 1024, "sample": "4 MB"}
# One thread a training: sums of floats, and so the result, follow the number of threads. Large pages, where the kernel
# has them on request: the C library returns a tensor's memory at once, and new pages were a third of scoring's time.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


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
    most, told = scale.documents, scale.documents + scale.reference
    to_shuffle = -(-most // len(files))  # of each source; no piece is in the corpus twice
    found = {path.name.partition("_")[0]: list(pieces(path, told + to_shuffle)) for path in files}
    reference = [text for name in TARGET for text in found[name][most:told]]
    sources = {name: texts[:most] for name, texts in found.items()}
    sources["shuffled"] = []
    for text in [text for texts in found.values() for text in texts[told:]][:most]:
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
            "tokenizer": {"model": str(tokenizer)} if tokenizer else TOKENIZER,
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
            steps=steps, batch_size=BATCH, learning_rate=4e-3, warmup_steps=steps // 10,
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
    alone: float  # half the width of the 95 % interval of this comparison alone
    margin: float  # of all comparisons at once (Bonferroni)
    detectable: float  # the difference that would leave the latter interval's zero out four times in five


@dataclass(frozen=True)
class Noise:
    """Standard deviations, in bits a byte: between the seeds of a method, and what is left of it inside a seed."""

    seeds: float
    inside: float
    documents: float  # of a difference to random, by chance of the held-out documents: the largest of all methods


def deviations(means: np.ndarray) -> tuple[float, float]:
    """Return the deviation between seeds, and inside them: ``means`` is methods x seeds, bits a byte.

    The first pools the variances of the methods. The second is what remains without the means of methods and seeds, of
    (methods - 1) (seeds - 1) degrees of freedom: smaller where a seed is good or bad for all methods alike.
    """
    methods, seeds = means.shape
    rest = means - means.mean(axis=1, keepdims=True) - means.mean(axis=0) + means.mean()
    return (
        float(np.sqrt(means.var(axis=1, ddof=1).mean())),
        float(np.sqrt((rest**2).sum() / ((methods - 1) * (seeds - 1)))),
    )


def differences(
    bits: Mapping[str, np.ndarray], sizes: np.ndarray, draws: int = 1000
) -> tuple[dict[str, Difference], Noise]:
    """Compare every method with ``random``. ``bits``: seeds x documents; ``sizes``: bytes of the documents.

    Two kinds of chance: trainings (variance inside seeds, pooled over all methods) and held-out documents (bootstrap).
    The intervals are Student's.
    """
    from scipy.stats import t

    chance = np.random.default_rng(0)
    drawn = chance.multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), draws)  # times each document counts
    means = {method: values.sum(axis=1) / sizes.sum() for method, values in bits.items()}
    table = np.stack(list(means.values()))
    methods, seeds = table.shape
    between, inside = deviations(table)
    freedom = (methods - 1) * (seeds - 1)
    one, all_ = float(t.ppf(0.975, freedom)), float(t.ppf(1 - 0.025 / COMPARISONS, freedom))
    found = {}
    largest = 0.0
    for method, values in bits.items():
        by_chance = float((drawn @ (values - bits["random"]).mean(axis=0) / (drawn @ sizes)).std())
        largest = max(largest, by_chance)
        error = 0.0 if method == "random" else float(np.sqrt(2 * inside**2 / seeds + by_chance**2))
        found[method] = Difference(
            float(means[method].mean()),
            float(means[method].mean() - means["random"].mean()),
            one * error,
            all_ * error,
            (all_ + float(t.ppf(0.8, freedom))) * error,
        )
    return found, Noise(between, inside, largest)


@dataclass(frozen=True)
class Verdict:
    """The comparison on a group of held-out documents."""

    methods: Mapping[str, Difference]
    noise: Noise


def verdict(bits: Mapping[str, np.ndarray], sources: np.ndarray, sizes: np.ndarray) -> dict[str, Verdict]:
    """Return the comparison on every source, on the target and on all good sources."""
    groups = {str(name): sources == name for name in sorted(set(sources))}
    groups |= {"target": np.isin(sources, TARGET), "good sources": ~np.isin(sources, BAD)}
    return {
        name: Verdict(*differences({method: values[:, rows] for method, values in bits.items()}, sizes[rows]))
        for name, rows in groups.items()
    }


def show(result: Mapping[str, Verdict]) -> str:
    """Return the verdict as a Markdown table: bits a byte of random, and what the others are off it."""
    methods = [name for name in result["target"].methods if name != "random"]
    lines = [f"| held-out text | random | {' | '.join(methods)} | detectable |", "|---" * (len(methods) + 3) + "|"]
    for group, verdict_ in result.items():
        found = verdict_.methods
        cells = [f"{found[name].difference:+.3f} ± {found[name].margin:.3f}" for name in methods]
        least = max(found[name].detectable for name in methods)
        lines.append(f"| {group} | {found['random'].bits_per_byte:.3f} | {' | '.join(cells)} | {least:.3f} |")
    return "\n".join(lines)


def processor_seconds() -> float:
    """Return the processor time of this process and of all that it has started and seen end."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def measure(folder: Path, scale: Scale, seeds: int) -> dict[str, Any]:
    """Do all of it in ``folder``; what is done is found again."""
    started = time.perf_counter()

    def say(what: str) -> None:
        print(f"[{time.perf_counter() - started:6.0f} s, {processor_seconds():6.0f} s of processor] {what}", flush=True)

    base, root = folder / "corpus", folder / "run"
    names = write_corpus(base, scale)
    pool = corpus_run(root, base, names, scale, [])
    tokenizer = Path(pool.tokenizer.path).resolve()
    vocabulary = pool.tokenizer.vocabulary_size
    documents = pool.head.manifest.account.documents_out
    say(f"pool of {documents} documents, {pool.head.manifest.account.bytes_out / 1e6:.1f} MB")
    at_once = ThreadPoolExecutor(os.cpu_count() or 1)
    rungs: dict[str, list[tuple[tuple[int, int, int], dict[str, float]]]] = {
        "preselect": [(shape, {}) for shape in scale.sizes],
        "preselect-mixtures": [(scale.mixed, weights) for weights in mixtures(names, scale.mixtures)],
    }
    ladders: dict[str, list[dict[str, str]]] = {}
    trainings = []
    for method, models in rungs.items():
        for number, (shape, weights) in enumerate(models):
            place = folder / "ladder" / f"{method}-{number}"
            trainings.append(at_once.submit(trained, place, pool.tokens.folder, vocabulary, shape, number, weights))
            entry = {"name": f"m{number}", "checkpoint": str(place.resolve()), "tokenizer": str(tokenizer)}
            ladders.setdefault(method, []).append(entry)
    for training in trainings:
        training.result()
    say(f"ladders: {len(trainings)} models trained")
    kept: dict[str, Any] = {}
    scorers: dict[str, Any] = {}
    tokens: dict[str, Path] = {}
    held_out: Sequence[Any] = ()
    for method, tail in selections(names, ladders).items():
        run = corpus_run(root, base, names, scale, tail, tokenizer)
        account = run.head.manifest.account
        kept[method] = {name: size for name, (_, size) in sorted(account.kept.items())}
        tokens[method], held_out = run.tokens.folder, run.held_out
        say(f"{method}: {account.documents_out} documents, {account.bytes_out / 1e6:.2f} MB")
        for name, place in json.loads((root / "run.json").read_text())["scorers"].items():
            report = json.loads((root / place / "report.json").read_text())
            scorers[name] = {key: report.get(key) for key in ("auc", "positive", "predictive")}
    texts = evaluated_documents(held_out, scale)
    sizes = texts.column("bytes").to_numpy().astype(float)
    sources = np.array(texts.column("source").to_pylist())
    on_target = np.isin(sources, TARGET)
    bits: dict[str, list[np.ndarray]] = {method: [] for method in kept}
    result: dict[str, Verdict] = {}
    for seed in range(1, seeds + 1):
        begun = {
            method: at_once.submit(
                trained, folder / "models" / f"{method}-{seed}", place, vocabulary, scale.final, seed
            )
            for method, place in tokens.items()
        }
        checkpoints = {method: training.result() for method, training in begun.items()}
        found = evaluate(checkpoints, tokenizer, texts, folder / "evaluation" / str(seed)).documents
        for method, values in zip(kept, found.column("bits").to_numpy().reshape(len(kept), -1), strict=True):
            bits[method].append(values)
        say(f"seed {seed}: {len(kept)} models trained and scored")
        if seed > 1:
            result = verdict({method: np.stack(rows) for method, rows in bits.items()}, sources, sizes)
    return {
        "documents": documents,
        "held_out": {
            str(name): int(count) for name, count in zip(*np.unique(sources, return_counts=True), strict=True)
        },
        "seeds": seeds,
        "seconds": round(time.perf_counter() - started),
        "processor_seconds": round(processor_seconds()),
        "tokens": scale.final[2] * BATCH * SEQUENCE,
        "kept_bytes": kept,
        "scorers": scorers,
        "noise": result["target"].noise,
        "target": {
            method: (np.stack(rows)[:, on_target].sum(axis=1) / sizes[on_target].sum()).tolist()
            for method, rows in bits.items()
        },
        "result": result,
    }


def evaluated_documents(held_out: Sequence[Any], scale: Scale) -> pa.Table:
    """Return the held-out documents that final models are scored on: all of the target, some of every other source."""
    whole, some = (held_out_documents(held_out, size) for size in (10**9, scale.evaluated))
    target = pa.array(TARGET)
    mine = whole.filter(pc.is_in(whole.column("source"), value_set=target))
    others = some.filter(pc.invert(pc.is_in(some.column("source"), value_set=target)))
    return pa.concat_tables([mine, others]).combine_chunks()


def main() -> None:
    """Run and print; exits with 1 where something is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer documents, steps and seeds")
    parser.add_argument("--seeds", type=int, default=0, help=f"of final trainings, 2 or more; default: {SEEDS}")
    parser.add_argument("--folder", type=Path, default=Path("runs/preselect-nano"))
    options = parser.parse_args()
    scale = QUICK if options.quick else FULL
    seeds = options.seeds or scale.seeds
    if seeds < 2:
        parser.error(f"--seeds: found {seeds}, expected 2 or more: one training says nothing of chance")
    os.environ |= ENVIRONMENT
    try:
        folder = options.folder / ("quick" if options.quick else "full")
        found = measure(folder.resolve(), scale, seeds)
    except UserError as error:
        print(f"preselect-nano: {error}", file=sys.stderr)
        sys.exit(1)
    (folder / "result.json").write_text(json.dumps(found, indent=1, default=vars))
    print(json.dumps({key: value for key, value in found.items() if key != "result"}, indent=1, default=vars))
    print(show(found["result"]))


if __name__ == "__main__":
    main()
