"""The transformer of MusicGen, for the public weights: one pass over all codebooks of a step, under a delay pattern.

It sees integers and tensors only: no text, no audio, no pattern, no randomness. `CodecLM` is ours and differs in nearly
every part (norms, positions, head), so the two share the cache, the head and the loop, and no block.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigError, ShapeError
from .heads import ParallelHead
from .kv_cache import KVCache

__all__ = ["MusicGenLM", "sinusoid_rates", "sinusoids"]


def sinusoid_rates(width: int, device: torch.device | None = None) -> Tensor:
    """Radians a position of each pair of cosine and sine, [width / 2] float32."""
    return torch.exp(torch.arange(width // 2, device=device).float() * -(math.log(10000) / (width // 2 - 1)))


def sinusoids(start: int, length: int, width: int, device: torch.device | None = None) -> Tensor:
    """Absolute positions start .. start + length - 1 as [T, width] float32: cosines, then sines.

    Source: Vaswani et al. 2017, arXiv:1706.03762, in the variant of tensor2tensor, whose lowest rate is 1 / 10000.
    """
    angles = torch.arange(start, start + length, device=device).float()[:, None] * sinusoid_rates(width, device)
    return torch.cat((angles.cos(), angles.sin()), 1)


class MusicGenBlock(nn.Module):
    """Self-attention, cross-attention if the model hears text that way, feed-forward; norms first, no biases else."""

    def __init__(self, width: int, num_heads: int, hidden: int, has_cross: bool) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        if has_cross:
            self.cross_norm = nn.LayerNorm(width)
            self.cross_q = nn.Linear(width, width, bias=False)
            self.cross_kv = nn.Linear(width, 2 * width, bias=False)
            self.cross_out = nn.Linear(width, width, bias=False)
        self.up_norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def split(self, x: Tensor) -> Tensor:
        """[M, T, n * D] -> [M, n * H, T, head_dim]."""
        width = self.norm.normalized_shape[0]
        return x.unflatten(-1, (-1, width // self.num_heads)).transpose(1, 2)

    def forward(self, x: Tensor, cache: KVCache, layer: int) -> Tensor:
        """Run the next T positions of every row, [M, T, D] -> [M, T, D]; their keys and values go into the cache."""
        query, key, value = self.split(self.qkv(self.norm(x)).type_as(x)).chunk(3, 1)
        keys, values = cache.extend(layer, key, value)
        read = F.scaled_dot_product_attention(query, keys, values, attn_mask=_causal(query, keys))
        x = x + self.out(read.transpose(1, 2).flatten(2))
        if cache.cross:
            told = cache.cross[layer][0].shape[0]  # rows that hear the source
            x = torch.cat((self._hear(x[:told], cache, layer), x[told:]))
        return x + self.down(F.gelu(self.up(self.up_norm(x))))

    def _hear(self, x: Tensor, cache: KVCache, layer: int) -> Tensor:
        query = self.split(self.cross_q(self.cross_norm(x)).type_as(x))
        read = F.scaled_dot_product_attention(query, *cache.cross[layer], attn_mask=cache.cross_mask)
        return x + self.cross_out(read.transpose(1, 2).flatten(2))

    def cross_keys(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values [R, H, N, head_dim] of a source [R, N, D]."""
        key, value = self.split(self.cross_kv(source).type_as(source)).chunk(2, 1)
        return key, value


def _causal(query: Tensor, keys: Tensor) -> Tensor | None:
    """Which of the N keys each of the last T positions may look at, [T, N]; None if there is but one position."""
    new, seen = query.shape[2], keys.shape[2]
    if new == 1:
        return None
    return torch.ones(new, seen, dtype=torch.bool, device=query.device).tril(seen - new)


class MusicGenLM(nn.Module):
    """Predict a step's codes from the steps before it.

        position       0          1          2
        reads          special    step 0     step 1     (embeddings of the K codes summed, and the position's sinusoid)
        predicts       step 0     step 1     step 2     (codebook k of step s is frame s - delay_k: see patterns/delay)

    What is asked for comes in by cross-attention (MusicGen) or as positions before the first (MusicGen-melody). Rows of
    guidance that are told nothing have no cross-attention source at all: their attention over a source of zeros, with
    projections without biases, adds exactly zero.

    Args:
        n_q: codebooks K; a stereo model has those of both channels, left and right in turn.
        card: entries of a codebook; the id `card` is special_token_id.
        width: D.
        num_layers, num_heads: of the transformer.
        hidden: width of the feed-forward networks.
        has_cross: whether blocks have cross-attention.

    Source: Copet et al. 2023, arXiv:2306.05284.
    """

    def __init__(
        self, *, n_q: int, card: int, width: int, num_layers: int, num_heads: int, hidden: int, has_cross: bool = True
    ) -> None:
        super().__init__()
        if width % num_heads or width % 2:
            raise ConfigError(f"width {width} does not split into {num_heads} heads. Use an even multiple of them.")
        self.n_q, self.card, self.width, self.num_heads = n_q, card, width, num_heads
        self.embedding = nn.Embedding(n_q * (card + 1), width)
        blocks = nn.ModuleList(MusicGenBlock(width, num_heads, hidden, has_cross) for _ in range(num_layers))
        self.blocks = cast("Sequence[MusicGenBlock]", blocks)
        self.norm = nn.LayerNorm(width)
        self.head = ParallelHead(n_q=n_q, card=card, input_width=width, cap=None)
        self.has_cross = has_cross

    @property
    def special_token_id(self) -> int:
        return self.card

    @property
    def dtype(self) -> torch.dtype:
        """Of the activations; the matrices may be int8."""
        return self.norm.weight.dtype

    def embed(self, steps: Tensor) -> Tensor:
        """Sum the embeddings of the K codes of each step, [B, K, S] -> [B, S, D]."""
        offsets = torch.arange(self.n_q, device=steps.device)[:, None] * (self.card + 1)
        return self.embedding(steps + offsets).to(self.dtype).sum(1)

    def new_cache(self, rows: int, length: int) -> KVCache:
        """Memory for `rows` sequences of `length` positions, those of a prefix included."""
        return KVCache(
            num_layers=len(self.blocks),
            rows=rows,
            num_heads=self.num_heads,
            window=length,
            head_dim=self.width // self.num_heads,
            device=self.norm.weight.device,
            dtype=self.dtype,
        )

    def prefill(
        self,
        cache: KVCache,
        prefix: Tensor | None = None,
        cross: Tensor | None = None,
        cross_mask: Tensor | None = None,
    ) -> None:
        """Read the conditions into an empty cache.

        Args:
            cache: changed in place.
            prefix: [M, N, D], M the rows of the cache.
            cross: [R, N, D] source of the first R rows; the others have none. Its keys are worked out here, once.
            cross_mask: [R, N] bool, False where a position of the source is filler.
        """
        if (cross is not None) > self.has_cross:
            raise ShapeError("this model has no cross-attention; its conditions are a prefix.")
        if cross is not None:
            cache.cross = [block.cross_keys(cross.to(self.dtype)) for block in self.blocks]
            cache.cross_mask = None if cross_mask is None or cross_mask.all() else cross_mask[:, None, None]
        if prefix is not None:
            self.run(prefix.to(self.dtype), cache)

    def read(self, columns: Tensor, cache: KVCache) -> None:
        """Read known columns [B, K, S], the special column first, all at once."""
        self.run(self._repeat(self.embed(columns), cache.rows), cache)

    def step(self, column: Tensor, frame: Tensor | None, cache: KVCache) -> Tensor:
        """Read one column [B, K] and return the hidden vectors [M, D] that predict the next, for `head.sample`.

        Every pass of guidance reads the same column. `frame` [M, D], if any, is added to what the position reads.
        """
        x = self._repeat(self.embed(column[..., None]), cache.rows)
        return self.run(x if frame is None else x + frame[:, None], cache)[:, 0]

    def run(self, x: Tensor, cache: KVCache) -> Tensor:
        """Run the next T positions [M, T, D] of every row and advance the cache."""
        x = x + sinusoids(cache.position, x.shape[1], self.width, x.device).type_as(x)
        for layer, block in enumerate(self.blocks):
            x = block(x, cache, layer)
        cache.advance(x.shape[1])
        return self.norm(x)

    def forward(
        self,
        steps: Tensor,
        *,
        prefix: Tensor | None = None,
        cross: Tensor | None = None,
        cross_mask: Tensor | None = None,
    ) -> Tensor:
        """Return the teacher-forced logits [B, K, S, card] of steps [B, K, S]; other arguments as in `prefill`."""
        if steps.dim() != 3 or steps.shape[1] != self.n_q:
            raise ShapeError(f"steps have shape {list(steps.shape)}; this model needs [B, {self.n_q}, S].")
        b, k, s = steps.shape
        cache = self.new_cache(b, s + (0 if prefix is None else prefix.shape[1]))
        self.prefill(cache, prefix, cross, cross_mask)
        first = torch.full_like(steps[..., :1], self.special_token_id)
        hidden = self.run(self.embed(torch.cat((first, steps[..., :-1]), -1)), cache)  # [B, S, D]
        return self.head.logits(hidden.flatten(0, 1), hidden).view(b, s, k, self.card).transpose(1, 2)

    @staticmethod
    def _repeat(x: Tensor, rows: int) -> Tensor:
        """Give every pass of guidance the same [B, T, D]."""
        return x if len(x) == rows else x.repeat(rows // len(x), 1, 1)
