"""A causal transformer with a sliding window: whole sequences in training, one position at a time when playing.

Knows vectors and positions only; codes, levels and conditions belong to its callers.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigError
from .kv_cache import KVCache

__all__ = ["Transformer", "dropout", "rms_norm"]

SMALL = torch.tensor(1e-6)  # no vector of zeros is divided by zero
Rotation = tuple[Tensor, Tensor]  # cosines and signed sines, [T, 1, head_dim] each


def rms_norm(x: Tensor) -> Tensor:
    """Scale the last axis to a root mean square of one, in float32. No learned gain: the next matrix can learn it.

    By the vector's norm, because F.rms_norm is six operations on a CPU, and the loop is made of such small ones.
    """
    y = x.float()
    norm = torch.linalg.vector_norm(y, dim=-1, keepdim=True)
    return (y / torch.add(SMALL, norm, alpha=x.shape[-1] ** -0.5)).type_as(x)


@functools.lru_cache(maxsize=64)  # the head over levels asks for the same few positions in every frame
@torch.inference_mode(False)  # so that training may use what playing has left here
def rotation(start: int, length: int, head_dim: int, device: torch.device) -> Rotation:
    """Angles of the absolute positions start .. start + length - 1.

    Worked out in float64 on the host, because float32 loses the phase of a position after some hours of frames.
    """
    rates = 10000.0 ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)
    angles = torch.arange(start, start + length, dtype=torch.float64)[:, None, None] * rates  # [T, 1, head_dim / 2]
    cos, sin = angles.cos().float(), angles.sin().float()
    return torch.cat((cos, cos), -1).to(device), torch.cat((-sin, sin), -1).to(device)


def rotate(x: Tensor, turn: Rotation) -> Tensor:
    """Turn the pairs (i, i + head_dim / 2) of x [B, T, H, head_dim] by their position's angles.

    Source: Su et al. 2021, arXiv:2104.09864. Rolling by half swaps the two members of every pair in one operation.
    """
    cos, sin = turn
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, -1), sin)


def dropout(x: Tensor, share: float, training: bool) -> Tensor:
    """Zero a share of x, to the nearest 1/256, and scale the rest up.

    One random byte a value: three to four times faster than F.dropout on a CPU (1.3 against 4.8 ms a million values on
    two Zen 4 cores), which is a tenth of a training step.
    """
    cut = round(256 * share)
    if not training or cut == 0:
        return x
    words = torch.empty((x.numel() + 7) // 8, dtype=torch.int64, device=x.device).random_(-(2**63), None)
    kept = (words.view(torch.uint8)[: x.numel()] >= cut).view(x.shape)
    return x * kept.to(x.dtype).mul_(256 / (256 - cut))


class Block(nn.Module):
    """Attention over the window, optionally over a cross-attention source, then a feed-forward network."""

    def __init__(self, width: int, num_heads: int, dropout: float, cross_width: int | None) -> None:
        super().__init__()
        self.num_heads, self.dropout = num_heads, dropout
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.down.weight)
        if cross_width:
            self.cross_q = nn.Linear(width, width, bias=False)
            self.cross_kv = nn.Linear(cross_width, 2 * width, bias=False)
            self.cross_out = nn.Linear(width, width, bias=False)
            nn.init.zeros_(self.cross_out.weight)

    def project(self, x: Tensor, turn: Rotation) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values [B, H, T, head_dim] of x [B, T, D]; queries and keys normalised and rotated."""
        b, t, d = x.shape
        qkv = self.qkv(rms_norm(x)).type_as(x).view(b, t, 3 * self.num_heads, d // self.num_heads)
        qk, value = qkv.split((2 * self.num_heads, self.num_heads), 2)
        qk = rotate(rms_norm(qk.float()), turn).type_as(value)  # one pass over queries and keys together
        query, key = qk.transpose(1, 2).chunk(2, 1)
        return query, key, value.transpose(1, 2)

    def step(self, x: Tensor, turn: Rotation, cache: KVCache, layer: int) -> Tensor:
        """Run one position [B, D] -> [B, D], as `project` and `merge` do, in as few operations as can be.

        With a handful of rows, starting an operation takes longer than most of them.
        """
        heads = self.num_heads
        qkv = self.qkv(rms_norm(x)).type_as(x).view(x.shape[0], 3 * heads, -1)
        qk = rotate(rms_norm(qkv[:, : 2 * heads].float()), turn)
        keys, values = cache.write(layer, qk[:, heads:], qkv[:, 2 * heads :])
        read = F.scaled_dot_product_attention(qk[:, :heads, None].type_as(keys), keys, values)
        return self.merge(x, read.view_as(x), cache.cross[layer] if cache.cross else None)

    def merge(self, x: Tensor, read: Tensor, cross: tuple[Tensor, Tensor] | None) -> Tensor:
        """Add to x what attention read, then cross-attention and feed-forward; x and read [B, T, D] or [B, D]."""
        x = x + self.drop(self.out(read))
        if cross is not None:
            query = self.cross_q(rms_norm(x)).view(x.shape[0], -1, self.num_heads, x.shape[-1] // self.num_heads)
            read = F.scaled_dot_product_attention(query.transpose(1, 2), *cross)
            x = x + self.drop(self.cross_out(read.transpose(1, 2).reshape(x.shape)))
        return x + self.drop(self.down(F.relu(self.up(rms_norm(x))).square()))

    def cross_keys(self, cross: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values [B, H, N, head_dim] of a source [B, N, cross_width]."""
        key, value = self.cross_kv(cross).unflatten(-1, (2 * self.num_heads, -1)).transpose(1, 2).chunk(2, 1)
        return key, value

    def drop(self, x: Tensor) -> Tensor:
        return dropout(x, self.dropout, self.training)


class Transformer(nn.Module):
    """Pre-norm blocks without biases or gains; every block starts as the identity, its last matrices being zero.

    Queries and keys are normalised, which keeps bf16 training stable (Dehghani et al. 2023, arXiv:2302.05442), and
    the feed-forward network uses squared ReLU (So et al. 2021, arXiv:2109.08668).
    """

    def __init__(
        self,
        *,
        width: int,
        num_layers: int,
        num_heads: int,
        window: int,
        dropout: float = 0.0,
        cross_width: int | None = None,
    ) -> None:
        super().__init__()
        if width % (2 * num_heads):
            raise ConfigError(
                f"width {width} does not split into {num_heads} heads of even size. "
                f"Use a multiple of {2 * num_heads}, or another num_heads."
            )
        if window < 1:
            raise ConfigError(f"window is {window} positions; it must hold at least 1.")
        self.width, self.num_heads, self.window = width, num_heads, window
        blocks = nn.ModuleList(Block(width, num_heads, dropout, cross_width) for _ in range(num_layers))
        self.blocks = cast("Sequence[Block]", blocks)  # so that the type checker knows what is inside

    @property
    def head_dim(self) -> int:
        return self.width // self.num_heads

    def forward(self, x: Tensor, cross: Tensor | None = None) -> Tensor:
        """Run a whole sequence [B, T, D], oldest first; `cross` is [B, N, cross_width]. Returns [B, T, D], normalised.

        A position sees itself and the window - 1 positions before it. A sequence that fits into the window needs no
        mask, and that is the fast path.
        """
        length = x.shape[1]
        turn = rotation(0, length, self.head_dim, x.device)
        mask = None
        if length > self.window:
            age = torch.arange(length, device=x.device)
            age = age[:, None] - age
            mask = (age >= 0) & (age < self.window)  # [T, T]
        for block in self.blocks:
            query, key, value = block.project(x, turn)
            attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=mask is None)
            read = attended.transpose(1, 2).flatten(2)
            x = block.merge(x, read, None if cross is None else block.cross_keys(cross))
        return rms_norm(x)

    def step(self, x: Tensor, cache: KVCache) -> Tensor:
        """Run the next position of every row, [B, D] -> [B, D], and advance the cache. Equals `forward` there."""
        turn = rotation(cache.position, 1, self.head_dim, x.device)
        for layer, block in enumerate(self.blocks):
            x = block.step(x, turn, cache, layer)
        cache.advance()
        return rms_norm(x)

    def cross_keys(self, cross: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Work out the cross-attention keys and values of every block once, for `KVCache.cross`."""
        return [block.cross_keys(cross) for block in self.blocks]

    def new_cache(self, rows: int, length: int | None = None) -> KVCache:
        """Memory for `rows` sequences where the weights are and of their type, float32 beside int8.

        It holds the window, or `length` positions if no more are to come.
        """
        weight = self.blocks[0].qkv.weight
        return KVCache(
            num_layers=len(self.blocks),
            rows=rows,
            num_heads=self.num_heads,
            window=self.window if length is None else min(self.window, length),
            head_dim=self.head_dim,
            device=weight.device,
            dtype=weight.dtype if weight.is_floating_point() else torch.float32,
        )
