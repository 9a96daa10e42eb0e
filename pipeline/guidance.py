"""Classifier-free guidance with two scales: how many passes it takes, and how their logits are mixed.

Knows rows and logits only; which words or notes a pass leaves out is its caller's business.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from ..errors import ConfigError

__all__ = ["Guidance"]


@dataclass(frozen=True)
class Guidance:
    """Push the logits away from what they would be without the plan, and without the text.

        logits = null + plan_scale * (no_text - null) + text_scale * (full - no_text)

    The same sum, sorted by pass, is text_scale * full + (plan_scale - text_scale) * no_text + (1 - plan_scale) * null,
    and a pass whose weight is zero is not run:

        text_scale  plan_scale   passes
        1           1            full                     guidance off
        s           1            full, no_text
        s           s            full, null               the plain, single scale
        s           r            full, no_text, null

    A scale of 1 is off. Source: Ho and Salimans 2022, arXiv:2207.12598; two scales after Brooks et al. 2023
    (InstructPix2Pix), arXiv:2211.09800, there on a diffusion model's noise, here on logits.
    """

    text_scale: float = 1.0
    plan_scale: float = 1.0

    def __post_init__(self) -> None:
        for name in ("text_scale", "plan_scale"):
            value = getattr(self, name)
            if not math.isfinite(value) or value < 0:
                raise ConfigError(f"guidance {name} is {value}; use 1.0 (off) or more, usually less than 6.")

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each pass to run, in the order in which their rows are stacked; they sum to 1."""
        weights = {
            "full": self.text_scale,
            "no_text": self.plan_scale - self.text_scale,
            "null": 1.0 - self.plan_scale,
        }
        return {name: weight for name, weight in weights.items() if weight != 0}

    @property
    def passes(self) -> tuple[str, ...]:
        """Names of the passes to run, out of full, no_text and null; their rows are stacked in this order."""
        return tuple(self.weights)

    def __call__(self, logits: Tensor) -> Tensor:
        """Mix logits [M, card], M = len(passes) * B with all rows of a pass together, into [B, card]."""
        weights = list(self.weights.values())
        if weights == [1.0]:
            return logits
        rows = logits.unflatten(0, (len(weights), -1)).unbind(0)
        return sum((weight * row for weight, row in zip(weights[1:], rows[1:], strict=True)), weights[0] * rows[0])
