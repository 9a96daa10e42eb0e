"""One step of a language model for any number of slots, in tensor operations alone.

Nothing here looks at the value of a tensor, waits for a device or makes a shape from data, so the operations are the
same in every step and can be captured as a CUDA graph. The modules' own `step` is the readable one that this must
equal; their weights are used, their code is not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .lm import CodecLM
from .musicgen import MusicGenLM
from .slots import Slots
from .transformer import Rotation

__all__ = ["Attend", "Pick", "Steps"]

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]  # layer, queries, keys, values [R, H, S, head_dim] -> the same
Hear = Callable[[int, Tensor], Tensor]  # layer, x [R, S, D] -> the same and what it heard
Pick = Callable[[Tensor, int], Tensor]  # logits [n, P, k, card], first level -> codes [n, k]


class Steps:
    """A model's step. Its modules are moved and their types changed; they are for this alone from now on.

    Rows of the model are slots times passes, the passes of a slot beside each other.

    Args:
        lm: in eval mode.
        device: where it shall run.
        dtype: of the matrices but for those of the head, which stays in float32.
    """

    window: int | None = None  # positions that attention reaches back; None: all
    blocks: Any  # of either kind of transformer: they name their matrices alike
    heads: int

    def __init__(self, lm: CodecLM | MusicGenLM, device: torch.device, dtype: torch.dtype) -> None:
        self.n_q, self.card, self.width, self.dtype, self.device = lm.n_q, lm.card, lm.width, dtype, device
        for name, part in lm.named_children():
            part.to(device=device, dtype=torch.float32 if name == "head" else dtype)
        lm.to(device)  # what lies in no part
        self.embedding, self.head = lm.embedding, lm.head
        self.offsets = torch.arange(lm.n_q, device=device) * (lm.card + 1)

    @property
    def head_dim(self) -> int:
        return self.width // self.heads

    # --- what differs between the models ---

    def norm(self, x: Tensor, block: nn.Module, name: str) -> Tensor:
        """Normalise before the sub-layer whose norm is called `name`."""
        raise NotImplementedError

    def place(self, x: Tensor, positions: Tensor) -> tuple[Tensor, Rotation | None]:
        """Tell x [R, S, D] its positions, [R, S] or [1, S]; and how queries and keys are turned, if they are."""
        raise NotImplementedError

    def act(self, x: Tensor) -> Tensor:
        """The non-linearity of the feed-forward networks."""
        raise NotImplementedError

    def last_norm(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    # --- the transformer ---

    def embed(self, columns: Tensor) -> Tensor:
        """Sum the embeddings of the K codes of each column, [..., K] -> [..., D]."""
        return F.embedding(columns + self.offsets, self.embedding.weight).sum(-2)

    def project(self, x: Tensor, block: Any, turn: Rotation | None) -> tuple[Tensor, ...]:
        """Queries, keys and values [R, H, S, head_dim] of x [R, S, D]."""
        parts = block.qkv(self.norm(x, block, "norm")).unflatten(-1, (3 * self.heads, -1))
        query, key, value = parts.transpose(1, 2).chunk(3, 1)
        return query, key, value

    def run(self, x: Tensor, turn: Rotation | None, attend: Attend, hear: Hear | None = None) -> Tensor:
        """Run positions x [R, S, D]; `attend` keeps and reads the past, `hear` adds what cross-attention reads."""
        for layer, block in enumerate(self.blocks):
            read = attend(layer, *self.project(x, block, turn))
            x = x + block.out(read.transpose(1, 2).flatten(2))
            x = x if hear is None else hear(layer, x)
            x = x + block.down(self.act(block.up(self.norm(x, block, "up_norm"))))
        return self.last_norm(x)

    def step(self, columns: Tensor, frames: Tensor, positions: Tensor, slots: Slots, length: int) -> Tensor:
        """Run the next position of the first n slots.

        Args:
            columns: [n, K] the codes that are read.
            frames: [n, P, D] added to what is read.
            positions: [n] of each slot, its prefix included.
            slots: changed in place.
            length: positions that are looked at; none of the n may be at or beyond it, but in a full window.

        Returns:
            [n, P, D] float32, for the head.
        """
        count, passes, room = len(columns), slots.room.passes, slots.room
        each = positions[:, None].expand(count, passes).reshape(-1, 1)  # [R, 1], of every row
        place = (each % room.length)[:, :, None, None].expand(-1, self.heads, 1, self.head_dim)
        ages = torch.arange(length, device=self.device)
        seen = torch.zeros_like(ages, dtype=self.dtype).masked_fill(ages > each, float("-inf"))[:, None, None]

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            keys, values = (memory[:count].flatten(0, 1) for memory in slots.memory[layer])  # views [R, H, T, head_dim]
            keys.scatter_(2, place, key.type_as(keys))
            values.scatter_(2, place, value.type_as(values))
            return F.scaled_dot_product_attention(query, keys[:, :, :length], values[:, :, :length], attn_mask=seen)

        x = self.embed(columns)[:, None] + frames  # [n, P, D]
        x, turn = self.place(x.flatten(0, 1)[:, None], each)
        return self.run(x, turn, attend, self._hearing(slots, slice(count))).view(count, passes, -1).float()

    def read(self, x: Tensor, first: int, slots: Slots, which: Tensor) -> None:
        """Read known positions at once.

        Args:
            x: [n, P, S, D] what `which` slots read; S is at most the slots' length.
            first: position of the first.
            which: [n] int64.
        """
        room, count = slots.room, x.shape[2]
        new = torch.arange(first, first + count, device=self.device)
        held = torch.arange(min(first, room.length), device=self.device)
        old = first - 1 - (first - 1 - held) % room.length  # the position that each place of the memory holds
        age = new[:, None] - torch.cat((old, new))
        seen = (age >= 0) & (age < room.length)  # [S, held + S]

        def keep(layer: int, kind: int, fresh: Tensor) -> Tensor:
            """Write fresh keys or values [R, H, S, head_dim]; those that were held before them, and they."""
            memory, fresh = slots.memory[layer, kind], fresh.to(slots.dtype)  # [slots, P, H, T, head_dim]
            both = torch.cat((memory[which, :, :, : len(held)].flatten(0, 1), fresh), 2)
            by_place = fresh.unflatten(0, (-1, room.passes)).permute(0, 3, 1, 2, 4)  # [n, S, P, H, head_dim]
            memory[which[:, None], :, :, new % room.length] = by_place
            return both

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            keys, values = keep(layer, 0, key), keep(layer, 1, value)
            return F.scaled_dot_product_attention(query, keys, values, attn_mask=seen)

        x, turn = self.place(x.flatten(0, 1), new[None])
        self.run(x, turn, attend, self._hearing(slots, which))

    def tell(self, source: Tensor, slots: Slots, which: Tensor) -> None:
        """Work out the keys and values of a source [n, passes, N, D] of cross-attention once, for slots [n]."""
        for layer, block in enumerate(self.blocks):
            both = block.cross_kv(source.to(self.dtype)).unflatten(-1, (2 * self.heads, -1)).transpose(2, 3)
            slots.tell(which, layer, *both.chunk(2, 2))

    def _hearing(self, slots: Slots, which: Tensor | slice) -> Hear | None:
        """Cross-attention of the rows x [R, S, D] of some slots, whose first passes hear."""
        hearing, passes = slots.room.hearing, slots.room.passes
        if not hearing:
            return None
        # a row without a source reads zeros, and without biases those add exactly zero
        heard = slots.heard[which].clamp(min=1).view(-1, 1)
        place = torch.arange(slots.room.source, device=self.device)
        told = torch.zeros_like(place, dtype=self.dtype).masked_fill(place >= heard, float("-inf"))[:, None, None]

        def hear(layer: int, x: Tensor) -> Tensor:
            block, rows = self.blocks[layer], x.unflatten(0, (-1, passes))  # [n, P, S, D]
            listening = rows[:, :hearing].flatten(0, 1)
            query = block.cross_q(self.norm(listening, block, "cross_norm")).unflatten(-1, (self.heads, -1))
            keys, values = slots.source[layer][:, which].flatten(1, 2)
            read = F.scaled_dot_product_attention(query.transpose(1, 2), keys, values, attn_mask=told)
            listening = listening + block.cross_out(read.transpose(1, 2).flatten(2))
            return torch.cat((listening.unflatten(0, (-1, hearing)), rows[:, hearing:]), 1).flatten(0, 1)

        return hear

    # --- the head ---

    def pick(self, hidden: Tensor, forced: Tensor, pick: Pick) -> tuple[Tensor, Tensor]:
        """Choose the codes of one step, from logits that are looked at by `pick`.

        Args:
            hidden: [n, P, D] float32.
            forced: [n, K] codes to take whatever the logits are; -1 where `pick` decides.
            pick: from logits to codes.

        Returns:
            codes [n, K] and logits [n, P, K, card] before guidance.
        """
        logits = self.head.logits(hidden.flatten(0, 1), hidden).unflatten(
            0, hidden.shape[:2]
        )  # codes are not looked at
        return torch.where(forced < 0, pick(logits, 0), forced), logits
