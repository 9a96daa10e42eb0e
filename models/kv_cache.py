"""Keys and values of the frames an attention window still sees; memory does not grow with the length of the piece.

A cache belongs to the caller, so one model can play many pieces at once.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["KVCache"]


class KVCache:
    """A ring of `window` slots for every layer.

    Keys are stored already rotated at their absolute position and attention does not care about the order of what it
    reads, so a slot is simply overwritten when its frame leaves the window:

        window = 4, after 6 frames     slot   0  1  2  3
                                       frame  4  5  2  3
    """

    def __init__(
        self,
        *,
        num_layers: int,
        rows: int,
        num_heads: int,
        window: int,
        head_dim: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.window = window
        self.position = 0  # frames seen since the start, the prefix included
        self.memory = torch.zeros(num_layers, 2, rows, num_heads, window, head_dim, device=device, dtype=dtype)
        self.layers = [tuple(memory.unbind(0)) for memory in self.memory]  # keys, values; views, made once
        self.cross: list[tuple[Tensor, Tensor]] = []  # keys and values [B, H, N, head_dim] of each layer
        self.cross_mask: Tensor | None = None  # [B, 1, 1, N], False where the source is filler; None: nowhere

    @property
    def rows(self) -> int:
        """Rows that are decoded together (B, times the passes of guidance)."""
        return self.memory.shape[2]

    def write(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Store this frame's key and value, both [B, H, head_dim].

        Returns:
            All keys and values that this frame may look at, [B, H, min(frames, window), head_dim] each (views).
        """
        slot = self.position % self.window
        keys, values = self.layers[layer]
        keys[:, :, slot] = key
        values[:, :, slot] = value
        seen = self.position + 1
        return (keys, values) if seen >= self.window else (keys[:, :, :seen], values[:, :, :seen])

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store the keys and values [B, H, T, head_dim] of the next T frames, which must fit without wrapping around.

        Returns:
            All keys and values so far, [B, H, frames, head_dim] each (views).
        """
        first, last = self.position, self.position + keys.shape[2]
        assert last <= self.window, f"{last} positions in a cache of {self.window}"
        for memory, new in zip(self.layers[layer], (keys, values), strict=True):
            memory[:, :, first:last] = new
        return self.layers[layer][0][:, :, :last], self.layers[layer][1][:, :, :last]

    def advance(self, frames: int = 1) -> None:
        """Move on to the next frame, after every layer has written this one (or these)."""
        self.position += frames

    def reset(self) -> None:
        """Forget all frames, so that the memory can be used again. Cross-attention keys are forgotten too."""
        self.position = 0
        self.cross, self.cross_mask = [], None
