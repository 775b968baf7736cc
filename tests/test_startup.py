"""Starting stays light, and what is installed is what was tested."""

import re
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
HEAVY = (
    "torch", "megatron", "apache_beam", "datatrove", "fasttext", "sentencepiece", "matplotlib", "pandas", "numba",
    "pydantic", "scipy", "tokenizers",
)  # fmt: skip


@pytest.mark.parametrize("module", ["tilth", "tilth.demo.harvest", "tilth.cli"])
def test_starting_loads_nothing_heavy(module: str) -> None:
    if find_spec(module) is None:
        pytest.skip(f"{module} is not there yet")
    program = f"import sys, {module}; print(*sorted({{n.partition('.')[0] for n in sys.modules}} & {set(HEAVY)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def pins() -> dict[str, str]:
    found = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            match = re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.]+)", line)
            assert match, f"constraints.txt: {line!r} is no exact public version"
            found[canonicalize_name(match[1])] = match[2]
    return found


def requirements() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [one for group in project["optional-dependencies"].values() for one in group]
    return [Requirement(one) for one in (*project["dependencies"], *extras)]


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_every_dependency_is_pinned_at_a_version_that_it_allows(requirement: Requirement) -> None:
    version = pins().get(canonicalize_name(requirement.name))
    assert version is not None, f"constraints.txt: no version of {requirement.name}"
    assert requirement.specifier.contains(version, prereleases=True)


def test_no_index_host_is_written_down() -> None:
    for name in ("Makefile", "constraints.txt", ".ci/run", "pyproject.toml"):
        assert not re.search(r"index-url|find-links", (ROOT / name).read_text()), name
