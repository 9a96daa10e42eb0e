"""ConvNeXt block over time: depth-wise convolution, norm, two linear layers; and a stack of them, piece by piece."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from .linear import linear

__all__ = ["ConvNeXt", "Sliding"]

TILE = 500  # frames whose hidden values are in memory at a time; a tenth faster than 1000 at once on two Zen 3 cores


class ConvNeXt(nn.Module):
    """One residual block, [B, T, D] -> [B, T, D].

    The convolution stays in fp32 even under bf16 autocast: bf16 convolutions are slow, and in some releases wrong,
    on CPUs. The output scale starts small so that a deep stack starts as the identity.

    Source: Liu et al. 2022, arXiv:2201.03545; in audio, Siuzdak 2023 (Vocos), arXiv:2306.00814.
    """

    def __init__(self, width: int, hidden: int, kernel_size: int = 7, scale: float = 0.1) -> None:
        super().__init__()
        self.rim = kernel_size // 2  # frames on either side that a frame hears
        self.conv = nn.Conv1d(width, width, kernel_size, groups=width)
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)
        self.scale = nn.Parameter(torch.full((width,), scale))

    def forward(self, x: Tensor) -> Tensor:
        return self.inside(nn.functional.pad(x, (0, 0, self.rim, self.rim)))

    def inside(self, x: Tensor) -> Tensor:
        """Answer for the frames that have all their neighbours: [B, T, D] -> [B, T - 2 * rim, D]."""
        with torch.autocast(x.device.type, enabled=False):
            y = self.conv(x.float().transpose(1, 2)).transpose(1, 2)
            y = self.norm(y)
        x = x[:, self.rim : x.shape[1] - self.rim]
        if torch.is_grad_enabled():
            return x + self.scale * linear(self.down, linear(self.up, y, gelu=True))
        parts = [linear(self.down, linear(self.up, part, gelu=True)) for part in y.split(TILE, 1)]
        return torch.addcmul(x, self.scale, torch.cat(parts, 1))


class Sliding:
    """A stack of blocks that hears a sound piece by piece; joined, its answers are those to the whole sound.

    Every block remembers the frames that it needs again, so nothing is computed twice. What goes in comes out
    `delay` frames later.
    """

    def __init__(self, blocks: Iterable[nn.Module]) -> None:
        self.blocks = [block for block in blocks if isinstance(block, ConvNeXt)]
        self.held: list[Tensor | None] = [None] * len(self.blocks)
        self.delay = sum(block.rim for block in self.blocks)

    def __call__(self, x: Tensor, is_last: bool = False) -> Tensor:
        """Hear the next frames [B, n, D], none too; answer for those that have all their neighbours by now."""
        for number, block in enumerate(self.blocks):
            before, rim = self.held[number], block.rim
            x = nn.functional.pad(x, (0, 0, rim, 0)) if before is None else torch.cat((before, x), 1)
            if is_last:
                x = nn.functional.pad(x, (0, 0, 0, rim))
            self.held[number] = x[:, max(0, x.shape[1] - 2 * rim) :]
            x = block.inside(x) if x.shape[1] > 2 * rim else x[:, :0]
        return x
