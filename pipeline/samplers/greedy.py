"""Always the most likely code."""

from __future__ import annotations

from torch import Tensor

from .base import Sampler, only_best

__all__ = ["Greedy"]


class Greedy(Sampler):
    """Take the highest logit, the first of equals; the noise changes nothing.

    Loops soon when it plays music: sample instead, unless a test needs one fixed answer.

    Source: the zero-temperature limit of Ackley, Hinton and Sejnowski 1985, doi:10.1207/s15516709cog0901_7.
    """

    def __init__(self) -> None:
        pass

    def transform(self, logits: Tensor, level: int) -> Tensor:
        return only_best(logits)
