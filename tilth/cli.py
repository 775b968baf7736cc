"""The command line: thin. It reads arguments, calls one function, prints what came back.

Everything that takes long to import is imported inside the command that needs it.
"""

import json as json_module
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from tilth.corpus.errors import UserError

app = typer.Typer(
    help="Raw domain corpora in, proven token shards and trained models out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Worker processes; by default one a core.")]
EngineName = Annotated[str, typer.Option(help="local or beam.")]
Runner = Annotated[str, typer.Option(help="Beam's runner, such as DirectRunner or FlinkRunner.")]
RunsFolder = Annotated[Path, typer.Option("--runs", help="Folder that holds the run folders.")]
RunName = Annotated[str, typer.Argument(help="A run folder, or its name under runs/.")]
RecipePath = Annotated[Path, typer.Argument(help="A recipe: one YAML file.")]
Until = Annotated[str | None, typer.Option(help="Stop after this step.")]

RUNS = Path("runs")


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Where the harvested corpus and its recipe go.")] = RUNS / "demo-input",
    runs: RunsFolder = RUNS,
    until: Until = None,
    engine: EngineName = "local",
    workers: Workers = None,
    runner: Runner = "DirectRunner",
    json: Json = False,
) -> None:
    """Harvest real text from this Python, then run the whole path on it: from raw text to an evaluated model."""
    import time

    from tilth.demo import prepare
    from tilth.show import showing

    start = time.perf_counter()
    with showing(json=json) as show:
        harvest = prepare(folder, lambda done, total: show.progress("harvest", done, total))
        said = f"{harvest.documents:,} documents, {harvest.bytes / 1e6:,.1f} MB in {len(harvest.sources)} sources"
        show.finished("harvest", said, None if harvest.reused else time.perf_counter() - start)
        result = _run(folder / "recipe.yaml", runs, until, engine, workers, runner, show)
    _tell(result, json)


@app.command()
def init(path: Annotated[Path, typer.Argument(help="The recipe to write.")] = Path("recipe.yaml")) -> None:
    """Write a commented recipe to start from."""
    from tilth.starter import write_starter

    write_starter(path)
    print(f"{path}: written; name your files in it, then: tilth check {path}")


@app.command()
def check(recipe: RecipePath, runs: RunsFolder = RUNS, json: Json = False) -> None:
    """Validate a recipe and its inputs; print the plan: steps, what is stored, bytes in, disk needed."""
    from tilth.plan import plan, plan_text

    found = plan(recipe, runs)
    print(json_module.dumps(found) if json else plan_text(found))


@app.command()
def run(
    recipe: RecipePath,
    runs: RunsFolder = RUNS,
    until: Until = None,
    engine: EngineName = "local",
    workers: Workers = None,
    runner: Runner = "DirectRunner",
    json: Json = False,
) -> None:
    """Run a recipe. What is stored and still true is not done again."""
    from tilth.show import showing

    with showing(json=json) as show:
        result = _run(recipe, runs, until, engine, workers, runner, show)
    _tell(result, json)


@app.command()
def why(
    id: Annotated[str, typer.Argument(help="The document's id, or its first hex digits.")],
    run: Annotated[str | None, typer.Option(help="A run folder or name; by default the latest under runs/.")] = None,
    source: Annotated[str | None, typer.Option(help="Take ID as the record's own id in this source.")] = None,
    diff: Annotated[bool, typer.Option("--diff", help="Show every edit in its place in the text.")] = False,
    json: Json = False,
) -> None:
    """Tell one document's story: every stage, signal, verdict and edit."""
    import dataclasses

    from tilth.corpus.chain import open_chain
    from tilth.corpus.document import document_id
    from tilth.corpus.why import why as explain
    from tilth.stories import diff_text, story_text

    root = _run_folder(run) if run else _latest_run()
    story = explain(open_chain(root), document_id(source, id).hex() if source else id)
    print(json_module.dumps(dataclasses.asdict(story)) if json else diff_text(story) if diff else story_text(story))


@app.command(name="what-if")
def what_if(
    run: RunName,
    limits: Annotated[list[str] | None, typer.Argument(help="RULE=LIMIT or RULE=LOW..HIGH, one or more.")] = None,
    sweep: Annotated[str | None, typer.Option(help="RULE=FROM..TO: move one limit from here to there.")] = None,
    points: Annotated[int, typer.Option(min=2, max=1000, help="Limits of a sweep.")] = 20,
    side: Annotated[str | None, typer.Option(help="low or high: which of a rule's two limits moves.")] = None,
    svg: Annotated[Path | None, typer.Option(help="Draw the sweep into this file, a curve for each source.")] = None,
    json: Json = False,
) -> None:
    """Count what a changed limit would keep, by source, from stored signals: no text is read."""
    from tilth.corpus.chain import open_chain
    from tilth.filters.what_if import sweep as sweep_over
    from tilth.filters.what_if import what_if as ask
    from tilth.stories import what_if_text

    if side not in (None, "low", "high"):
        raise UserError(f"--side: found '{side}', expected low or high")
    if (sweep is None) == (not limits):
        raise UserError("what-if: expected limits such as words=40.., or --sweep words=10..100")
    if sweep is not None:
        from tilth.retention import draw_sweep, sweep_limits, sweep_text

        rule, asked = sweep_limits(sweep, points, side)
        swept = sweep_over(open_chain(_run_folder(run)), rule, asked)
        if svg is not None:
            draw_sweep(swept, svg)
        print(json_module.dumps(swept.to_json()) if json else sweep_text(swept))
        return
    answer = ask(open_chain(_run_folder(run)), limits or [])
    print(json_module.dumps(answer.to_json()) if json else what_if_text(answer))


@app.command()
def show(
    run: RunName,
    rule: Annotated[str, typer.Option(help="A rule, such as words or gopher.datatrove.words.")],
    near: Annotated[int, typer.Option(min=1, max=1000, help="Documents on each side of each limit.")] = 5,
    json: Json = False,
) -> None:
    """Print the documents nearest to a rule's limits, on both sides."""
    import dataclasses

    from tilth.corpus.chain import open_chain
    from tilth.filters.near import near as find
    from tilth.retention import near_text

    found = find(open_chain(_run_folder(run)), rule, near)
    print(json_module.dumps(dataclasses.asdict(found)) if json else near_text(found))


@app.command()
def clusters(
    run: RunName,
    count: Annotated[int, typer.Option(min=1, help="How many, largest first.")] = 10,
    json: Json = False,
) -> None:
    """List the largest clusters of near-duplicates: sizes, sources, who stays, samples; and what was measured."""
    from tilth.deduplication import cluster_report, clusters_text

    found = cluster_report(_run_folder(run), count)
    print(json_module.dumps(found) if json else clusters_text(found))


@app.command()
def tokens(
    run: RunName,
    at: Annotated[int | None, typer.Option(help="A training position, in tokens since the run's start.")] = None,
    json: Json = False,
) -> None:
    """Count a run's tokens by source, or name the documents behind a training position."""
    from tilth.behind import behind_text, counts_text, documents_behind, token_counts

    root = _run_folder(run)
    found = token_counts(root) if at is None else documents_behind(root, at)
    print(json_module.dumps(found) if json else (counts_text if at is None else behind_text)(found))


@app.command()
def losses(
    run: RunName,
    ladder: Annotated[Path | None, typer.Argument(help="A YAML list of models, as in 'preselect: models'.")] = None,
    table: Annotated[Path | None, typer.Option(help="A Parquet table of losses from elsewhere, to add.")] = None,
    stage: Annotated[str | None, typer.Option(help="The 'sample' stage, where the run has several.")] = None,
    out: Annotated[Path | None, typer.Option(help="File to write; by default losses.parquet in the run.")] = None,
    json: Json = False,
) -> None:
    """Write the bits a byte of every sampled document under each model of a ladder, for 'preselect: losses'."""
    from tilth.ladder import losses_text, read_ladder, sample_losses
    from tilth.show import showing

    if ladder is None and table is None:
        raise UserError("losses: found no model; name a ladder's file, or a table with --table")
    root = _run_folder(run)
    place = out or root / "losses.parquet"
    with showing(json=json) as show:
        models = read_ladder(ladder) if ladder else []
        found = sample_losses(
            root, models, place, stage=stage, table=table, on_progress=lambda a, b: show.progress("losses", a, b)
        )
    print(json_module.dumps(found) if json else losses_text(found))


@app.command()
def select(
    run: RunName,
    by: Annotated[str | None, typer.Option(help="A signal; without it, what the run's own selections did.")] = None,
    keep: Annotated[float | None, typer.Option(help="Share of the bytes.")] = None,
    size: Annotated[str | None, typer.Option("--bytes", help="So much, such as '64 MB', not a share.")] = None,
    part: Annotated[str, typer.Option(help="highest, middle or lowest.")] = "highest",
    per: Annotated[str, typer.Option(help="Groups: all, source or year.")] = "all",
    quota: Annotated[list[str] | None, typer.Option(help="GROUP=SHARE of what is kept; may be given often.")] = None,
    inverse: Annotated[bool, typer.Option("--inverse", help="Keep exactly what would be dropped.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write ids, scores and ranks as Parquet.")] = None,
    json: Json = False,
) -> None:
    """Tell what a selection keeps and what each source gains and loses, from stored signals: no text is read."""
    from tilth.selecting import what_select

    asked: dict[str, Any] = {}
    if by is None and (keep, size, part, per, quota, inverse, out) != (None, None, "highest", "all", None, False, None):
        raise UserError("select: found what to keep and no signal to keep it by; name one with --by")
    if by is not None:
        quotas = dict(entry.partition("=")[::2] for entry in quota or [])
        asked = {"by": by, "keep": keep, "bytes": size, "part": part, "per": per, "quotas": quotas, "inverse": inverse}
    found = what_select(_run_folder(run), {name: value for name, value in asked.items() if value is not None})
    if out is not None:
        found[-1].write(out)
    if json:
        rows = [{"title": each.title, "sources": [vars(row) for row in each.sources]} for each in found]
        print(json_module.dumps({"selections": rows}))
    else:
        print("\n\n".join(each.text() for each in found))


@app.command(name="compare-selections")
def compare_selections(
    run: RunName,
    signals: Annotated[list[str], typer.Argument(help="Two or more; NAME:lowest or NAME:middle for another part.")],
    keep: Annotated[float, typer.Option(help="Share of the bytes that each keeps.")] = 0.2,
    json: Json = False,
) -> None:
    """Compare what selections by stored signals would keep, and show it in the run's report."""
    import dataclasses

    from tilth.report import write_report
    from tilth.selecting import compare
    from tilth.selection.compare import comparison_text

    root = _run_folder(run)
    found = compare(root, signals, keep)
    path = write_report(root)
    print(json_module.dumps(dataclasses.asdict(found)) if json else f"{comparison_text(found)}\n\nreport: {path}")


@app.command()
def report(run: RunName, json: Json = False) -> None:
    """Write the report of a run anew and print where it is."""
    from tilth.report import write_report

    path = write_report(_run_folder(run))
    print(json_module.dumps({"report": str(path)}) if json else path)


@app.command()
def export(
    run: RunName,
    stage: Annotated[str | None, typer.Option(help="The stage whose documents to write; by default the last.")] = None,
    format: Annotated[str, typer.Option(help="jsonl, parquet, arrow or huggingface.")] = "jsonl",
    out: Annotated[Path | None, typer.Option(help="Folder to write; by default exports/ in the run.")] = None,
    json: Json = False,
) -> None:
    """Write what leaves a stage as files for other tools, with a manifest."""
    import time
    from typing import get_args

    from tilth.corpus.writers import ExportFormat
    from tilth.export import export as write
    from tilth.show import showing

    start = time.perf_counter()
    if format not in get_args(ExportFormat):
        raise UserError(f"--format: found '{format}', expected one of {', '.join(get_args(ExportFormat))}")
    with showing(json=json) as show:
        made = write(_run_folder(run), stage, format, out, lambda done, total: show.progress("export", done, total))  # type: ignore[arg-type]
        said = f"{made['documents']:,} documents, {made['bytes'] / 1e6:,.1f} MB of text in {len(made['files'])} files"
        show.finished("export", f"{said}: {made['folder']}", None if made["reused"] else time.perf_counter() - start)
    if json:
        print(json_module.dumps({"ok": True, **made}))


@app.command()
def train(
    recipe: RecipePath,
    tp: Annotated[int | None, typer.Option(min=1, help="Processes that share each matrix.")] = None,
    pp: Annotated[int | None, typer.Option(min=1, help="Processes that share the layers.")] = None,
    vp: Annotated[int | None, typer.Option(min=1, help="Parts of a pipeline stage, which take turns.")] = None,
    dp: Annotated[int | None, typer.Option(min=1, help="Copies of the model that share the batch.")] = None,
    sp: Annotated[bool | None, typer.Option(help="Let tensor-parallel processes share positions too.")] = None,
    runs: RunsFolder = RUNS,
    engine: EngineName = "local",
    workers: Workers = None,
    runner: Runner = "DirectRunner",
    json: Json = False,
) -> None:
    """Run a recipe up to its trained model, in a layout of your choice; a run goes on in any other."""
    from tilth.models import in_layout
    from tilth.show import showing

    layout = {"tensor": tp, "pipeline": pp, "virtual": vp, "data": dp, "sequence_parallel": sp}
    with showing(json=json) as show:
        result = _run(recipe, runs, "train", engine, workers, runner, show, lambda loaded: in_layout(loaded, layout))
    _tell(result, json)


@app.command(name="export-model")
def export_model(
    run: RunName,
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    step: Annotated[int | None, typer.Option(min=0, help="Of the checkpoint; by default the last.")] = None,
    json: Json = False,
) -> None:
    """Write a run's model as a Hugging Face folder: config, safetensors, tokenizer."""
    from tilth.models import export_model as export

    made = export(_run_folder(run), out, step)
    print(json_module.dumps(made) if json else f"{made['folder']}: {made['architecture']} of {made['checkpoint']}")


@app.command(name="import-model")
def import_model(
    folder: Annotated[Path, typer.Argument(help="A Hugging Face folder: GPT-2, Llama or Megatron BERT.")],
    out: Annotated[Path, typer.Option(help="Folder to write the checkpoint to.")],
    json: Json = False,
) -> None:
    """Make a checkpoint to begin with of a Hugging Face folder, and print what a recipe has to say."""
    import yaml

    from tilth.models import import_model as bring

    made = bring(folder, out)
    told = {"tokenizer": {"model": str(folder)}, "train": {"start": made["start"], "model": made["model"]}}
    print(json_module.dumps(made) if json else yaml.safe_dump(told, sort_keys=False).rstrip())


@app.command(name="export-tokens")
def export_tokens(
    run: RunName,
    out: Annotated[Path, typer.Option(help="What .bin and .idx are put behind.")],
    separators: Annotated[bool, typer.Option(help="Write the separator after every document.")] = True,
    sentence_end: Annotated[list[str] | None, typer.Option(help="A piece that ends a sentence, for BERT.")] = None,
    json: Json = False,
) -> None:
    """Write a run's token shards as Megatron's .bin and .idx."""
    from tilth.token_files import export_tokens as export

    made = export(_run_folder(run), out, sentence_end or [], separators=separators)
    said = f"{' and '.join(made['files'])}: {made['documents']:,} documents, {made['tokens']:,} tokens"
    print(json_module.dumps(made) if json else said)


@app.command(name="import-tokens")
def import_tokens(
    files: Annotated[list[Path], typer.Argument(help="Megatron's .bin and .idx, or datatrove's .ds.")],
    tokenizer: Annotated[Path, typer.Option(help="The tokenizer that made them.")],
    source: Annotated[str, typer.Option(help="The name of the source that they become.")],
    out: Annotated[Path, typer.Option(help="Folder to write the shards to.")],
    json: Json = False,
) -> None:
    """Make token shards of other tools' token files, and print what a recipe has to say to train on them."""
    import yaml

    from tilth.token_files import import_tokens as bring

    made = bring(files, tokenizer, source, out)
    print(json_module.dumps(made) if json else yaml.safe_dump(made["recipe"], sort_keys=False).rstrip())


@app.command()
def generate(
    run: RunName,
    prompts: Annotated[list[str], typer.Argument(help="Beginnings of documents.")],
    tokens: Annotated[int, typer.Option(min=1, help="At most so many new tokens.")] = 100,
    temperature: Annotated[float, typer.Option(help="0: always the most probable token.")] = 1.0,
    top_k: Annotated[int, typer.Option(help="Only so many of the most probable tokens; 0: all.")] = 0,
    top_p: Annotated[float, typer.Option(help="Only the most probable that together have this probability.")] = 1.0,
    seed: int = 0,
    step: Annotated[int | None, typer.Option(min=0, help="Of the checkpoint; by default the last.")] = None,
    json: Json = False,
) -> None:
    """Let a run's model write on."""
    from tilth.models import write_on

    sampling = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed}
    texts = write_on(_run_folder(run), prompts, tokens, step, **sampling)
    print(json_module.dumps({"texts": texts}) if json else "\n\n".join(texts))


@app.command()
def schema() -> None:
    """Print the JSON schema of recipes, for editors."""
    from tilth.recipe.recipe import recipe_schema

    print(json_module.dumps(recipe_schema(), indent=2))


def _run(
    recipe: Path,
    runs: Path,
    until: str | None,
    engine: str,
    workers: int | None,
    runner: str,
    show: Any,
    change: Callable[[Any], Any] = lambda loaded: loaded,
) -> dict[str, Any]:
    from tilth.corpus.engines import engine as make_engine
    from tilth.recipe.load import load_recipe
    from tilth.run import Run

    loaded = change(load_recipe(recipe))
    chosen = make_engine(engine, workers or os.cpu_count() or 1, runner)
    work = Run(loaded, recipe.resolve().parent, runs / loaded.name, chosen, show)
    work.execute(until)
    return work.summary()


def _tell(result: dict[str, Any], json: bool) -> None:
    if json:
        print(json_module.dumps(result))
    elif "report" in result:
        print(f"\nreport: {result['report']}")


def _run_folder(name: str) -> Path:
    for folder in (Path(name), RUNS / name):
        if (folder / "run.json").is_file():
            return folder
    known = ", ".join(sorted(path.parent.name for path in RUNS.glob("*/run.json"))) or "none"
    raise UserError(f"run '{name}': no such run; under {RUNS}/ there are: {known}")


def _latest_run() -> Path:
    found = sorted(RUNS.glob("*/run.json"), key=lambda path: path.stat().st_mtime_ns)
    if not found:
        raise UserError(f"{RUNS}/ holds no run; name one with --run, or start one with 'tilth run'")
    return found[-1].parent


def _refuse(message: str) -> None:
    if "--json" in sys.argv:
        print(json_module.dumps({"ok": False, "error": message}))
    print(f"tilth: {message}", file=sys.stderr)
    sys.exit(1)


def main() -> None:
    """Run the command line; a ``UserError`` is one line on standard error and status 1."""
    try:
        app()
    except UserError as error:
        _refuse(str(error))
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
    except OSError as error:
        from tilth.corpus.tasks import storage_message

        message = storage_message(error, Path(error.filename or RUNS))
        if message is None:
            raise
        _refuse(message)
    except KeyboardInterrupt:
        print("tilth: stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
