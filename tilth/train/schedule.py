"""The learning rate as a pure function of the step: nothing to save, nothing to restore, the past can be compared."""

import math
from collections.abc import Callable

from tilth.train.job import TrainConfig


def learning_rate(config: TrainConfig, step: int) -> float:
    """Return the learning rate of ``step`` (0 is the first).

    Linear warm-up to ``learning_rate`` over ``warmup_steps``, then by ``schedule``: ``cosine`` and ``linear`` fall to
    ``minimum_learning_rate``, which the step after the last one would have; ``constant`` stays; ``wsd`` (warm-up,
    stable, decay; Hu et al. 2024, MiniCPM) stays and falls linearly over the last ``decay_steps``.

    ``phases``, where there are any, say all of it: each goes from the rate that the one before ended with (the first
    from 0) to its own in its shape, and the last one's rate stays. ``constant`` is at its rate at once; ``root`` falls
    as 1 - sqrt does (Hägele et al. 2024, "Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations").
    """
    if config.phases:
        return _in_phases(config, step)
    peak, floor = config.learning_rate, config.minimum_learning_rate
    if step < config.warmup_steps:
        return peak * (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return peak
    falling = config.decay_steps if config.schedule == "wsd" else config.steps - config.warmup_steps
    share = max(0, step - (config.steps - falling)) / max(falling, 1)
    if config.schedule == "cosine":
        return floor + (peak - floor) * 0.5 * (1.0 + math.cos(math.pi * min(share, 1.0)))
    return floor + (peak - floor) * (1.0 - min(share, 1.0))


def _in_phases(config: TrainConfig, step: int) -> float:
    begin, rate = 0, 0.0
    for phase in config.phases:
        if step < begin + phase.steps:
            # the first step of a warm-up from 0 already learns, the first step of a decay is still at the old rate
            share = (step - begin + (rate < phase.to)) / phase.steps
            return rate + (phase.to - rate) * SHAPES[phase.shape](share)
        begin, rate = begin + phase.steps, phase.to
    return rate


SHAPES: dict[str, Callable[[float], float]] = {
    "constant": lambda share: 1.0,
    "linear": lambda share: share,
    "cosine": lambda share: 0.5 * (1.0 - math.cos(math.pi * share)),
    "root": math.sqrt,
}
