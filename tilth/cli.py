"""The command line: thin. It reads arguments, calls one function, prints what came back.

Everything that takes long to import is imported inside the command that needs it.
"""

import json as json_module
import os
import sys
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
    from tilth.demo import prepare
    from tilth.show import showing

    with showing(json=json) as show:
        harvest = prepare(folder, lambda done, total: show.progress("harvest", done, total))
        said = f"{harvest.documents:,} documents, {harvest.bytes / 1e6:,.1f} MB in {len(harvest.sources)} sources"
        show.finished("harvest", said, reused=harvest.reused)
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
    json: Json = False,
) -> None:
    """Tell one document's story: every stage, signal, verdict and edit."""
    import dataclasses

    from tilth.corpus.chain import open_chain
    from tilth.corpus.document import document_id
    from tilth.corpus.why import why as explain
    from tilth.stories import story_text

    root = _run_folder(run) if run else _latest_run()
    story = explain(open_chain(root), document_id(source, id).hex() if source else id)
    print(json_module.dumps(dataclasses.asdict(story)) if json else story_text(story))


@app.command(name="what-if")
def what_if(
    run: RunName,
    limits: Annotated[list[str], typer.Argument(help="RULE=LIMIT or RULE=LOW..HIGH, one or more.")],
    json: Json = False,
) -> None:
    """Count what a changed limit would keep, by source, from stored signals: no text is read."""
    from tilth.corpus.chain import open_chain
    from tilth.filters.what_if import what_if as ask
    from tilth.stories import what_if_text

    answer = ask(open_chain(_run_folder(run)), limits)
    print(json_module.dumps(answer.to_json()) if json else what_if_text(answer))


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
    from typing import get_args

    from tilth.corpus.writers import ExportFormat
    from tilth.export import export as write
    from tilth.show import showing

    if format not in get_args(ExportFormat):
        raise UserError(f"--format: found '{format}', expected one of {', '.join(get_args(ExportFormat))}")
    with showing(json=json) as show:
        made = write(_run_folder(run), stage, format, out, lambda done, total: show.progress("export", done, total))  # type: ignore[arg-type]
        said = f"{made['documents']:,} documents, {made['bytes'] / 1e6:,.1f} MB of text in {len(made['files'])} files"
        show.finished("export", f"{said}: {made['folder']}", reused=made["reused"])
    if json:
        print(json_module.dumps({"ok": True, **made}))


@app.command()
def schema() -> None:
    """Print the JSON schema of recipes, for editors."""
    from tilth.recipe import recipe_schema

    print(json_module.dumps(recipe_schema(), indent=2))


def _run(
    recipe: Path, runs: Path, until: str | None, engine: str, workers: int | None, runner: str, show: Any
) -> dict[str, Any]:
    from tilth.corpus.engines import engine as make_engine
    from tilth.recipe import load_recipe
    from tilth.run import Run

    loaded = load_recipe(recipe)
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
