"""Only the codes that are not too much less likely than the best."""

from __future__ import annotations

import math

from torch import Tensor

from .base import EXCLUDED, Sampler, check_share

__all__ = ["MinP"]


class MinP(Sampler):
    """Keep the codes with at least p times the probability of the best code.

    The set is narrow where the model is sure and wide where it is not.

    Args:
        p: share of the best code's probability.

    Source: Nguyen et al. 2024, arXiv:2407.01082. We compare logits: the ratio of probabilities is their difference.
    """

    def __init__(self, *, p: float = 0.05) -> None:
        check_share("min_p", p)
        self.margin = -math.log(p)

    def transform(self, logits: Tensor, level: int) -> Tensor:
        lowest = logits.amax(-1, keepdim=True) - self.margin
        return logits.masked_fill(logits < lowest, EXCLUDED)
