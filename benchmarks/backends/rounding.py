"""Weights rounded to 8 or 4 bits with a scale a group of inputs: the same numbers for every backend."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["in_groups", "packed"]


def in_groups(weight: Tensor, bits: int, group: int) -> tuple[Tensor, Tensor]:
    """Round a matrix [N, K] to codes and scales, so that (codes - 2 ** (bits - 1)) * scale is near it.

    With 8 bits the largest weight of a group becomes 127. With 4 bits the one farthest from zero becomes -8, as in our
    own packing.

    Returns:
        codes [N, K / group, group] uint8, scale [N, K / group] float32.
    """
    groups = weight.float().unflatten(1, (-1, group))
    middle = 1 << (bits - 1)
    if bits == 8:
        scale = groups.abs().amax(2) / (middle - 1)
    else:
        scale = groups.gather(2, groups.abs().argmax(2, keepdim=True)).squeeze(2) / -middle
    codes = (groups / scale[..., None]).round().clamp(-middle, middle - 1) + middle
    return codes.to(torch.uint8), scale


def packed(codes: Tensor) -> Tensor:
    """Two codes of 4 bits a byte, the first in the lower half: [..., n] uint8 -> [..., n / 2]."""
    pairs = codes.unflatten(-1, (-1, 2))
    return pairs[..., 0] | pairs[..., 1] << 4
