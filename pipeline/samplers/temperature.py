"""Flatten or sharpen the distribution, each codebook level by its own amount."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from ...errors import ConfigError
from .base import Sampler, only_best

__all__ = ["Temperature"]


class Temperature(Sampler):
    """Divide the logits by a temperature; 0 keeps the best code only.

    Args:
        temperature: one number, or one a level, the last holding for all levels after it. Values that fall over the
            levels let the coarse codes vary and keep the fine ones, which mostly add hiss, near their best.

    Source: Ackley, Hinton and Sejnowski 1985, doi:10.1207/s15516709cog0901_7; per-level temperatures as in the coarse
    and fine stages of Borsos et al. 2022 (AudioLM), arXiv:2209.03143.
    """

    def __init__(self, *, temperature: float | Sequence[float] = 1.0) -> None:
        values = (temperature,) if isinstance(temperature, int | float) else tuple(temperature)
        if not values or any(not math.isfinite(value) or value < 0 for value in values):
            raise ConfigError(f"temperature is {temperature}; use one number >= 0 (0 is greedy), or a list of them.")
        self.values = values

    def transform(self, logits: Tensor, level: int) -> Tensor:
        value = self.values[min(level, len(self.values) - 1)]
        return logits / value if value else only_best(logits)
