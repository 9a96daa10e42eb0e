"""Counter-based noise: the number at (seed, item, step, codebook, entry) is a hash of that address, nothing else.

So an item draws the same noise alone, in any batch, in any shard and in any order, and no generator state is kept.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import ConfigError

__all__ = ["GumbelNoise", "gumbel", "uniform"]


def _signed(number: int) -> int:
    """Read 64 bits as torch's int64 does; its additions and products wrap around as the hash needs."""
    return (number + 2**63) % 2**64 - 2**63


GOLDEN = _signed(0x9E3779B97F4A7C15)
MIX_1 = _signed(0xBF58476D1CE4E5B9)
MIX_2 = _signed(0x94D049BB133111EB)


def _shift(x: Tensor, bits: int) -> Tensor:
    """Shift right and fill with zeros; torch fills with the sign."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _mix(x: Tensor) -> Tensor:
    """Scramble 64 bits so that every input bit reaches every output bit.

    Source: splitmix64, Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195.
    """
    x = (x ^ _shift(x, 30)) * MIX_1
    x = (x ^ _shift(x, 27)) * MIX_2
    return x ^ _shift(x, 31)


def _child(keys: Tensor, index: Tensor) -> Tensor:
    """Key of the `index`-th child of each key; one GOLDEN more, lest a key of zero be its own first child."""
    return _mix(keys + GOLDEN * (index + 1))


def uniform(keys: Tensor, shape: Sequence[int], first: int = 0) -> Tensor:
    """Uniform numbers [*keys.shape, *shape], each a hash of its key and its address in `shape`; never 0 or 1."""
    for start, size in zip((first, *[0] * len(shape)), shape, strict=False):
        keys = _child(keys[..., None], torch.arange(start, start + size, device=keys.device))
    # 23 bits and a half are exact in float32, so that no rounding can give 1.0 and with it infinite Gumbel noise
    return _shift(keys, 41).float().add_(0.5).mul_(2.0**-23)


def gumbel(keys: Tensor, steps: Tensor, shape: Sequence[int], first: int = 0) -> Tensor:
    """Gumbel noise [*keys.shape, *shape] float32 of rows with `keys`, each at its own step (or all at one).

    The first axis of `shape` begins with index `first`.
    """
    return uniform(_child(keys, steps), shape, first).log_().neg_().log_().neg_()


class GumbelNoise:
    """Gumbel noise of a batch whose rows carry their own (seed, item).

    argmax(logits + noise) draws from softmax(logits): Gumbel 1954; Maddison et al. 2014, arXiv:1411.0030.

    Args:
        seeds: any 64-bit integers, signed or not, one a row.
        items: which piece, stem or take of that seed the row is, 0 or more; one a row.
        n_q: codebooks K.
        card: entries of a codebook.
        device: where the numbers are made.
        first_step: of the piece, where step 0 is asked for; for a window that starts later than the piece.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        items: Sequence[int],
        *,
        n_q: int,
        card: int,
        device: torch.device | str | None = None,
        first_step: int = 0,
    ) -> None:
        if len(seeds) != len(items):
            raise ConfigError(f"{len(seeds)} seeds for {len(items)} items; give one of each a row.")
        for seed in seeds:
            if not -(2**63) <= seed < 2**64:
                raise ConfigError(f"seed {seed} has more than 64 bits. Use -2**63 to 2**64 - 1.")
        self.shape, self.first_step = (n_q, card), first_step
        keys = _mix(torch.tensor([_signed(seed) for seed in seeds], dtype=torch.int64) + GOLDEN)
        self.keys = _child(keys, torch.tensor([_signed(item) for item in items])).to(device)

    def shifted(self, first_step: int) -> GumbelNoise:
        """The same noise, for a window whose step 0 is step `first_step` of the piece."""
        window = copy.copy(self)
        window.first_step = first_step
        return window

    def __call__(self, step: int) -> Tensor:
        """Noise [B, K, card] float32 of a step; step 7 is the same whether or not steps 0..6 were asked for."""
        return gumbel(self.keys, torch.tensor(self.first_step + step), self.shape)
