"""What the filtering steps of a recipe mean: the stages that measure, drop and edit documents by their own content."""

import json
from pathlib import Path

from tilth.corpus.errors import UserError
from tilth.corpus.stage import Asset, Stage
from tilth.corpus.store import file_digest
from tilth.recipe.filters import (
    DatatroveStep,
    LanguageStep,
    LimitsStep,
    PersonalStep,
    ProgramsStep,
    RepairStep,
    RulesStep,
    ScoreSentencesStep,
    UrlsStep,
    WordListStep,
)

FilterStep = (
    RulesStep
    | LimitsStep
    | LanguageStep
    | ScoreSentencesStep
    | PersonalStep
    | RepairStep
    | WordListStep
    | UrlsStep
    | ProgramsStep
    | DatatroveStep
)


def filter_stages(step: FilterStep, folder: Path) -> list[Stage]:
    """Return the stages of a step; its paths start from ``folder``.

    Raises ``UserError`` for a file that is missing and for what a stage refuses.
    """
    match step:
        case RulesStep():
            return rule_stages(step)
        case LimitsStep():
            from tilth.filters.apply_limits import ApplyLimits

            limits = tuple((signal, low, high) for signal, (low, high) in step.limits.items())
            return [ApplyLimits(step.name, limits, step.inverse)]
        case LanguageStep():
            return _language_stages(step, folder)
        case ScoreSentencesStep():
            from tilth.filters.score_sentences import ScoreSentences

            model = _assets([step.model], folder, step.name)[0]
            return [ScoreSentences(step.name, model, step.label, step.threshold)]
        case PersonalStep():
            from tilth.filters.personal import MaskPersonal

            return [MaskPersonal(step.name, tuple(step.kinds), tuple(sorted(step.masks.items())))]
        case RepairStep():
            from tilth.filters.repair import Repair

            return [Repair(step.name)]
        case WordListStep():
            from tilth.filters.lists import CountListed

            return [CountListed(step.name, _assets(step.lists, folder, step.name))]
        case UrlsStep():
            return _url_stages(step, folder)
        case ProgramsStep():
            from tilth.filters.run_programs import RunPrograms

            file = _assets([step.file], folder, step.name)[0] if step.file else None
            return [RunPrograms(step.name, file, step.field)]
        case DatatroveStep():
            from tilth.filters.from_datatrove import DatatroveFilter, EditingDatatroveFilter

            kind = EditingDatatroveFilter if step.edits else DatatroveFilter
            return [kind(step.name, step.filter, json.dumps(step.arguments, sort_keys=True))]


def _language_stages(step: LanguageStep, folder: Path) -> list[Stage]:
    """Return what tells the language, and what drops by it where the step says which to keep."""
    from tilth.filters.apply_limits import ApplyLimits
    from tilth.filters.language import Language

    model = _assets([step.model], folder, step.name)[0] if step.model else None
    found: list[Stage] = [Language(step.name, tuple(step.keep), model, step.first_bytes)]
    if step.keep:
        found.append(
            ApplyLimits(f"{step.name}-limits", ((f"{step.name}.accepted", step.at_least, None),), step.inverse)
        )
    return found


def _url_stages(step: UrlsStep, folder: Path) -> list[Stage]:
    """Return what matches URLs, and what drops by datatrove's limits: nothing listed, fewer than two soft words."""
    from tilth.filters.apply_limits import ApplyLimits
    from tilth.filters.lists import MatchUrls

    kinds = (step.domains, step.urls, step.words, step.soft_words, step.substrings)
    match = MatchUrls(step.name, *(_assets(paths, folder, step.name) for paths in kinds))
    limits = tuple((signal, None, 1.0 if signal.endswith("soft_words") else 0.0) for signal in match.measures)
    return [match, ApplyLimits(f"{step.name}-limits", limits, step.inverse)]


def _assets(paths: list[str], folder: Path, step: str) -> tuple[Asset, ...]:
    """Return the files that a step names. Raises ``UserError`` for one that is not there."""
    found = []
    for path in paths:
        if not (folder / path).is_file():
            raise UserError(f"stage '{step}': {folder / path}: no such file; correct its path")
        found.append(Asset(str(folder / path), file_digest(folder / path)))
    return tuple(found)


def rule_stages(step: RulesStep) -> list[Stage]:
    """Return what measures a preset's signals, what drops by them, and what edits the texts that are let through.

    Raises ``UserError`` for a preset or rule that is unknown and for limits that make no sense.
    """
    from tilth.filters.apply_rules import ApplyRules
    from tilth.filters.edit_lines import EditLines
    from tilth.filters.measure import Measure
    from tilth.filters.rules import preset

    chosen = preset(step.preset)
    limits = chosen.read_limits(step.limits)
    found: list[Stage] = [
        Measure(f"{step.name}-signals", (step.preset,)),
        ApplyRules(step.name, step.preset, limits, step.inverse),
    ]
    if chosen.edits is not None and not step.inverse:
        found.append(EditLines(f"{step.name}-edits", step.preset))
    return found
