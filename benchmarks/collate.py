"""How many tokens a second one core masks, by proposal, with rates and shares; and how long a loader makes a step wait.

The claim: masking and packing cost a training step nothing that could be seen: at least a million tokens a second on
one core, where Megatron-core 0.16.1's BERT data set was measured at 0.11 million, 69 % of them text.
"""

import argparse
import json
import sys
import time
from typing import Any

import numpy as np

from tilth.train.objectives.causal import Causal
from tilth.train.objectives.masked import PROPOSALS, Masked, Masking
from tilth.train.objectives.sentence_order import SentenceOrder
from tilth.train.objectives.vocabulary import Vocabulary

TOKENS_A_SECOND = 1e6  # floor: on one core
RATE = 0.002  # floor: how far a rate or a share may be from what was asked for
VOCABULARY, SPECIAL, MASK, FIRST, SEPARATOR = 32_000, 5, 4, 3, 1
POSITIONS = 512


def samples(count: int) -> np.ndarray:
    """Rows of uniform tokens, a document's end about every 500; two thirds of the pieces begin a word."""
    generator = np.random.default_rng(0)
    rows = generator.integers(SPECIAL, VOCABULARY, (count, POSITIONS + 1))
    rows[generator.random(rows.shape) < 0.002] = SEPARATOR
    return rows


def vocabulary() -> Vocabulary:
    special = np.arange(VOCABULARY) < SPECIAL
    begins = np.arange(VOCABULARY) % 3 > 0
    return Vocabulary(MASK, FIRST, SEPARATOR, special, begins, np.flatnonzero(~special))


def measure(rows: np.ndarray, batch_size: int) -> dict[str, dict[str, Any]]:
    known = vocabulary()
    objectives: dict[str, Any] = {
        "causal": Causal(),
        "causal, within documents": Causal(SEPARATOR),
        **{proposals: Masked(Masking(0, proposals), known) for proposals in PROPOSALS},
        "sentence order, tokens": SentenceOrder(Masking(0), known),
    }
    found: dict[str, dict[str, Any]] = {}
    for name, objective in objectives.items():
        objective.collate(rows[:2], 0)  # compile
        started = time.process_time()
        batches = [objective.collate(rows[at : at + batch_size], at) for at in range(0, len(rows), batch_size)]
        speed = len(rows) * POSITIONS / (time.process_time() - started)
        found[f"{name}: tokens a second"] = floor(speed, speed >= TOKENS_A_SECOND, f"at least {TOKENS_A_SECOND:,.0f}")
        if "causal" in name:
            continue
        tokens, labels, counts = (np.concatenate([getattr(b, each) for b in batches]) for each in FIELDS)
        hidden = counts.sum() / (labels >= SPECIAL).sum()
        masked, kept = (tokens[counts] == MASK).mean(), (tokens[counts] == labels[counts]).mean()
        for what, share, wanted in (("hidden", hidden, 0.15), ("of those masked", masked, 0.8), ("kept", kept, 0.1)):
            found[f"{name}: {what}"] = floor(share, abs(share - wanted) <= RATE, f"{wanted} within {RATE}")
    return found


FIELDS = ("tokens", "labels", "counts")


def floor(value: float, ok: Any, words: str) -> dict[str, Any]:
    return {"value": float(value), "floor": words, "ok": bool(ok)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a million tokens instead of eight")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    given = parser.parse_args()
    figures = measure(samples(2048 if given.quick else 16_384), batch_size=64)
    for name, told in figures.items():
        print(f"{name:44} {told['value']:>16,.4f}  {told['floor']} {'' if told['ok'] else 'FAILED'}")
    ok = all(told["ok"] for told in figures.values())
    if given.json:
        print(json.dumps({"benchmark": "collate", "quick": given.quick, "figures": figures, "ok": ok}))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
