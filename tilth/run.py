"""A run: the recipe's steps in order, each found stored or done, from raw text to an evaluated model.

The corpus half is a chain of stages (``tilth.corpus.chain``). What is fitted to the corpus and then used (a scorer, a
tokenizer, a model) lies in a folder under its own fingerprint, which is made of the settings and of the stage that it
was fitted to. So the same recipe again finds everything, and a changed word in it redoes what depends on that word.
"""

import itertools
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import orjson
import yaml

from tilth.corpus.chain import INDEX, Chain, NotStored, Stored, locked
from tilth.corpus.engines import Engine
from tilth.corpus.errors import UserError
from tilth.corpus.stage import MapStage, fingerprint
from tilth.corpus.store import file_digest, write_atomically
from tilth.deduplication import check_losses
from tilth.inputs import find_inputs
from tilth.recipe.deduplication import DeduplicateStep
from tilth.recipe.hold_out import HoldOutStep
from tilth.recipe.recipe import Recipe, Step
from tilth.recipe.tokenizer import TokenizerRecipe
from tilth.recipe.training import EvaluateRecipe, TrainRecipe
from tilth.steps import Make, check_settings, made, stages, tokenizer_settings
from tilth.training import deciding, grown_pieces, train_job

ENTRIES = "entries.json"  # in the run folder: where large packed files can be entered
PACKAGES = (
    "tilth",
    "pyarrow",
    "numpy",
    "numba",
    "fasttext-numpy2-wheel",
    "sentencepiece",
    "tokenizers",
    "datatrove",
    "apache-beam",
    "torch",
    "megatron-core",
)


class Show(Protocol):
    """Who is told how a run goes."""

    def progress(self, step: str, done: int, total: int, detail: str = "") -> None:
        """``done`` of ``total`` units of a step are done."""

    def finished(self, step: str, detail: str, seconds: float | None) -> None:
        """A step came to its end, after so many seconds of its own; None: it was found stored."""


@dataclass
class Index:
    """What the run folder holds now: the content of ``run.json``. Folders are relative to the run folder."""

    name: str
    stages: list[str] = field(default_factory=list)
    scorers: dict[str, str] = field(default_factory=dict)
    fitted: dict[str, dict[str, str]] = field(default_factory=dict)  # kind -> step -> folder
    tokenizer: str | None = None
    tokens: str | None = None
    model: str | None = None
    evaluation: str | None = None
    reading: dict[str, dict[str, Any]] | None = None  # how much training reads of every source
    seconds: dict[str, float] = field(default_factory=dict)  # of each step when it last ran

    def write(self, root: Path) -> None:
        """Write ``run.json``; what does not exist has no key."""
        data = {key: value for key, value in vars(self).items() if value is not None}
        write_atomically(root / INDEX, orjson.dumps(data, option=orjson.OPT_INDENT_2))


def known_seconds(root: Path) -> dict[str, float]:
    """Return how long each step of a run took when it last ran."""
    path = root / INDEX
    return dict(orjson.loads(path.read_bytes()).get("seconds", {})) if path.is_file() else {}


class Run:
    """One execution of a recipe in the folder ``root``.

    ``dry``: nothing is run or written; what is not stored raises ``NotStored``.
    """

    def __init__(
        self, recipe: Recipe, base: Path, root: Path, engine: Engine, show: Show, *, dry: bool = False
    ) -> None:
        self.recipe = recipe
        self.base = base
        self.root = root.resolve()
        self.engine = engine
        self.show = show
        self.dry = dry
        check_settings(recipe)
        self.inputs = find_inputs(recipe, base)
        self.index = Index(recipe.name, seconds=known_seconds(root))
        self.chain = Chain(self.root, engine, show.progress, dry, recipe.memory)
        self.held_out: list[Stored] = []
        self.makes: dict[str, list[Make]] = {}
        self.ahead: dict[str, list[Stored]] = {}  # stages of later steps that an earlier step's pass has run
        self.moved: dict[str, float] = {}  # seconds of a step that its neighbours' pass took for it, or it for them
        self.until: str | None = None
        self.digests: dict[str, dict[str, str]] = {}
        self.reused: dict[str, bool] = {}
        self.outputs: dict[str, Any] = {}  # what the lock file and the summary say beyond the stages

    def steps(self) -> Iterator[tuple[str, Callable[[], str]]]:
        """Yield the name of every step and the function that does it and says in a few words what came out."""
        if self.recipe.tokens is None:
            yield "read", self._read
        for step in self.recipe.stages:
            yield step.name, partial(self._stages, step)
        if self.recipe.tokenizer:
            yield "tokenizer", partial(self._tokenizer, self.recipe.tokenizer)
            yield "tokens", partial(self._tokens, self.recipe.tokenizer)
        if self.recipe.train:
            yield "train", partial(self._train, self.recipe.train)
        if self.recipe.evaluate:
            yield "evaluate", partial(self._evaluate, self.recipe.evaluate)
        if self.recipe.tokens is None:  # a report is about documents
            yield "report", self._report

    def execute(self, until: str | None = None) -> None:
        """Do every step, or every step up to ``until``. Raises ``UserError`` for a step that there is not."""
        names = [name for name, _ in self.steps()]
        if until is not None and until not in names:
            raise UserError(f"--until: no step '{until}'; the steps are {', '.join(names)}")
        self.until = until
        with locked(self.root):
            for name, work in self.steps():
                start = time.perf_counter()
                said = work()
                seconds = time.perf_counter() - start + self.moved.get(name, 0.0)
                if not self.reused[name]:
                    self.index.seconds[name] = round(seconds, 3)
                self.show.finished(name, said, None if self.reused[name] else seconds)
                if name != "report":  # the report shows what these say
                    self.index.write(self.root)
                    self._write_lock()
                if name == until:
                    break

    def summary(self) -> dict[str, Any]:
        """Return what the run came to, in JSON's types."""
        return {
            "ok": True,
            "run": str(self.root),
            "stages": [
                {
                    "name": stored.manifest.name,
                    "folder": stored.folder.name,
                    "reused": stored.reused,
                    "documents_in": stored.manifest.account.documents_in,
                    "documents_out": stored.manifest.account.documents_out,
                    "bytes_in": stored.manifest.account.bytes_in,
                    "bytes_out": stored.manifest.account.bytes_out,
                    "set_digest": stored.manifest.account.set_digest,
                }
                for stored in self.chain.done
            ],
            "reused": self.reused,
            "seconds": self.index.seconds,
            **self.outputs,
        }

    # the corpus

    def _read(self) -> str:
        if self.dry and not (self.root / "stages").is_dir():
            raise NotStored("read")  # found without a look at the bytes of the input
        self.digests = self.inputs.digests(self.root / "inputs.json", remember=not self.dry)
        parts = self.inputs.cut(self.root / ENTRIES, None if self.dry else partial(self.show.progress, "look into"))
        stored = self.chain.read(self.inputs.sources, parts, self.digests)
        said = self._advance("read", [stored])
        repeated = stored.manifest.description.get("repeated_ids", {})
        if repeated:
            self.outputs["repeated_ids"] = repeated
        records = sum(counts["records"] for counts in repeated.values())
        return said + (f", {records:,} with a repeated id (known by their place)" if records else "")

    def _stages(self, step: Step) -> str:
        """Run the stages of a step; map stages that need no fitting together, and those of the steps that follow."""
        check = partial(check_losses, step, self.head.manifest) if isinstance(step, DeduplicateStep) else None
        done = [self.head, *self.ahead.pop(step.name, [])]
        makes = self._made(step)
        while len(done) <= len(makes):
            ready = leading_maps(makes[len(done) - 1 :])
            if not ready:
                stage = made(makes[len(done) - 1], done[-1])
                done.append(self.chain.apply(stage, done[-1], check=check))
                continue
            alone = self.dry or check is not None or len(ready) <= len(makes) - len(done)
            following = {} if alone else self._following(step)
            stored = self.chain.apply_all([*ready, *itertools.chain(*following.values())], done[-1], check=check)
            done += stored[: len(ready)]
            left = iter(stored[len(ready) :])
            for name, those in following.items():
                self.ahead[name] = list(itertools.islice(left, len(those)))
                self.moved[name] = sum(self.chain.seconds[stage.name] for stage in those)
            self.moved[step.name] = -sum(self.moved[name] for name in following)
        if isinstance(step, HoldOutStep):
            self.held_out.append(done[-1])
        return self._advance(step.name, done[1:])

    def _made(self, step: Step) -> list[Make]:
        """Return what ``stages`` says of a step, asked once."""
        if step.name not in self.makes:
            self.makes[step.name] = stages(step, self.recipe, self)
        return self.makes[step.name]

    def _following(self, step: Step) -> dict[str, list[MapStage]]:
        """Return the stages of the steps that can go through in one pass with ``step``: map stages and no others."""
        if step.name == self.until:
            return {}
        found: dict[str, list[MapStage]] = {}
        for one in self.recipe.stages[self.recipe.stages.index(step) + 1 :]:
            makes = [] if isinstance(one, DeduplicateStep) else self._made(one)
            ready = leading_maps(makes)
            if not ready or len(ready) < len(makes):
                break
            found[one.name] = ready
            if one.name == self.until:
                break
        return found

    def _advance(self, name: str, done: list[Stored]) -> str:
        """Make the last stage of a step the head of the chain and say what became of the documents."""
        self.head = done[-1]
        self.index.stages += [stored.folder.name for stored in done]
        self.reused[name] = all(stored.reused for stored in done)
        account = self.head.manifest.account
        gone = sum(stored.manifest.account.documents_dropped for stored in done)
        edits = sum(account.edits.values())
        return (
            f"{account.documents_out:,} documents, {account.bytes_out / 1e6:,.1f} MB"
            + (f", {gone:,} dropped" if gone else "")
            + (f", {edits:,} edits" if edits else "")
        )

    def stored(self, name: str) -> Stored:
        """Return the finished stage of this name."""
        return next(stored for stored in self.chain.done if stored.manifest.name == name)

    @property
    def folder(self) -> Path:
        """The folder of the recipe, which its paths start from."""
        return self.base

    @property
    def memory(self) -> int:
        """How many bytes one process may take."""
        return self.recipe.memory

    def fitted(self, kind: str, step: str, settings: Any, head: Stored, build: Callable[[Path], None]) -> Path:
        """Return the folder of what ``build`` wrote from ``settings`` and the documents of ``head``."""
        own = fingerprint(kind, settings, head.manifest.fingerprint)
        folder = self.root / kind / f"{step}-{own[:6]}"
        self._fitted(f"{step}-{kind}", folder, own, build)
        place = self.index.scorers if kind == "scorers" else self.index.fitted.setdefault(kind, {})
        place[step] = str(folder.relative_to(self.root))
        return folder

    def _fitted(self, name: str, folder: Path, own: str, build: Callable[[Path], object]) -> bool:
        """Find in ``folder`` what was fitted under this fingerprint, whole, or build it. Tell whether it was found."""
        path = folder / "_manifest.json"
        if path.is_file():
            data = orjson.loads(path.read_bytes())
            files = {folder / name: digest for name, digest in data["files"].items()}
            whole = all(file.is_file() and file_digest(file) == digest for file, digest in files.items())
            if data["fingerprint"] == own and whole:
                return True
        if self.dry:
            raise NotStored(name)
        path.unlink(missing_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        self.show.progress(name, 0, 1)
        build(folder)
        self.show.progress(name, 1, 1)
        digests = {file.name: file_digest(file) for file in sorted(folder.iterdir()) if file.is_file()}
        write_atomically(path, orjson.dumps({"fingerprint": own, "files": digests}, option=orjson.OPT_INDENT_2))
        return False

    # tokens, model, evaluation

    def _tokenizer(self, wanted: TokenizerRecipe) -> str:
        from tilth.tokenize.fit import bring_tokenizer, fit_tokenizer, given_digests, grow_fitted
        from tilth.tokenize.tokenizer import Tokenizer
        from tilth.tokenize.train_tokenizer import model_name

        seed = self.recipe.seed
        if wanted.model is not None:
            given = self.base / wanted.model
            own = fingerprint("tokenizer", given_digests(given), wanted.separator)
            folder = self.root / "tokenizers" / f"given-{own[:6]}"
            found = self._fitted(
                "tokenizer", folder, own, lambda place: bring_tokenizer(given, place, wanted.separator)
            )
        else:
            settings = tokenizer_settings(wanted, seed)
            head = self.head
            own = fingerprint("tokenizer", settings, head.manifest.fingerprint)
            folder = self.root / "tokenizers" / f"{wanted.kind}-{own[:6]}"
            found = self._fitted(
                "tokenizer", folder, own, lambda place: fit_tokenizer(place / model_name(wanted.kind), head, settings)
            )
        if wanted.grow is not None:
            head, grow, old = self.head, wanted.grow, Tokenizer.load(folder)
            own = fingerprint("tokenizer growth", own, grow.model_dump(), seed, head.manifest.fingerprint)
            folder = self.root / "tokenizers" / f"grown-{own[:6]}"
            grown = self._fitted(
                "tokenizer-growth",
                folder,
                own,
                lambda place: grow_fitted(old, head, place, grow.pieces, grow.sources, grow.sample, seed),
            )
            found = found and grown
        self.reused["tokenizer"] = found
        self.index.tokenizer = str(folder.relative_to(self.root))
        self.tokenizer = Tokenizer.load(folder)
        size = self.tokenizer.vocabulary_size
        self.outputs["tokenizer"] = {"kind": self.tokenizer.kind, "digest": self.tokenizer.digest, "vocabulary": size}
        return f"{size:,} pieces"

    def _tokens(self, wanted: TokenizerRecipe) -> str:
        from tilth.tokenize.task import find_tokens, token_fingerprint, tokenize

        if self.recipe.tokens is not None:
            return self._given_tokens(self.base / self.recipe.tokens)
        own = token_fingerprint(self.head, self.tokenizer, wanted.shard)
        folder = self.root / "tokens" / own[:6]
        found = find_tokens(folder, own, self.head.parts)
        if found is None and self.dry:
            raise NotStored("tokens")
        self.reused["tokens"] = found is not None
        self.tokens = found or tokenize(
            self.head, self.tokenizer, folder, self.engine, self.show.progress, wanted.shard
        )
        self.index.tokens = str(folder.relative_to(self.root))
        return self._tell_tokens()

    def _given_tokens(self, folder: Path) -> str:
        from tilth.tokenize.shards import Encoding
        from tilth.tokenize.token_set import TokenSet

        self.tokens = TokenSet.open(folder, verify_digests=True)
        encoding = self.tokens.encoding
        if encoding != Encoding.of(self.tokenizer):
            raise UserError(
                f"tokens: {folder}: made with tokenizer {encoding.tokenizer} ({encoding.vocabulary_size:,} pieces, "
                f"separator {encoding.separator}), found {self.tokenizer.digest} ({self.tokenizer.vocabulary_size:,}, "
                f"{self.tokenizer.separator}) in tokenizer.model; name the one that made them"
            )
        self.reused["tokens"] = True
        self.index.tokens = os.path.relpath(folder.resolve(), self.root)
        return self._tell_tokens()

    def _tell_tokens(self) -> str:
        total = self.tokens.total
        self.outputs["tokens"] = {"digest": self.tokens.digest, "tokens": total.tokens}
        return f"{total.tokens:,} tokens, {total.bytes / max(1, total.tokens):.2f} bytes a token"

    def _train(self, wanted: TrainRecipe) -> str:
        from tilth.reading import readings
        from tilth.selecting import mixture_weights
        from tilth.train import launch

        if not wanted.weights and not wanted.budgets:
            wanted = wanted.model_copy(update={"weights": mixture_weights(self.recipe, self.index.fitted, self.root)})
        job = train_job(
            wanted,
            self.recipe.seed,
            self.tokenizer.vocabulary_size,
            self.tokens.folder,
            tokenizer=self.tokenizer.path,
            held_out=self._held_out_tokens() if wanted.optimisation.evaluate_tokens else None,
            base=self.base,
            pieces=grown_pieces(wanted, self.tokenizer.path),
        )
        own = fingerprint("train", deciding(job, self.tokens.digest))
        folder = self.root / "models" / f"{job.model.kind}-{own[:6]}"
        self.model_kind = job.model.kind
        self.index.reading = readings(job, self.tokens, self.tokenizer.path)
        steps = job.optimisation.steps
        self.reused["train"] = True

        def told(record: Mapping[str, Any]) -> None:
            self.reused["train"] = False
            detail = f"loss {record['loss']:.3f}, {record['tokens_per_second']:,.0f} tokens/s"
            self.show.progress("train", int(record["step"]), steps, detail)

        found = launch.finished(job, folder) if self.dry else launch.train(job, folder, told)
        if found is None:
            raise NotStored("train")
        self.model = found
        self.index.model = str(folder.relative_to(self.root))
        log = [orjson.loads(line) for line in (folder / "log.jsonl").read_bytes().splitlines()]
        self.outputs["model"] = {
            "parameters": job.model.parameters,
            "steps": steps,
            "tokens": self.model.tokens,
            "checkpoint": str(self.model.checkpoint.relative_to(self.root)),
            "epochs": {name: row["epochs"] for name, row in self.index.reading.items()},
        }
        return f"{job.model.parameters:,} parameters, loss {log[0]['loss']:.3f} -> {log[-1]['loss']:.3f}"

    def _held_out_tokens(self) -> Path:
        from tilth.eval.held_out import held_out_documents
        from tilth.eval.held_out_tokens import held_out_tokens

        wanted = self.recipe.evaluate or EvaluateRecipe()
        if self.dry:
            return self.root  # where they would go does not matter to a plan
        table = held_out_documents(self.held_out, wanted.bytes_per_source)
        own = fingerprint(self.tokens.digest, wanted.bytes_per_source, [stored.folder.name for stored in self.held_out])
        return held_out_tokens(table, self.tokenizer, self.root / "tokens" / f"held-out-{own[:6]}")

    def _evaluate(self, wanted: EvaluateRecipe) -> str:
        from tilth.eval.bits_per_byte import evaluate, find_result
        from tilth.eval.held_out import held_out_documents

        documents = held_out_documents(self.held_out, wanted.bytes_per_source)
        folder = self.root / "evaluations" / self.model.checkpoint.parent.name
        self.reused["evaluate"] = True

        def told(done: int, total: int) -> None:
            self.reused["evaluate"] = False
            self.show.progress("evaluate", done, total)

        checkpoints = {"before": self.model.seed, "after": self.model.checkpoint}
        if self.dry and find_result(checkpoints, self.tokenizer.path, documents, folder) is None:
            raise NotStored("evaluate")
        result = evaluate(checkpoints, self.tokenizer.path, documents, folder, on_progress=told)
        self.index.evaluation = str(folder.relative_to(self.root))
        self.outputs["bits_per_byte"] = {
            name: {source: round(bits.bits_per_byte, 6) for source, bits in result.sources(name).items()}
            | {"all": round(result.total(name).bits_per_byte, 6)}
            for name in result.checkpoints
        }
        before, after = (result.total(name) for name in ("before", "after"))
        self.outputs["accuracy"] = {"before": round(before.accuracy, 6), "after": round(after.accuracy, 6)}
        guessed = "hidden" if self.model_kind == "bert" else "next"
        return (
            f"{before.bits_per_byte:.3f} -> {after.bits_per_byte:.3f} bits per byte, {guessed} token guessed "
            f"{before.accuracy:.1%} -> {after.accuracy:.1%}, on {documents.num_rows:,} held-out documents"
        )

    def _report(self) -> str:
        from tilth.report import write_report

        if self.dry:
            raise NotStored("report")  # it is drawn anew every time
        path = write_report(self.root)
        self.reused["report"] = False
        self.outputs["report"] = str(path)
        return str(path)

    def _write_lock(self) -> None:
        """Write ``recipe.lock.yaml``: the resolved recipe, versions and digests. It says nothing of time or place."""
        data = {
            "versions": versions(),
            "recipe": self.recipe.model_dump(mode="json"),
            "inputs": self.digests,
            "stages": [
                {
                    "name": stored.manifest.name,
                    "fingerprint": stored.manifest.fingerprint,
                    "set_digest": stored.manifest.account.set_digest,
                    "documents": stored.manifest.account.documents_out,
                    "bytes": stored.manifest.account.bytes_out,
                }
                for stored in self.chain.done
            ],
            **{key: value for key, value in self.outputs.items() if key != "report"},
        }
        text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
        write_atomically(self.root / "recipe.lock.yaml", text.encode())


def leading_maps(makes: Sequence[Make]) -> list[MapStage]:
    """Return the map stages at the beginning of a list, up to the first that is none or has to be made."""
    found = []
    for make in makes:
        if not isinstance(make, MapStage):
            break
        found.append(make)
    return found


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide what comes out."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # an extra that is not installed
            continue
    return found
