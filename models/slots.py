"""Keys and values of many rows at addresses that stay, so that a GPU can replay a step as one CUDA graph.

`KVCache` belongs to one batch and knows its position as a number; here every slot has a position of its own, which is
a number in a tensor, and rows come and go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Room", "Slots"]


@dataclass(frozen=True)
class Room:
    """How much a `Slots` holds.

    Args:
        slots: rows of codes.
        passes: passes of guidance a slot, P.
        length: positions, T; after the last one the first is overwritten.
        hearing: passes that have a source of cross-attention, the first ones.
        source: positions of a source, N.
    """

    slots: int = 0
    passes: int = 1
    length: int = 0
    hearing: int = 0
    source: int = 0

    def and_also(self, other: Room) -> Room:
        """The smallest room for both."""
        return Room(*(max(getattr(self, name), getattr(other, name)) for name in self.__dataclass_fields__))


class Slots:
    """Memory of a model's attention.

        memory [layers, 2, slots, P, H, T, head_dim]             keys and values
        source [layers, 2, slots, hearing, H, N, head_dim]       those of cross-attention; zeros where nothing is heard
        heard  [slots, hearing] int64                            positions of each source

    Args:
        layers, heads, head_dim: of the model.
        room: how much it holds.
        device, dtype: of the keys and values.
    """

    def __init__(
        self, layers: int, heads: int, head_dim: int, room: Room, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.layers, self.heads, self.head_dim = layers, heads, head_dim
        self.room, self.device, self.dtype = room, device, dtype
        kept = (layers, 2, room.slots, room.passes, heads, room.length, head_dim)
        told = (layers, 2, room.slots, room.hearing, heads, room.source, head_dim)
        self.memory = torch.zeros(kept, device=device, dtype=dtype)
        self.source = torch.zeros(told, device=device, dtype=dtype)
        self.heard = torch.zeros((room.slots, room.hearing), device=device, dtype=torch.int64)

    def grown(self, room: Room) -> Slots:
        """A larger one with the same contents. No slot may have come round to its first position yet."""
        grown = Slots(self.layers, self.heads, self.head_dim, room, self.device, self.dtype)
        old = self.room
        grown.memory[:, :, : old.slots, : old.passes, :, : old.length] = self.memory
        grown.source[:, :, : old.slots, : old.hearing, :, : old.source] = self.source
        grown.heard[: old.slots, : old.hearing] = self.heard
        return grown

    def clear(self, slots: Sequence[int]) -> None:
        """Empty slots for new rows; what a row before left, even NaN, must not reach them."""
        which = torch.tensor(slots, device=self.device)
        for tensor, axis in ((self.memory, 2), (self.source, 2), (self.heard, 0)):
            tensor.index_fill_(axis, which, 0)

    def move(self, old: int, new: int) -> None:
        """Let a row go on in another slot."""
        for tensor, axis in ((self.memory, 2), (self.source, 2), (self.heard, 0)):
            tensor.select(axis, new).copy_(tensor.select(axis, old))

    def tell(self, which: Tensor, layer: int, keys: Tensor, values: Tensor) -> None:
        """Write the keys and values [n, passes, H, N, head_dim] of a source; it may be shorter than the room."""
        for kind, part in enumerate((keys, values)):
            room = self.source[layer, kind, :, : part.shape[1], :, : part.shape[3]]
            room.index_copy_(0, which, part.to(self.dtype))
