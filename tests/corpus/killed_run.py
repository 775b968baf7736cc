"""A run to be killed: ``python killed_run.py ROOT BASE`` reads BASE and stores every stage in ROOT.

It says "at work" when its imports are done and the folder is its own, and takes its time over every part.
"""

import sys
from pathlib import Path

from example_chains import run
from example_stages import CountPeers, CountVowels, DropByVowels, StripSpaces

from tilth.corpus.chain import locked
from tilth.corpus.engines import engine
from tilth.corpus.sources import Source
from tilth.filters.dedup.survivor import Preference
from tilth.filters.exact import ExactDuplicates

SOURCES = [Source("farm", ("farm/*.jsonl",)), Source("web", ("web.jsonl",))]
STAGES = [
    StripSpaces("strip", 0.01),
    CountVowels("vowels"),
    DropByVowels("few", 2),
    StripSpaces("again", 0.01),
    ExactDuplicates("exact", Preference(("farm",))),
    CountPeers("peers", 0.01),
]


def main() -> None:
    root, base = Path(sys.argv[1]), Path(sys.argv[2])
    by = engine("local", 2)
    with locked(root):
        print("at work", flush=True)
        run(root, base, SOURCES, STAGES, by, 240, passes=True)


if __name__ == "__main__":
    main()
