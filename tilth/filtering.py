"""What the filtering steps of a recipe mean: the stages that measure, drop and edit documents by their own content."""

from collections.abc import Callable

from tilth.corpus.chain import Stored
from tilth.corpus.stage import Stage
from tilth.recipe import RulesStep

Make = Callable[[Stored], Stage]  # a stage, given the documents that enter it


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
