"""What ``use: deduplicate`` means: its stages, the losses it may cause, and what ``tilth clusters`` tells.

Near-duplicates take five stages: signatures, candidates, comparison (each stored, so that a changed threshold begins at
the last line of this list), clusters, which are fitted to the stored similarities in the driver, and the removal.
"""

import math
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from tilth.corpus.chain import INDEX, Stored, open_chain
from tilth.corpus.errors import UserError
from tilth.corpus.stage import Asset, GroupStage, Stage
from tilth.corpus.store import Manifest, file_digest
from tilth.recipe.deduplication import (
    DeduplicateStep,
    NearRecipe,
    RepeatedLinesStep,
    RepeatedPassagesStep,
    SurvivorRecipe,
)
from tilth.recipe.recipe import Recipe

if TYPE_CHECKING:
    from tilth.filters.dedup.compare import Measure
    from tilth.filters.dedup.signatures import Signatures
    from tilth.filters.dedup.survivor import Preference
    from tilth.inputs import Inputs
    from tilth.steps import Fitting

CLUSTERS: Final = "clusters"  # the folder of what is fitted, and its key in run.json
KNOWN: Final = "known"  # likewise, of the indexes of earlier runs
KNOWN_TEXTS: Final = "known-texts"  # and of the shingles of those of their documents that are compared
SHOWN: Final = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)  # similarities at which a curve is told
PROBE_EVERY: Final = 1000  # parts
NOWHERE: Any = None  # what is fitted, where nothing is
FEWEST: Final = 100  # documents of a source below which its losses are no alarm: one copied page is 10 % of ten


def deduplicate(step: DeduplicateStep, sources: Sequence[str], fitting: "Fitting") -> list[Callable[[Stored], Stage]]:
    """Return what makes the stages of a step; ``sources`` are those of the recipe, in its order."""
    prefer = preference(step, sources)
    if step.by in ("text", "url"):
        from tilth.filters.exact import ExactDuplicates, SameAddress

        kind = ExactDuplicates if step.by == "text" else SameAddress
        return [lambda head: kind(step.name, prefer)]
    if step.by == "words":
        from tilth.filters.dedup.same_words import SameWords

        return [lambda head: SameWords(step.name, prefer)]
    return near_stages(step.name, step.near or NearRecipe(), prefer, fitting)


def repeated(step: RepeatedLinesStep | RepeatedPassagesStep, sources: Sequence[str]) -> list[Callable[[Stored], Stage]]:
    """Return what makes the stages that cut repeated lines or passages."""
    prefer = preference(step, sources)
    if isinstance(step, RepeatedLinesStep):
        from tilth.filters.dedup.repeated_lines import RepeatedLines

        lines = RepeatedLines(step.name, step.unit, step.run, step.minimum_words, prefer)
        return [lambda head: lines]
    from tilth.filters.dedup.passages import Anchors, RepeatedPassages

    signal = f"{step.name}.anchors"
    anchors = Anchors(f"{step.name}-anchors", signal, step.words)
    passages = RepeatedPassages(step.name, signal, step.words, prefer)
    return [lambda head: anchors, lambda head: passages]


def preference(step: SurvivorRecipe, sources: Sequence[str]) -> "Preference":
    """Return the order of survivors that a step declares. Raises ``UserError`` where it contradicts itself."""
    from tilth.filters.dedup.survivor import Preference

    return Preference(tuple(step.priority or sources), tuple(step.prefer), step.quality)


def near_stages(
    name: str, near: NearRecipe, prefer: "Preference", fitting: "Fitting"
) -> list[Callable[[Stored], Stage]]:
    """Return what makes the stages that find and remove near-duplicates."""
    from tilth.filters.dedup.candidates import Candidates
    from tilth.filters.dedup.clusters import REMOVALS, find_clusters, read_pairs
    from tilth.filters.dedup.compare import CompareShingles, CompareSignatures
    from tilth.filters.dedup.quality import write_quality
    from tilth.filters.dedup.remove import RemoveDuplicates
    from tilth.filters.dedup.signatures import Shingling, Signatures

    shingling = Shingling(near.shingle, near.length)
    signal = f"{name}.signature"
    compared = near.verify != "none"
    measure: Measure = "containment" if near.verify == "containment" else "jaccard"

    def build(folder: Path, head: Stored) -> None:
        pairs = read_pairs(head, name, near.threshold, compared=compared, memory=fitting.memory)
        find_clusters(folder, head, pairs, prefer)
        write_quality(
            folder,
            head,
            pairs,
            near.threshold,
            near.bands,
            near.rows,
            shingling,
            measure,
            verified=near.verify in ("jaccard", "containment"),
            seed=1,
        )

    def remove(head: Stored) -> Stage:
        settings = {"threshold": near.threshold, "preference": prefer, "compared": compared}
        folder = fitting.fitted(CLUSTERS, name, settings, head, lambda place: build(place, head))
        path = folder / REMOVALS
        return RemoveDuplicates(name, Asset(str(path), file_digest(path)), near.threshold)

    signatures = Signatures(f"{name}-signatures", signal, shingling, near.hashes, near.bits)
    make: list[Callable[[Stored], Stage]] = [lambda head: signatures]
    if near.against:
        make += known_stages(name, signatures, near, measure, fitting)
    make.append(
        lambda head: Candidates(f"{name}-candidates", name, signal, prefer, near.bands, near.rows, near.bits, near.hubs)
    )
    if near.verify == "signature":
        make.append(lambda head: CompareSignatures(f"{name}-compare", name, signal, near.bits))
    elif compared:
        make.append(lambda head: CompareShingles(f"{name}-compare", name, shingling, measure))
    return [*make, remove]


def known_stages(
    name: str, signatures: "Signatures", near: NearRecipe, measure: "Measure", fitting: "Fitting"
) -> list[Callable[[Stored], Stage]]:
    """Return what makes the stages that remove what earlier runs hold.

    They raise ``UserError`` where a run cannot be compared with. Pairs are compared exactly where the earlier texts are
    at hand and ``verify`` asks for it, else by their signatures.
    """
    from tilth.filters.dedup.known import (
        SHINGLES,
        FindKnown,
        RemoveKnown,
        known_digest,
        signature_stage,
        texts_at_hand,
        write_known,
        write_known_shingles,
    )

    indexes: list[Asset] = []

    def ends() -> list[tuple[Stored, str]]:
        return [signature_stage(open_chain(fitting.folder / path), signatures.describe()) for path in near.against]

    def find(head: Stored) -> Stage:
        earlier = ends()
        fingerprints = [(stored.manifest.fingerprint, signal) for stored, signal in earlier]
        settings = {"ends": fingerprints, "bands": near.bands, "rows": near.rows}
        folder = fitting.fitted(
            KNOWN, name, settings, head, lambda place: write_known(place, earlier, near.bands, near.rows, near.bits)
        )
        indexes.append(Asset(str(folder), known_digest(folder)))
        shape = (near.bands, near.rows, near.bits, near.hubs)
        return FindKnown(f"{name}-known-candidates", name, signatures.signal, indexes[-1], *shape)

    def remove(head: Stored) -> Stage:
        earlier = ends()
        shingles = None
        if near.verify in ("jaccard", "containment") and texts_at_hand(earlier):
            folder = fitting.fitted(
                KNOWN_TEXTS,
                name,
                {},
                head,
                lambda place: write_known_shingles(place, head, name, indexes[-1], earlier, signatures.shingling),
            )
            shingles = Asset(str(folder / SHINGLES), file_digest(folder / SHINGLES))
        return RemoveKnown(
            f"{name}-known", name, indexes[-1], near.threshold, shingles, signatures.shingling, measure, near.bands
        )

    return [find, remove]


def check_losses(step: DeduplicateStep, entering: Manifest, leaving: Manifest, folder: Path) -> None:
    """Raise ``UserError`` where a source lost a larger share of its documents than the step allows.

    ``entering`` and ``leaving`` are the stages before the step and so far in it, ``folder`` the latter's. Sources of
    fewer than ``FEWEST`` documents are let off.
    """
    kept = leaving.account.kept
    for source, (entered, _) in sorted(entering.account.kept.items()):
        lost = entered - kept.get(source, [0, 0])[0]
        allowed = step.allowance.get(source, 1.0) if isinstance(step.allowance, dict) else step.allowance
        if entered >= FEWEST and lost > allowed * entered:
            raise UserError(
                f"stage '{step.name}': source '{source}' lost {lost:,} of {entered:,} documents "
                f"({lost / entered:.1%}), the allowance is {allowed:.1%}; look at 'tilth clusters' and "
                f"{folder / 'drops'}, then raise 'allowance' or change the step"
            )


def curves(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """Return, for every step that removes near-duplicates, its threshold and which share of pairs its bands find."""
    from tilth.filters.dedup.bands import catch_probability

    found = {}
    for step in recipe.stages:
        if isinstance(step, DeduplicateStep) and step.by == "near":
            near = step.near or NearRecipe()
            caught = catch_probability(np.array(SHOWN), near.bands, near.rows).tolist()
            points = [{"similarity": one, "caught": round(value, 4)} for one, value in zip(SHOWN, caught, strict=True)]
            found[step.name] = {"threshold": near.threshold, "points": points}
    return found


def deduplication_disk(recipe: Recipe, inputs: "Inputs", size: int) -> int:
    """Estimate the bytes of disk that deduplication needs beyond the texts, for input of ``size`` bytes of text.

    Signatures stay; of the spills only the largest counts, since each is gone before the next. How many documents there
    are, and how many rows they key, is measured on a probe of the input; a stage that needs signals says it itself.
    """
    steps = [
        step for step in recipe.stages if isinstance(step, DeduplicateStep | RepeatedLinesStep | RepeatedPassagesStep)
    ]
    if not steps:
        return 0
    sample = probe(inputs)
    looked_at = max(1, sum(int(pc.sum(batch.column("bytes")).as_py() or 0) for batch in sample))
    documents = math.ceil(size * sum(batch.num_rows for batch in sample) / looked_at)
    kept, spills = 0, [0]
    sources = [source.name for source in recipe.sources]
    for step in steps:
        near = (step.near or NearRecipe()) if isinstance(step, DeduplicateStep) and step.by == "near" else None
        if near is not None:
            kept += documents * near.hashes * near.bits // 8
        for stage in planned(step, sources):
            if isinstance(stage, GroupStage) and stage.needs:
                spills.append(stage.keyed_bytes(documents, size))
            elif isinstance(stage, GroupStage):
                spills.append(sum(stage.keys(batch).nbytes for batch in sample) * size // looked_at)
    return kept + max(spills)


def planned(step: "DeduplicateStep | RepeatedLinesStep | RepeatedPassagesStep", sources: Sequence[str]) -> list[Stage]:
    """Return the stages of a step that need nothing fitted."""
    if isinstance(step, RepeatedLinesStep | RepeatedPassagesStep):
        return [make(NOWHERE) for make in repeated(step, sources)]
    if step.by != "near":
        return [make(NOWHERE) for make in deduplicate(step, sources, NOWHERE)]
    near = (step.near or NearRecipe()).model_copy(update={"against": []})
    return [make(NOWHERE) for make in near_stages(step.name, near, preference(step, sources), NOWHERE)[:-1]]


def probe(inputs: "Inputs") -> list[pa.RecordBatch]:
    """Return the first slice of every thousandth part, 0.1 % of the input, and of the first part of every source."""
    from tilth.corpus.readers import read_part

    first = {part.source: part for part in reversed(inputs.parts)}
    chosen = [*first.values(), *(part for part in inputs.parts[PROBE_EVERY - 1 :: PROBE_EVERY])]
    return [chunk.documents for part in chosen for chunk in islice(read_part(inputs.sources, part), 1)]


def cluster_report(root: Path, count: int) -> dict[str, Any]:
    """Return the largest clusters of every step of a run, with what was measured, in JSON's types.

    Raises ``UserError`` where the run removed no near-duplicates.
    """
    from dataclasses import asdict

    from tilth.filters.dedup.clusters import largest
    from tilth.filters.dedup.quality import QUALITY

    places = orjson.loads((root / INDEX).read_bytes()).get("fitted", {}).get(CLUSTERS, {})
    if not places:
        raise UserError(f"{root}: no step of this run is 'use: deduplicate, by: near'; add one and run the recipe")
    return {
        "run": str(root),
        "steps": {
            name: {
                "quality": orjson.loads((root / place / QUALITY).read_bytes()),
                "clusters": [asdict(cluster) for cluster in largest(root / place, count)],
            }
            for name, place in places.items()
        },
    }


def clusters_text(found: dict[str, Any]) -> str:
    """Return what ``cluster_report`` found for a terminal."""
    lines = []
    for name, step in found["steps"].items():
        quality = step["quality"]
        lines.append(f"{name}: {quality['compared']:,} pairs compared, {quality['near']:,} at {quality['threshold']:g}")
        for key in ("precision", "recall"):
            measured = quality[key]
            if measured:
                interval = f"95 % interval {measured['low']:.3f} to {measured['high']:.3f}"
                lines.append(f"  {key:<9} {measured['value']:.3f}  ({interval}, {measured['of']:,} pairs)")
            else:
                lines.append(f"  {key:<9} not measured")
        for cluster in step["clusters"]:
            sources = ", ".join(f"{source} {count:,}" for source, count in cluster["sources"].items())
            lines.append(
                f"\n  {cluster['size']:,} documents, {cluster['bytes'] / 1e6:,.1f} MB, {cluster['removed']:,} removed: "
                f"{sources}"
            )
            for shown in cluster["sample"]:
                fate = f"goes for {shown['survivor']}" if shown["survivor"] else "stays"
                if shown["similarity"] is not None:
                    fate += f" at {shown['similarity']:.3f}"
                lines.append(f"    {shown['id']} ({shown['source']}) {fate}")
    return "\n".join(lines)
