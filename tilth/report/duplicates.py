"""Duplicates of a run as values of its report: who lost what to which rule, the largest clusters, how good it was.

Counts are from manifests. Of every near-duplicate step five clusters are shown with three documents each, best first,
so that at most fifteen parts are read for texts.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tilth.corpus.chain import Stored
from tilth.filters.dedup.clusters import Cluster, largest
from tilth.filters.dedup.quality import QUALITY
from tilth.report.examples import texts_of
from tilth.report.flows import total
from tilth.report.model import Amount, Duplicate, DuplicateCluster, Duplicates, Excerpt, NearStep, SourceLoss, Told
from tilth.report.recorded import read_object

FITTED: Final = "clusters"  # the key of run.json under which near-duplicate steps stand
KINDS: Final = frozenset({"ExactDuplicates", "SameAddress", "SameWords", "RemoveDuplicates", "RemoveKnown"})
CLUSTERS: Final = 5
SAMPLE: Final = 3


def duplicates(chain: Sequence[Stored], run_folder: Path, run: Mapping[str, Any]) -> Duplicates | None:
    """Return what the steps of a run that drop duplicates did; None where it has none."""
    steps = [stored for stored in chain if stored.manifest.description.get("stage") in KINDS]
    if not steps:
        return None
    places = dict(run.get("fitted", {}).get(FITTED, {}))
    near = [
        near_step(stored, run_folder / places[stored.manifest.name])
        for stored in steps
        if stored.manifest.name in places
    ]
    return Duplicates(tuple(loss for stored in steps for loss in losses(stored)), tuple(near))


def losses(stored: Stored) -> list[SourceLoss]:
    """Return what every source lost to every rule of a stage, with what of it had entered."""
    account = stored.manifest.account
    found = []
    for source, rules in sorted(account.dropped.items()):
        entered = total([*rules.values(), account.kept.get(source, [0, 0])])
        for rule, counts in sorted(rules.items()):
            found.append(SourceLoss(stored.manifest.name, rule, source, Amount(*counts), entered))
    return found


def near_step(stored: Stored, folder: Path) -> NearStep:
    """Return the quality and the largest clusters of a near-duplicate step, from the folder that was fitted for it."""
    quality = read_object(folder / QUALITY)
    clusters = list(largest(folder, CLUSTERS, SAMPLE))
    texts = _texts(stored, clusters)
    return NearStep(
        stored.manifest.name,
        float(quality["threshold"]),
        str(quality["measure"]),
        bool(quality["verified"]),
        int(quality["compared"]),
        int(quality["near"]),
        _told(quality["precision"]),
        _told(quality["recall"]),
        tuple(_cluster(cluster, texts) for cluster in clusters),
    )


def _told(measured: Mapping[str, Any] | None) -> Told | None:
    return None if measured is None else Told(**measured)


def _cluster(cluster: Cluster, texts: Mapping[bytes, Excerpt]) -> DuplicateCluster:
    shown = tuple(
        Duplicate(texts[identity], row["survivor"], row["similarity"])
        for row in cluster.sample
        if (identity := bytes.fromhex(row["id"])) in texts
    )
    return DuplicateCluster(cluster.size, cluster.removed, cluster.bytes, dict(cluster.sources), shown)


def _texts(stored: Stored, clusters: Sequence[Cluster]) -> dict[bytes, Excerpt]:
    """Return the beginnings of the documents shown, as they entered the stage, by id."""
    by_part: dict[int, set[bytes]] = {}
    for cluster in clusters:
        for row in cluster.sample:
            by_part.setdefault(row["part"], set()).add(bytes.fromhex(row["id"]))
    return {
        identity: text
        for part, ids in sorted(by_part.items())
        for identity, text in texts_of(stored.entering, part, ids).items()
    }
