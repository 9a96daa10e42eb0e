"""Only the most likely codes that together reach a share of the probability."""

from __future__ import annotations

from torch import Tensor

from .base import EXCLUDED, Sampler, check_share

__all__ = ["TopP"]


class TopP(Sampler):
    """Keep the smallest set of codes whose probabilities sum to p or more (the nucleus).

    Args:
        p: share of the probability to reach; 1 keeps everything.

    Source: Holtzman et al. 2019, arXiv:1904.09751.
    """

    def __init__(self, *, p: float = 0.95) -> None:
        check_share("top_p", p)
        self.p = p

    def transform(self, logits: Tensor, level: int) -> Tensor:
        if self.p == 1:
            return logits
        ordered, indices = logits.softmax(-1).sort(dim=-1, descending=True, stable=True)
        before = ordered.cumsum(-1) - ordered  # probability of the codes ahead of each; 0 for the first, which stays
        late = before >= self.p
        return logits.masked_fill(late.scatter(-1, indices, late), EXCLUDED)  # back into the order of the codes
