"""What the words of selection mean in a recipe: scores, samples, cuts by date or source, and what is kept.

Scorers, cuts and orders are fitted to the documents that enter the step and lie in folders under their own
fingerprints, so that a moved limit scores nothing again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from tilth.corpus.chain import Stored
from tilth.corpus.errors import UserError
from tilth.corpus.stage import Asset, Stage
from tilth.corpus.store import file_digest, write_atomically
from tilth.recipe.recipe import Recipe, Step
from tilth.recipe.selection import (
    AsOfStep,
    CompressionStep,
    DsirStep,
    LeaveOutStep,
    LengthStep,
    PerplexityStep,
    PreselectStep,
    RandomStep,
    RegressionStep,
    SampleStep,
    ScoreStep,
    SelectStep,
)

if TYPE_CHECKING:
    from tilth.eval.losses import Rung
    from tilth.filters.fasttext_capsule import Capsule
    from tilth.selection.compare import Comparison
    from tilth.selection.gains import Gain
    from tilth.selection.losses import Losses
    from tilth.selection.scorer import ScorerSettings
    from tilth.steps import Fitting

Make = Stage | Callable[[Stored], Stage]

SCORERS, RIVALS, SELECTIONS = "scorers", "rivals", "selections"  # folders of a run, and keys in its run.json
PLAN: Final = "plan.json"
COMPARISON: Final = "comparison.json"
TARGET_BYTES: Final = 200_000  # of held-out text of each target source that says which model is able


def select(step: Step, recipe: Recipe, fitting: "Fitting") -> list[Make]:
    """Return the stages of a step of selection, in order, or what makes them."""
    match step:
        case RandomStep():
            from tilth.selection.rivals import RandomDraw

            seed = recipe.seed if step.seed is None else step.seed
            return [RandomDraw(step.name, seed)]
        case LengthStep() | CompressionStep():
            from tilth.selection.rivals import Size

            return [Size(step.name, step.use)]
        case DsirStep():
            return [lambda head: importance(step, recipe, fitting, head)]
        case PerplexityStep():
            return [lambda head: bits_per_byte(step, recipe, fitting, head)]
        case RegressionStep():
            return [lambda head: regression(step, recipe, fitting, head)]
        case ScoreStep() | PreselectStep():
            return [lambda head: score(step, recipe, fitting, head)]
        case SampleStep():
            from tilth.selection.sample import Sample, sample_limits

            def sample(head: Stored) -> Stage:
                return Sample(step.name, sample_limits(head, step.documents, step.sources, recipe.seed), recipe.seed)

            return [sample]
        case AsOfStep():
            from tilth.selection.as_of import AsOf

            return [AsOf(step.name, step.until, step.since, step.undated, step.inverse)]
        case LeaveOutStep():
            from tilth.selection.as_of import LeaveOut

            return [LeaveOut(step.name, tuple(step.sources), step.inverse)]
        case SelectStep():
            return [
                lambda head: rank(step, recipe, fitting, head),
                lambda head: keep(step, recipe, fitting, head.upstream or head),
            ]
    raise TypeError(f"{step.name}: no step of selection")


def importance(step: DsirStep, recipe: Recipe, fitting: "Fitting", head: Stored) -> Stage:
    """Return DSIR's stage, its log ratios fitted to the documents of ``head``."""
    from tilth.selection.fit import RATIO, Examples, fit_importance
    from tilth.selection.rivals import ImportanceWeight

    target = Examples.named(step.target, sources(recipe), fitting.folder, step.name)
    folder = fitting.fitted(
        RIVALS, step.name, ["dsir", target.describe()], head, lambda place: fit_importance(place, head, target)
    )
    seed = recipe.seed if step.seed is None else step.seed
    return ImportanceWeight(step.name, asset(folder / RATIO), seed, step.chunk, step.noise)


def bits_per_byte(step: PerplexityStep, recipe: Recipe, fitting: "Fitting", head: Stored) -> Stage:
    """Return the stage of a byte n-gram model of documents of ``head`` or of files, or of a KenLM model."""
    from tilth.selection.fit import BYTE_MODEL, Examples, fit_byte_model
    from tilth.selection.rivals import BitsPerByte

    if step.kenlm is not None:
        from tilth.selection.kenlm_model import KenlmBits, open_kenlm

        model = asset(given_file(step.name, "kenlm", fitting.folder / step.kenlm))
        open_kenlm(model.path, model.digest)  # a damaged model, or a missing library, is said before the work begins
        return KenlmBits(step.name, model)
    reference = Examples.named(step.reference, sources(recipe), fitting.folder, step.name)
    settings = ["perplexity", reference.describe(), step.order, step.sample]
    folder = fitting.fitted(
        RIVALS, step.name, settings, head, lambda place: fit_byte_model(place, head, reference, step.order, step.sample)
    )
    return BitsPerByte(step.name, asset(folder / BYTE_MODEL))


def regression(step: RegressionStep, recipe: Recipe, fitting: "Fitting", head: Stored) -> Stage:
    """Return the stage of a linear head on an encoder, fitted to the examples that a step names."""
    from tilth.selection.embedding import HEAD, EmbeddingScore, EncoderSettings, fit_regression, folder_digest

    examples = given_file(step.name, "examples", fitting.folder / step.examples)
    place = fitting.folder / step.encoder
    encoder = Asset(str(place), folder_digest(place))
    settings = EncoderSettings(step.pooling, step.tokens)
    folder = fitting.fitted(
        RIVALS,
        step.name,
        ["regression", encoder.digest, settings, file_digest(examples), step.penalty, recipe.seed],
        head,
        lambda folder: _done(fit_regression(folder, examples, encoder, settings, step.penalty, recipe.seed)),
    )
    return EmbeddingScore(step.name, encoder, asset(folder / HEAD), settings)


def given_file(stage: str, field: str, path: Path) -> Path:
    """Return the path of a file that a step names. Raises ``UserError`` where there is none."""
    if not path.is_file():
        raise UserError(f"stage '{stage}': {field} {path} not found; correct '{field}'")
    return path


def score(step: ScoreStep | PreselectStep, recipe: Recipe, fitting: "Fitting", head: Stored) -> Stage:
    """Return the stage that scores with a step's capsule: a given one, or one that is trained here."""
    import dataclasses

    from tilth.filters.fasttext_capsule import open_capsule
    from tilth.filters.fasttext_reading import Reading
    from tilth.filters.score import DOUBLE, Score

    if isinstance(step, PreselectStep):
        capsule: Capsule = open_capsule(predictive(step, recipe, fitting, head), "")
    elif step.model is not None:
        path = fitting.folder / step.model
        if not path.exists():
            raise UserError(f"stage '{step.name}': model {path} not found; correct 'model'")
        capsule = open_capsule(path, step.label)
        if path.is_file():
            capsule = dataclasses.replace(capsule, reading=Reading(step.first_bytes, step.paragraphs))
    else:
        capsule = open_capsule(trained(step, recipe, fitting, head), step.label)
        capsule = dataclasses.replace(capsule, reading=Reading(step.first_bytes, step.paragraphs), label=step.label)
    return Score.of(step.name, capsule, step.arithmetic if isinstance(step, ScoreStep) else DOUBLE)


def trained(step: ScoreStep, recipe: Recipe, fitting: "Fitting", head: Stored) -> Path:
    """Return the folder of a scorer trained on the classes that a step names."""
    from tilth.selection.fit import Examples, fit_scorer

    if step.train is None:
        raise TypeError(f"{step.name}: nothing to train")
    positive, negative = (
        Examples.named(names, sources(recipe), fitting.folder, step.name)
        for names in (step.train.positive, step.train.negative)
    )
    settings = scorer_settings(step, recipe.seed)
    return fitting.fitted(
        SCORERS,
        step.name,
        [settings, positive.describe(), negative.describe()],
        head,
        in_stage(step.name, lambda place: _done(fit_scorer(place, head, positive, negative, settings))),
    )


def in_stage(name: str, build: Callable[[Path], None]) -> Callable[[Path], None]:
    """Return ``build`` with the stage's name before what it complains of."""

    def named(place: Path) -> None:
        try:
            build(place)
        except UserError as error:
            raise UserError(f"stage '{name}': {error}") from error

    return named


def _done(report: object) -> None:
    """Leave a result that lies in files too."""


def scorer_settings(step: ScoreStep | PreselectStep, seed: int) -> "ScorerSettings":
    """Return the settings of a scorer's training."""
    from tilth.selection.scorer import ScorerSettings

    training = step.train if isinstance(step, ScoreStep) else step
    if training is None:
        raise TypeError(f"{step.name}: nothing to train")
    return ScorerSettings(
        dim=training.dimension,
        epochs=training.epochs,
        bucket=training.buckets,
        examples=training.documents,
        length=training.length,
        first_bytes=step.first_bytes,
        seed=seed,
    )


# predictive selection


def predictive(step: PreselectStep, recipe: Recipe, fitting: "Fitting", head: Stored) -> Path:
    """Return the folder of a scorer trained on a sample's documents, labelled by their losses under a ladder."""
    from tilth.ladder import rung_digest, rungs
    from tilth.selection.losses import read_losses
    from tilth.selection.preselect import PredictiveSettings, fit_predictive
    from tilth.selection.sample import sampled_documents

    sample = fitting.stored(step.sample)
    settings = PredictiveSettings(
        scorer=scorer_settings(step, recipe.seed),
        estimator=step.estimator,
        level=step.level,
        projection=step.projection,
        keep=step.keep,
    )
    named: list[Any] = [settings, sample.manifest.fingerprint, step.ability]
    if step.losses is not None:
        table = fitting.folder / step.losses
        if not table.is_file():
            raise UserError(f"stage '{step.name}': losses {table} not found; correct 'losses'")
        named.append(file_digest(table))
        ability: Mapping[str, float] = step.ability

        def losses(place: Path) -> "Losses":
            return read_losses(table)
    else:
        ladder = rungs(step.models, fitting.folder)
        ability = step.ability or target_ability(step, ladder, fitting)
        named += [[rung.name, rung_digest(rung)] for rung in ladder]
        named.append(sorted(ability.items()))
        losses = partial(asked_losses, ladder, sample)

    def build(place: Path) -> None:
        fit_predictive(place, sampled_documents(sample), losses(place), ability, settings)

    return fitting.fitted(SCORERS, step.name, named, head, in_stage(step.name, build))


def asked_losses(ladder: Sequence["Rung"], sample: Stored, place: Path) -> "Losses":
    """Return the losses of a sample under a ladder, and keep them as ``losses.parquet``."""
    from tilth.eval.losses import ladder_losses
    from tilth.selection.losses import read_losses, write_losses
    from tilth.selection.sample import sampled_documents

    documents = sampled_documents(sample)
    documents = documents.filter(documents.column("bytes").to_numpy() > 0)
    found = ladder_losses(ladder, documents, place / "evaluations")
    write_losses(place / "losses.parquet", documents.column("id").combine_chunks(), found)
    return read_losses(place / "losses.parquet")


def target_ability(step: PreselectStep, ladder: Sequence["Rung"], fitting: "Fitting") -> dict[str, float]:
    """Return the ability of every model: less bits a byte on the held-out text of the target's sources is better."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from tilth.eval.held_out import held_out_documents
    from tilth.eval.losses import ladder_losses
    from tilth.ladder import means, rung_digest

    documents = held_out_documents(fitting.held_out, TARGET_BYTES)
    documents = documents.filter(pc.is_in(documents.column("source"), value_set=pa.array(step.target)))
    if not documents.num_rows:
        raise UserError(f"stage '{step.name}': no text of {', '.join(step.target)} was held out; hold more out")
    names = [*step.target, *(rung_digest(rung) for rung in ladder), *(s.manifest.fingerprint for s in fitting.held_out)]

    def build(place: Path) -> None:
        sizes = documents.column("bytes").to_numpy()
        found = ladder_losses(ladder, documents, place / "evaluations")
        ability = {name: -mean for name, mean in means(found, sizes).items()}
        write_atomically(place / "ability.json", orjson.dumps(ability, option=orjson.OPT_INDENT_2))

    folder = fitting.fitted("ability", step.name, names, fitting.held_out[-1], build)
    ability: dict[str, float] = orjson.loads((folder / "ability.json").read_bytes())
    return ability


# what is kept


MEASURED_BYTES: Final = 4_000_000  # of the pool, to measure how many bytes a token holds


def plan_selection(step: SelectStep, tokenizer: Path | None, seed: int, head: Stored, folder: Path) -> None:
    """Write the order of all documents and ``plan.json``: the bands, and what every source gained and lost."""
    from tilth.selection.bands import byte_budget, choose_bands, read_pool
    from tilth.selection.gains import gains
    from tilth.selection.keep_bands import Grouping
    from tilth.selection.rank import write_ranking

    grouping = Grouping(step.per, tuple(step.edges))
    pool = read_pool(head, step.by, grouping)
    asked, bytes_per_token = step.bytes, step.bytes_per_token
    if step.tokens is not None:
        if bytes_per_token is None and tokenizer is not None:
            from tilth.tokenize.bytes_per_token import measured_bytes_per_token
            from tilth.tokenize.tokenizer import Tokenizer

            bytes_per_token = measured_bytes_per_token(head, Tokenizer.load(tokenizer), MEASURED_BYTES, seed)
        asked = int(step.tokens * (bytes_per_token or 0))
    chosen = choose_bands(pool, byte_budget(pool.bytes, step.keep, asked), step.part, step.quotas, step.epochs)
    write_ranking(folder / "ranking.npy", pool.scores, pool.ids)
    plan = {
        "signal": step.by,
        "part": step.part,
        "per": step.per,
        "inverse": step.inverse,
        "bytes_per_token": bytes_per_token,
        "bands": chosen.bands,
        "groups": chosen.plan,
        "sources": gains(pool, chosen, step.part, inverse=step.inverse),
    }
    write_atomically(folder / PLAN, orjson.dumps(plan, option=orjson.OPT_INDENT_2))


def planned(step: SelectStep, recipe: Recipe, fitting: "Fitting", head: Stored) -> Path:
    """Return the folder of a selection's plan for the documents of ``head``."""
    settings = step.model_dump() | {"inverse": step.inverse}
    tokenizer = None
    if step.tokens is not None and step.bytes_per_token is None and recipe.tokenizer and recipe.tokenizer.model:
        from tilth.tokenize.fit import given_digests

        tokenizer = fitting.folder / recipe.tokenizer.model
        settings |= {"tokenizer": given_digests(tokenizer), "seed": recipe.seed}
    return fitting.fitted(
        SELECTIONS,
        step.name,
        settings,
        head,
        lambda place: plan_selection(step, tokenizer, recipe.seed, head, place),
    )


def rank(step: SelectStep, recipe: Recipe, fitting: "Fitting", head: Stored) -> Stage:
    """Return the stage that measures every document's rank."""
    from tilth.selection.rank import Rank

    return Rank(f"{step.name}-rank", step.by, asset(planned(step, recipe, fitting, head) / "ranking.npy"))


def keep(step: SelectStep, recipe: Recipe, fitting: "Fitting", head: Stored) -> Stage:
    """Return the stage that keeps what was planned for the documents of ``head``."""
    from tilth.selection.keep_bands import Band, Grouping, KeepBands
    from tilth.selection.keep_best import KeepBest

    plan = orjson.loads((planned(step, recipe, fitting, head) / PLAN).read_bytes())

    def place(found: Sequence[Any] | None) -> tuple[float, str] | None:
        return None if found is None else (float(found[0]), str(found[1]))

    bands = tuple(Band(band["group"], place(band["above"]), place(band["until"])) for band in plan["bands"])
    if step.part == "highest" and step.per == "all" and bands[0].until is not None:
        return KeepBest(step.name, step.by, *bands[0].until, step.inverse)
    grouping = Grouping(step.per, tuple(step.edges))
    return KeepBands(
        step.name, step.by, grouping, bands, "lowest" if step.part == "lowest" else "highest", step.inverse
    )


def mixture_weights(recipe: Recipe, fitted: Mapping[str, Mapping[str, str]], root: Path) -> dict[str, float]:
    """Return the share of training of every source that the last selection with repeats planned; empty without one."""
    steps = [step for step in recipe.stages if isinstance(step, SelectStep) and step.epochs > 1 and not step.inverse]
    folder = fitted.get(SELECTIONS, {}).get(steps[-1].name) if steps else None
    if folder is None:
        return {}
    groups = orjson.loads((root / folder / PLAN).read_bytes())["groups"]
    sizes = {name: share["bytes"] * share["epochs"] for name, share in groups.items() if share["bytes"]}
    return {name: size / sum(sizes.values()) for name, size in sizes.items()}


def sources(recipe: Recipe) -> list[str]:
    """Return the names of a recipe's sources."""
    return [source.name for source in recipe.sources]


def asset(path: Path) -> Asset:
    """Return a file as a stage's asset."""
    return Asset(str(path), file_digest(path))


# asked of a run that is finished


def measured_at(root: Path, signals: Sequence[str]) -> Stored:
    """Return the first stage of a run after which all ``signals`` are there. Raises ``UserError`` where none is."""
    from tilth.corpus.chain import open_chain

    chain = open_chain(root)
    for stored in chain:
        if all(name in stored.lineage.signals for name in signals):
            return stored
    known = sorted(name for name in (chain[-1].lineage.signals if chain else {}))
    missing = next(name for name in signals if name not in known)
    raise UserError(f"{root}: signal '{missing}' was not measured; this run has {', '.join(known) or 'none'}")


def what_select(root: Path, asked: Mapping[str, Any]) -> tuple["Selected", ...]:
    """Return what a selection by a stored signal would keep of a finished run, or what its own selections kept.

    ``asked`` holds the fields of a ``select`` step; empty, the run's own selections are told.
    """
    from pydantic import ValidationError

    from tilth.selection.bands import byte_budget, choose_bands, read_pool
    from tilth.selection.gains import Gain, gains, kept_by
    from tilth.selection.keep_bands import Grouping

    if not asked:
        index = orjson.loads((root / "run.json").read_bytes())
        found = []
        for name, folder in index.get("fitted", {}).get(SELECTIONS, {}).items():
            plan = orjson.loads((root / folder / PLAN).read_bytes())
            rows = [Gain(**row) for row in plan["sources"]]
            size = plan["bytes_per_token"]
            counted = f", {size:.3f} bytes a token" if size else ""
            found.append(Selected(f"{name}: {plan['part']} by {plan['signal']}{counted}", rows, plan["groups"]))
        if not found:
            raise UserError(f"{root}: has no stage 'select'; ask about a signal with --by and --keep")
        return tuple(found)
    try:
        step = SelectStep.model_validate({"use": "select", **asked})
    except ValidationError as error:
        first = error.errors()[0]
        place = "".join(f"{part}: " for part in first["loc"])
        raise UserError(f"select: {place}{first['msg'].removeprefix('Value error, ')}") from error
    grouping = Grouping(step.per, tuple(step.edges))
    signals = [step.by, *([grouping.signal] if grouping.signal else [])]
    pool = read_pool(measured_at(root, signals), step.by, grouping)
    if step.tokens is not None and step.bytes_per_token is None:
        raise UserError("select: tokens: found no 'bytes_per_token', expected one; no text is read here to measure it")
    budget = step.bytes if step.tokens is None else int(step.tokens * (step.bytes_per_token or 0))
    chosen = choose_bands(pool, byte_budget(pool.bytes, step.keep, budget), step.part, step.quotas, step.epochs)
    rows = gains(pool, chosen, step.part, inverse=step.inverse)
    kept = kept_by(pool, chosen.bands, step.part) != step.inverse
    told = Selected(f"{step.part} by {step.by}", rows, {name: vars(share) for name, share in chosen.plan.items()})
    return (replace(told, ids=[name.tobytes().hex() for name in pool.ids[kept]], scores=pool.scores[kept].tolist()),)


@dataclass(frozen=True)
class Selected:
    """What a selection keeps: a title, what each source gains, the shares of groups; ids and scores where asked."""

    title: str
    sources: "list[Gain]"
    groups: Mapping[str, Any]
    ids: Sequence[str] = ()
    scores: Sequence[float] = ()

    def text(self) -> str:
        """Return it for a terminal."""
        from tilth.selection.gains import gains_text

        lines = [self.title, "", gains_text(self.sources)]
        for name, share in self.groups.items():
            if share["missing"] > 0 or share["epochs"] > 1:
                lines.append(
                    f"{name}: read {share['epochs']:.2f} times; {share['missing'] / 1e6:,.2f} MB of its quota missing"
                )
        return "\n".join(lines)

    def write(self, path: Path) -> None:
        """Write ids, scores and ranks as a Parquet table, best first."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.table({"id": pa.array(self.ids, pa.string()), "score": pa.array(self.scores, pa.float64())})
        table = table.sort_by([("score", "descending"), ("id", "ascending")])
        pq.write_table(table.append_column("rank", pa.array(range(1, len(table) + 1))), path, compression="zstd")


def compare(root: Path, signals: Sequence[str], keep: float) -> "Comparison":
    """Compare the selections by signals of a finished run and keep the answer for its report.

    A signal may be written NAME:lowest or NAME:middle. Raises ``UserError`` for a signal that was not measured.
    """
    from tilth.selection.compare import beginnings_of, compare_selections, write_comparison

    parts: dict[str, Any] = {}
    names = []
    for signal in signals:
        name, _, part = signal.partition(":")
        if part not in ("", "highest", "middle", "lowest"):
            raise UserError(f"compare: '{signal}': expected highest, middle or lowest after the colon")
        names.append(name)
        parts[name] = part or "highest"
    stored = measured_at(root, names)
    found = compare_selections(stored, names, keep, parts)
    wanted = [name for pair in found.agreements for name in (*pair.only_first, *pair.only_second)]
    write_comparison(root / COMPARISON, found, beginnings_of(stored, wanted))
    return found
