"""What is installed here: the standard library and every distribution, each with the files that it brought.

A distribution's files are those of its RECORD, the list that pip wrote, so what somebody left beside them is not taken
for part of it. Nothing is imported: names, versions and paths are read from files.
"""

import os
import platform
import re
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath

OWN_NAME = "tilth"
NOT_LIBRARY = frozenset({"site-packages", "dist-packages", "test", "__pycache__", "lib-dynload"})
"""Folders of the standard library that are left out: what others install, and tests that many systems do not ship."""


@dataclass(frozen=True)
class Package:
    """An installed distribution, or the standard library; ``files`` are paths below ``root``, sorted."""

    name: str  # normalised as the package index does: lower case, hyphens
    version: str
    root: Path
    files: tuple[PurePosixPath, ...]


def site_packages() -> list[Path]:
    """Return the folders where this interpreter's packages lie."""
    paths = sysconfig.get_paths()
    return [Path(folder) for folder in dict.fromkeys((paths["purelib"], paths["platlib"]))]


def standard_library() -> Path:
    """Return the folder of this interpreter's standard library."""
    return Path(sysconfig.get_paths()["stdlib"])


def distributions(roots: Sequence[Path]) -> dict[str, metadata.Distribution]:
    """Return the distributions in ``roots``, without this one, by name in its order; of two of a name the first."""
    found: dict[str, metadata.Distribution] = {}
    for distribution in metadata.distributions(path=[str(root) for root in roots]):
        name = distribution.metadata["Name"]
        if name:  # a damaged dist-info folder has none
            found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), distribution)
    found.pop(OWN_NAME, None)
    return dict(sorted(found.items()))


def read_distribution(name: str, distribution: metadata.Distribution) -> Package:
    """Return a distribution with its files; scripts and data that lie outside the packages' folder are left out."""
    listed = (PurePosixPath(path) for path in distribution.files or ())
    inside = sorted(path for path in listed if not path.is_absolute() and ".." not in path.parts)
    return Package(name, distribution.version, Path(str(distribution.locate_file(""))), tuple(inside))


def read_library(root: Path) -> Package:
    """Return the standard library in ``root`` as the package ``python``."""
    files = []
    for parent, folders, names in os.walk(root):
        folders[:] = [folder for folder in folders if folder not in NOT_LIBRARY]
        below = PurePosixPath(Path(parent).relative_to(root).as_posix())
        files += [below / name for name in names]
    return Package("python", platform.python_version(), root, tuple(sorted(files)))
