"""The learning rate as a pure function of the step: nothing to save, nothing to restore, the past can be compared."""

import math

from tilth.train.job import TrainConfig


def learning_rate(config: TrainConfig, step: int) -> float:
    """Return the learning rate of ``step`` (0 is the first).

    Linear warm-up to ``learning_rate`` over ``warmup_steps``, then by ``schedule``: ``cosine`` and ``linear`` fall to
    ``minimum_learning_rate``, which the step after the last one would have; ``constant`` stays; ``wsd`` (warm-up,
    stable, decay; Hu et al. 2024, MiniCPM) stays and falls linearly over the last ``decay_steps``.
    """
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
