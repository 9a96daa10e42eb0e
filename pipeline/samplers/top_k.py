"""Only the k most likely codes."""

from __future__ import annotations

import torch
from torch import Tensor

from ...errors import ConfigError
from .base import EXCLUDED, Sampler

__all__ = ["TopK"]


class TopK(Sampler):
    """Keep exactly k codes, or all where a codebook has no more than k.

    Args:
        k: codes to keep.

    Source: Fan, Lewis and Dauphin 2018, arXiv:1805.04833; 250 is MusicGen's value, arXiv:2306.05284.
    """

    def __init__(self, *, k: int = 250) -> None:
        if k < 1:
            raise ConfigError(f"top_k is {k}; it must keep at least 1 code. Leave it out to keep all.")
        self.k = k

    def transform(self, logits: Tensor, level: int) -> Tensor:
        values, indices = logits.topk(min(self.k, logits.shape[-1]), -1)
        return torch.full_like(logits, EXCLUDED).scatter(-1, indices, values)
