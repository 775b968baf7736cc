"""From a run folder to the values that its report shows. Bounded in memory and time whatever the size of the run.

What is told of all documents comes from manifests; what needs columns or texts is sampled by parts (see
``tilth.report.sampling``).
"""

from pathlib import Path
from typing import Any

import yaml

from tilth.corpus.chain import open_chain
from tilth.corpus.errors import UserError
from tilth.report.distributions import distributions
from tilth.report.duplicates import duplicates
from tilth.report.evaluation import evaluation
from tilth.report.examples import dropped_examples, kept_examples, unreadable_records
from tilth.report.flows import rule_drops, rule_edits, source_flows, stage_flow, total
from tilth.report.limits import rule_limits, score_cuts
from tilth.report.model import Report, ScorerMetrics
from tilth.report.recorded import read_object
from tilth.report.scorers import scorer_metrics
from tilth.report.selections import selections_compared
from tilth.report.training import token_summary, training_curve

RUN = "run.json"
LOCK = "recipe.lock.yaml"
LOG = "log.jsonl"
REPORT = "report.json"
COMPARISON = "comparison.json"  # of ``tilth compare-selections``


def gather(run_folder: Path) -> Report:
    """Return what the report of a run shows. Raises ``UserError`` where there is no run or a file of it is damaged."""
    chain = open_chain(run_folder)
    run = read_object(run_folder / RUN)
    if not chain:
        raise UserError(f"{run_folder}: no stage of this run is finished; run the same command again to finish it")
    named = [str(name) for name in run.get("stages", [])]
    rules, cuts = list(rule_limits(chain)), list(score_cuts(chain))
    found, measured_parts = distributions(chain, [*rules, *cuts])
    shown = {(one.stage, one.rule, one.signal): one for one in found}
    recipe = _text(run_folder / LOCK)
    first = chain[0].manifest.account
    return Report(
        name=str(run.get("name", run_folder.name)),
        unfinished=tuple(named[len(chain) :]),
        stages=tuple(stage_flow(stored) for stored in chain),
        sources=source_flows(chain),
        rules=rule_drops(chain),
        edits=rule_edits(chain),
        signals=tuple(shown[key] for one in rules if (key := (one.stage, one.rule, one.signal)) in shown),
        scores=tuple(shown[key] for one in cuts if (key := (one.stage, one.rule, one.signal)) in shown),
        measured_parts=measured_parts,
        dropped_examples=tuple(shown for stored in chain[1:] for shown in dropped_examples(stored)),
        kept_examples=kept_examples(chain[-1]),
        unreadable=unreadable_records(chain[0]),
        unreadable_total=total(counts for rules in first.dropped.values() for counts in rules.values()),
        scorers=_scorers(run_folder, run),
        tokens=token_summary(run_folder / run["tokens"], run.get("reading", {})) if "tokens" in run else None,
        training=training_curve(run_folder / run["model"] / LOG) if "model" in run else None,
        evaluation=evaluation(run_folder / run["evaluation"]) if "evaluation" in run else None,
        # the time of the report itself is known only after it is written: with it, two reports of a run would differ
        seconds={step: float(time) for step, time in run.get("seconds", {}).items() if step != "report"},
        recipe=recipe,
        versions=_versions(run_folder / LOCK, recipe) if recipe else {},
        selections=selections_compared(run_folder / COMPARISON) if (run_folder / COMPARISON).is_file() else None,
        duplicates=duplicates(chain, run_folder, run),
    )


def _scorers(run_folder: Path, run: dict[str, Any]) -> tuple[ScorerMetrics, ...]:
    """Return the metrics of every scorer that was trained here; a model that was given has none."""
    folders = {str(signal): run_folder / folder for signal, folder in run.get("scorers", {}).items()}
    return tuple(
        scorer_metrics(signal, folder / REPORT) for signal, folder in folders.items() if (folder / REPORT).is_file()
    )


def _text(path: Path) -> str | None:
    """Return the text of a file, or None where there is none."""
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None


def _versions(path: Path, recipe: str) -> dict[str, str]:
    """Return the versions that the lock file names."""
    try:
        # the loader in C, where it was built: a lock that names 10,000 input files takes 10 s without it
        data = yaml.load(recipe, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise UserError(
            f"{path}: not valid YAML ({' '.join(str(error).split())}); run the same command again"
        ) from error
    versions = data.get("versions") if isinstance(data, dict) else None
    return {str(name): str(version) for name, version in versions.items()} if isinstance(versions, dict) else {}
