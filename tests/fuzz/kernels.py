"""Coverage-guided fuzzing of the text kernels: random bytes in, no crash, no index outside an array.

    python tests/fuzz/kernels.py [--seconds 600] [--seed 1] [--kept FILE]
    python tests/fuzz/kernels.py --replay FILE

Compiled kernels check no index. So the first form runs them as plain Python, where numpy refuses an index beyond the
end, and the text, which here refuses a negative one too. What is guided: an input that executes a pair of successive
lines that no input before it did is kept and mutated further. The second form gives what was kept to the compiled
kernels, with numba's own checks. A plain loop over ``sys.settrace`` does that in a hundred lines; a fuzzer's engine
(atheris) would be another 35 MB of dependency for the same arrows.
"""

import argparse
import json
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

# numba reads these when it is imported; kernels with checks must not meet those without in one cache
if "--replay" in sys.argv:
    os.environ["NUMBA_BOUNDSCHECK"] = "1"
    os.environ["NUMBA_CACHE_DIR"] = f"{tempfile.gettempdir()}/tilth-checked-kernels"
else:
    os.environ["NUMBA_DISABLE_JIT"] = "1"

import numpy as np

from tilth.filters.c4_lines import judge_lines
from tilth.filters.normalise import suspects
from tilth.filters.presets import PRESETS
from tilth.filters.presets.c4 import DATATROVE
from tilth.filters.sentences import count_sentences_left
from tilth.filters.spans import edited
from tilth.filters.texts import Texts

PIECES = (
    *(
        b"the oats ",
        b"don't ",
        b"U.S. ",
        b"can't've",
        b"www.a.org:80/b ",
        b"a@b.org",
        b"...",
        b":-) ",
        b"12km ",
        b"$5 ",
    ),
    *(b"lorem ipsum ", b"JavaScript ", b"[12]", b"[citation needed]", b"use cookies", b"{", b".", b'."', b"- ", b"* "),
    *(b"\n", b"\n\n", b"\r\n", b"\t", b" ", b"\x00", b"\x85", b"#", "\u2028".encode(), "\u212a".encode()),
    *(
        "\u2026\u2026".encode(),
        "\u00e9".encode(),
        "e\u0301".encode(),
        "\U0001f600".encode(),
        b"\xff",
        b"\xe2",
        b"\xf0\x9f",
    ),
)


class Checked(np.ndarray):
    """An array whose integer indices lie from 0 to its length."""

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, int | np.integer) and not 0 <= key < len(self):
            raise IndexError(f"index {key} of {len(self)}")
        return super().__getitem__(key)


def run(documents: list[bytes]) -> None:
    """Measure and edit a batch by every preset."""
    sizes = np.cumsum([0, *map(len, documents)]).astype(np.int64)
    texts = Texts(np.frombuffer(b"".join(documents), np.uint8).view(Checked), sizes)
    for preset in PRESETS:
        preset.measure(texts)
        if preset.edits is not None:
            edited(texts, preset.edits(texts))
    count_sentences_left(texts, judge_lines(texts, DATATROVE).lines)
    suspects(texts.data, texts.offsets)


def arrows(documents: list[bytes]) -> set[tuple[int, int, int]]:
    """Run, and return the pairs of successive lines of the package that were executed."""
    found: set[tuple[int, int, int]] = set()

    def line(frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            code = id(frame.f_code)
            found.add((code, before.get(code, 0), frame.f_lineno))
            before[code] = frame.f_lineno
        return line

    def call(frame: FrameType, event: str, argument: Any) -> Any:
        return line if f"{os.sep}tilth{os.sep}filters{os.sep}" in frame.f_code.co_filename else None

    before: dict[int, int] = {}
    sys.settrace(call)
    try:
        run(documents)
    finally:
        sys.settrace(None)
    return found


def mutated(documents: list[bytes], pool: list[list[bytes]], random: Random) -> list[bytes]:
    """Return a changed batch: pieces put in, bytes changed, stretches taken out or from another batch."""
    changed = list(documents) or [b""]
    for _ in range(random.randint(1, 4)):
        row = random.randrange(len(changed))
        text = changed[row]
        at, end = sorted((random.randint(0, len(text)), random.randint(0, len(text))))
        other = random.choice(random.choice(pool) or [b""])
        put = random.choice(
            (random.choice(PIECES), random.choice(PIECES) * random.randint(2, 9), bytes([random.randrange(256)]), other)
        )
        changed[row] = (text[:at] + put + text[random.choice((at, end)) :])[:600]
        if random.random() < 0.1:
            changed.append(random.choice(PIECES))
    return changed[:4]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kept", type=Path, help="write the inputs that were kept to this file")
    parser.add_argument("--replay", type=Path, help="run the inputs of this file, by compiled kernels")
    options = parser.parse_args()
    if options.replay is not None:
        replay(options.replay)
    else:
        fuzz(options.seconds, options.seed, options.kept)


def replay(path: Path) -> None:
    """Run kept inputs, one after the other."""
    pool = [[bytes.fromhex(text) for text in batch] for batch in json.loads(path.read_text())]
    for batch in pool:
        try:
            run(batch)
        except Exception:
            print(f"crash: {batch!r}", flush=True)
            raise
    print(f"{len(pool):,} inputs, no crash")


def fuzz(seconds: float, seed: int, kept: Path | None) -> None:
    """Mutate what was kept for ``seconds``."""
    warnings.simplefilter("ignore", RuntimeWarning)  # hashes overflow, and may
    random = Random(seed)
    pool: list[list[bytes]] = [[], [b""], [b"The oats stand well.\n"]]
    seen: set[tuple[int, int, int]] = set()
    runs = 0
    run([b"The oats."])  # builds the tables, which nobody traces
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        one = pool[runs] if runs < 3 else mutated(random.choice(pool), pool, random)
        try:
            found = arrows(one)
        except Exception:
            print(f"crash after {runs:,} inputs: {one!r}", flush=True)
            raise
        runs += 1
        if not found <= seen:
            seen |= found
            pool.append(one)
    if kept is not None:
        kept.write_text(json.dumps([[text.hex() for text in batch] for batch in pool]))
    print(f"{runs:,} inputs in {seconds:.0f} s, {len(pool):,} kept, {len(seen):,} arrows, no crash")


if __name__ == "__main__":
    main()
